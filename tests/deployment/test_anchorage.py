"""The coordinator's copy of an owner's anchors, over real TLS on loopback: what it finds, and what it cannot do by lying."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client import anchorage as anchorages
from tacit.client.agent import Agent, serve
from tacit.client.anchorage import Anchorage, alias
from tacit.client.enrolment import RejectedError, anchored, enrol, headed
from tacit.client.home import ClientHome
from tacit.client.identity import Identity
from tacit.client.node import Node
from tacit.client.vault import open_vault
from tacit.commands.faults import FAILED, code_of
from tacit.commands.main import execute
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import RollbackError
from tacit.privacy.ledger.notice import Notice
from tacit.privacy.ledger.store import Store
from tacit.server import anchors
from tacit.server import enrolment as offices
from tacit.server.enrolment import Enrolment, Office
from tacit.server.founding import found
from tacit.server.heads import confirm, shown_in
from tacit.server.home import LEDGER, ServerHome, anchor_file
from tacit.server.registry import Registry
from tacit.strategies import heading, keyfile
from tacit.strategies.anchoring import answer

PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(1.0), 0.0)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
SETTINGS = """
[policy]
unit = "owner"
relation = "add-remove"
colluders = 0
smallest_cohort = 3
epsilon = 1.0
delta = 0.01
[[policy.tasks]]
use = "digits"
[assets.share]
task = "digits"
source = "population:0/3"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(server: uvicorn.Server) -> Iterator[None]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Owner:
    """An owner with the asset `share`, and the office that knows it."""

    identity: Identity
    office: Office

    @property
    def home(self) -> ClientHome:
        return self.identity.home

    def open(self) -> Store:
        return open_vault(self.home, None, "share")

    def anchorage(self, store: Store) -> Anchorage:
        return Anchorage(self.identity, {"share": store})

    def charged(self, *rounds: int) -> None:
        """Charge, and have the coordinator told."""
        with self.open() as store:
            for round in rounds:
                charge(store, round)
            self.anchorage(store).tell()

    def copied(self, to: Path) -> Path:
        """A copy of ledgers and local anchors, as a backup of the whole machine has it."""
        shutil.copytree(self.home.root, to)
        return to

    def restored(self, copy: Path) -> None:
        for folder in ("ledgers", "anchors"):
            shutil.rmtree(self.home.root / folder)
            shutil.copytree(copy / folder, self.home.root / folder)

    @property
    def kept(self) -> Notice | None:
        registry, signing = self.office.registry, self.identity.keys.signing
        return anchors.kept(registry, registry.owner("ward-3"), alias(signing, "share"))


def charge(store: Store, round: int) -> None:
    store.reserve(Address("first", round, 0), "0" * 64, lambda _: PRICE)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    home = found(
        tmp_path / "server", "localhost", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", time.time()
    ).home
    with Registry(home.registry) as registry:
        office = offices.office(home, registry)
        with served(offices.server(Enrolment(office), home, office.settings)):
            identity = enrol(office.invite("ward-3", 60.0), ClientHome(tmp_path / "agent"), time.time())
            yield Owner(identity, office)


def test_a_rollback_of_ledger_and_anchor_together_is_found_by_the_coordinator_s_copy(
    owner: Owner, tmp_path: Path
) -> None:
    owner.charged(1)
    copy = owner.copied(tmp_path / "copy")
    owner.charged(2, 3)
    owner.restored(copy)
    with owner.open() as store:  # the local anchor finds nothing: it is as old
        with pytest.raises(
            RollbackError, match=r"ends with line 1, and the coordinator's anchor held.*line 3"
        ) as found:
            owner.anchorage(store).compare()
        with pytest.raises(RollbackError):
            charge(store, 4)
    assert code_of(found.value) == FAILED
    assert owner.kept is not None
    assert owner.kept.number == 3


def test_a_ledger_made_anew_is_found_too(owner: Owner) -> None:
    owner.charged(1)
    for folder in ("ledgers", "anchors"):
        shutil.rmtree(owner.home.root / folder)
    with owner.open() as store, pytest.raises(RollbackError, match="the coordinator's anchor held"):
        owner.anchorage(store).compare()


def test_an_older_ledger_that_went_on_while_the_coordinator_was_away_is_found_before_it_is_told(
    owner: Owner, tmp_path: Path
) -> None:
    owner.charged(1)
    copy = owner.copied(tmp_path / "copy")
    owner.charged(2)
    before = owner.kept
    owner.restored(copy)
    with owner.open() as store:
        for round in (3, 4):
            charge(store, round)
        with pytest.raises(RollbackError, match="not the ledger that is known elsewhere, and the coordinator's"):
            owner.anchorage(store).tell()
    assert owner.kept == before


def test_who_lost_a_ledger_says_so_and_goes_on(owner: Owner, tmp_path: Path) -> None:
    owner.charged(1)
    copy = owner.copied(tmp_path / "copy")
    owner.charged(2, 3)
    owner.restored(copy)
    owner.home.settings_file.write_text(SETTINGS)
    assert execute(["ledger", "anchor", "share", "--yes", "--dir", str(owner.home.root)]) == 0
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        anchorage.compare()
        assert anchorage.standing["share"] == "the local anchor held; it was made anew since the coordinator's"
        anchorage.tell()
    assert owner.kept is not None
    assert owner.kept.place == (1, 2)
    with owner.open() as store:
        again = owner.anchorage(store)
        again.compare()
        assert again.standing["share"] == "the coordinator's anchor held, with the local one: line 2"


def test_the_coordinator_is_told_of_new_lines_only_and_not_of_what_asset(owner: Owner, monkeypatch) -> None:
    texts: list[bytes] = []
    answered = Office.anchor_for

    def noted(self: Office, text: bytes) -> str:
        texts.append(text)
        return answered(self, text)

    monkeypatch.setattr(Office, "anchor_for", noted)
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        anchorage.compare()
        anchorage.tell()
        anchorage.tell()
        assert len(texts) == 2
        charge(store, 1)
        anchorage.tell()
        assert len(texts) == 3
        assert owner.kept is not None
        assert owner.kept.number == store.head[0] == 1
    assert not [text for text in texts if b"share" in text or b"first" in text]
    assert alias(owner.identity.keys.signing, "share") != alias(OTHER, "share")


@pytest.mark.parametrize("lie", ["none", "old", "another key's", "another ledger's", "unsigned", "garbage", "too long"])
def test_a_coordinator_that_lies_stops_and_fools_nobody(owner: Owner, lie: str, monkeypatch, caplog) -> None:
    owner.charged(1)
    old = owner.kept
    owner.charged(2)
    assert old is not None
    ahead = Notice(old.asset, 5, 9, "0" * 64, 7)
    said = {
        "none": answer(None),
        "old": answer(old),
        "another key's": answer(ahead.signed(OTHER)),
        "another ledger's": answer(Notice("cd" * 32, 5, 9, "0" * 64, 7).signed(owner.identity.keys.signing)),
        "unsigned": answer(ahead),
        "garbage": "\x00{]",
        "too long": "x" * 100_000,
    }[lie]
    monkeypatch.setattr(Office, "anchor_for", lambda *_: said)
    caplog.clear()
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        anchorage.compare()
        charge(store, 3)
        anchorage.tell()
        charge(store, 4)
    assert ("the coordinator's anchor held" in anchorage.standing["share"]) == (lie == "old")
    assert ("does not count" in caplog.text) == (lie not in ("none", "old"))
    assert ("knew of none" in anchorage.standing["share"]) == (lie == "none")


def test_a_coordinator_that_never_ends_its_answer_delays_only(owner: Owner, monkeypatch) -> None:
    release = threading.Event()

    def never(*_: object) -> bytes:
        release.wait(10.0)
        raise OSError("late")

    monkeypatch.setattr(anchorages, "anchored", never)
    monkeypatch.setattr(anchorages, "_WAIT", 0.05)
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        with anchorage.kept():
            charge(store, 1)
            assert "was not asked yet" in anchorage.standing["share"]
        release.set()
        (thread,) = [each for each in threading.enumerate() if each.name == "tacit-anchorage"] or [None]
        if thread is not None:
            thread.join()


def test_without_the_coordinator_the_local_anchor_does_and_a_rollback_is_found_later(
    owner: Owner, tmp_path: Path, monkeypatch, caplog
) -> None:
    owner.charged(1)
    copy = owner.copied(tmp_path / "copy")
    owner.charged(2)
    owner.restored(copy)
    reached = anchorages.anchored

    def away(*_: object) -> bytes:
        raise OSError("nobody there")

    monkeypatch.setattr(anchorages, "anchored", away)
    monkeypatch.setattr(anchorages, "_EVERY", 0.01)
    with owner.open() as store, owner.anchorage(store).kept():
        pass
    assert "the local anchor held; the coordinator has no answer (nobody there)" in caplog.text
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        with anchorage.kept():
            anchorage.check()
            monkeypatch.setattr(anchorages, "anchored", reached)
        with pytest.raises(RollbackError, match="the coordinator's anchor held"):
            anchorage.check()


def test_nobody_shows_an_anchor_in_another_owner_s_name_or_late(owner: Owner, tmp_path: Path) -> None:
    other = enrol(owner.office.invite("b", 60.0), ClientHome(tmp_path / "b"), time.time())
    asset = "ab" * 32
    notice = Notice(asset, 0, 9, "0" * 64, 7)
    with pytest.raises(RejectedError):
        anchored(owner.identity, asset, notice.signed(other.keys.signing), time.time(), 5.0)
    with pytest.raises(RejectedError, match="clock"):
        anchored(owner.identity, asset, notice.signed(owner.identity.keys.signing), time.time() - 3600, 5.0)
    owner.office.registry.revoke("ward-3", time.time())
    with pytest.raises(RejectedError, match="revoked"):
        anchored(owner.identity, asset, None, time.time(), 5.0)
    assert owner.office.registry.all("SELECT * FROM anchors") == []


def test_an_agent_refuses_to_start_behind_the_coordinator_and_says_who_held(owner: Owner, tmp_path: Path) -> None:
    owner.home.settings_file.write_text(SETTINGS)
    with closing(Agent(owner.home)) as agent:
        copy = owner.copied(tmp_path / "copy")
        charge(agent._desks["share"].store, 1)
        with agent.anchorage.kept():
            pass
        assert agent.status()["anchors"] == {"share": "the local anchor held; the coordinator knew of none"}
    owner.restored(copy)
    with pytest.raises(RollbackError, match=r"the coordinator's anchor held.*tacit ledger anchor"):
        serve(owner.home.root)


def test_an_agent_at_work_stops_once_it_learns_that_its_ledger_is_older(
    owner: Owner, tmp_path: Path, monkeypatch
) -> None:
    owner.home.settings_file.write_text(SETTINGS)
    owner.charged(1)
    copy = owner.copied(tmp_path / "copy")
    owner.charged(2)
    owner.restored(copy)
    monkeypatch.setattr(anchorages, "_WAIT", 0.0)  # as if the coordinator answered late
    held = threading.Event()
    reached = anchorages.anchored

    def late(*arguments: Any) -> bytes:
        held.wait(10.0)
        return reached(*arguments)

    monkeypatch.setattr(anchorages, "anchored", late)
    with closing(Agent(owner.home)) as agent:
        asked: list[float] = []

        class Nobody:
            def receive(self, patience: float) -> None:
                asked.append(patience)
                held.set()

        with agent.anchorage.kept(), pytest.raises(RollbackError, match="the coordinator's anchor held"):
            agent.work(cast(Node, Nobody()))
        assert asked


# --- the coordinator's own ledger, kept by its owners ---


@pytest.fixture
def server(owner: Owner, tmp_path: Path) -> ServerHome:
    """The coordinator's folder, with a ledger that two releases were charged in."""
    home = ServerHome(tmp_path / "server")
    key = keyfile.ed25519_key(home.signing_key)
    create(home.ledger, LEDGER, key=key, anchor=anchor_file(home))
    released(home, 1, 2)
    return home


def served_ledger(home: ServerHome) -> Store:
    return Store(home.ledger, LEDGER, key=keyfile.ed25519_key(home.signing_key), anchor=anchor_file(home))


def released(home: ServerHome, *rounds: int) -> None:
    with served_ledger(home) as store:
        for round in rounds:
            charge(store, round)


def rolled_back(home: ServerHome, copy: Path) -> None:
    """Ledger and local anchor of an old backup, together: nothing on this machine tells."""
    for path in home.root.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(copy / "ledger.sqlite", home.ledger)
    shutil.rmtree(home.anchors)
    shutil.copytree(copy / "anchors", home.anchors)


def test_owners_find_that_the_coordinator_s_ledger_is_older_and_so_does_it(
    owner: Owner, server: ServerHome, tmp_path: Path
) -> None:
    with owner.open() as store:
        anchorage = owner.anchorage(store)
        anchorage.compare()
        assert anchorage.coordinator == "first seen at line 2"
        shutil.copytree(server.root, tmp_path / "backup")
        released(server, 3, 4)
        anchorage.tell()
        assert anchorage.coordinator == "this owner's anchor held: line 2"
        rolled_back(server, tmp_path / "backup")
        served_ledger(server).close()  # by itself it finds nothing
        again = owner.anchorage(store)
        with pytest.raises(
            RollbackError, match=r"ends with line 2, and this owner's anchor held: it names line 4"
        ) as found:
            again.compare()
        assert code_of(found.value) == FAILED
    with served_ledger(server) as older:
        with pytest.raises(
            RollbackError, match=r"ends with line 2, and an owner's copy of the anchor held: it names line 4"
        ):
            confirm(older, server.shown, keyfile.ed25519_key(server.signing_key).public_key())
        with pytest.raises(RollbackError):
            charge(older, 5)


def test_a_coordinator_s_ledger_that_went_on_otherwise_is_found(
    owner: Owner, server: ServerHome, tmp_path: Path
) -> None:
    shutil.copytree(server.root, tmp_path / "backup")
    released(server, 3)
    with owner.open() as store:
        owner.anchorage(store).compare()
        rolled_back(server, tmp_path / "backup")
        released(server, 7, 8, 9)
        with pytest.raises(RollbackError, match="another line 3, and this owner's anchor held"):
            owner.anchorage(store).tell()
        server.ledger.unlink()
        with pytest.raises(RollbackError, match="shows no ledger any more"):
            owner.anchorage(store).tell()


def test_an_operator_who_lost_the_ledger_says_so_in_it(owner: Owner, server: ServerHome, tmp_path: Path) -> None:
    shutil.copytree(server.root, tmp_path / "backup")
    released(server, 3)
    with owner.open() as store:
        owner.anchorage(store).compare()
        rolled_back(server, tmp_path / "backup")
        assert execute(["ledger", "anchor", "server", "--yes", "--dir", str(server.root)]) == 0
        anchorage = owner.anchorage(store)
        anchorage.compare()
        assert "made anew by its operator" in anchorage.coordinator
        anchorage.tell()
        assert "this owner's anchor held" in anchorage.coordinator
    with served_ledger(server) as renewed:
        confirm(renewed, server.shown, keyfile.ed25519_key(server.signing_key).public_key())


@pytest.mark.parametrize("lie", ["garbage", "another key's", "not a head"])
def test_what_the_coordinator_has_not_signed_stops_nobody(
    owner: Owner, server: ServerHome, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner.open() as store:
        owner.anchorage(store).compare()
        strange = Notice(heading.ASSET, 0, 9, "0" * 64, 7)
        said = {
            "garbage": "{]",
            "another key's": heading.answer(heading.Heads(strange.signed(OTHER), None)),
            "not a head": heading.answer(
                heading.Heads(replace(strange, asset="ab" * 32).signed(owner.office.signing_key), None)
            ),
        }[lie]
        monkeypatch.setattr(Office, "head_for", lambda *_: said)
        anchorage = owner.anchorage(store)
        anchorage.compare()
        assert anchorage.coordinator.startswith("not known: ")


def test_nobody_makes_the_coordinator_doubt_its_ledger_without_its_own_key(owner: Owner, server: ServerHome) -> None:
    ahead = Notice(heading.ASSET, 0, 9, "0" * 64, 7)
    key = keyfile.ed25519_key(server.signing_key)
    for notice in (ahead, ahead.signed(OTHER), ahead.signed(owner.identity.keys.signing)):
        headed(owner.identity, notice, time.time(), 5.0)
        assert shown_in(server.shown, key.public_key()) is None
    with served_ledger(server) as store:
        confirm(store, server.shown, key.public_key())
        charge(store, 5)
    owner.office.registry.revoke("ward-3", time.time())
    with pytest.raises(RejectedError, match="revoked"):
        headed(owner.identity, None, time.time(), 5.0)


def test_two_copies_that_go_on_are_shown_to_the_operator(owner: Owner, tmp_path: Path, caplog, capsys) -> None:
    owner.charged(1)
    key, kept = owner.identity.keys.signing, owner.kept
    assert kept is not None
    second = Notice(kept.asset, kept.renewals, kept.number, "0" * 64, 7).signed(key)
    anchored(owner.identity, kept.asset, second, time.time(), 5.0)
    assert owner.kept == kept
    assert "two different lines 1" in caplog.text
    assert execute(["server", "owners", "--dir", str(tmp_path / "server")]) == 0
    assert "ward-3 signed two different lines 1 of one ledger" in " ".join(capsys.readouterr().out.split())
