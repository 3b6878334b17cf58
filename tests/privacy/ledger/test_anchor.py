"""Anchor: an older ledger is refused, a kill between ledger and anchor wedges nothing, and nobody else makes an anchor."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.anchor import SLOT, Anchor, AnchorFile, anchor_from, anchored
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import (
    AnchorError,
    LedgerError,
    MissingError,
    ReadOnlyError,
    RollbackError,
    SignatureError,
)
from tacit.privacy.ledger.field import EntryError
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAMED = KEY.public_key().public_bytes_raw().hex()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0))
REQUEST = "a" * 64


def pays(_: Account) -> Price:
    return PRICE


class Asset:
    """A signed ledger and its anchor, on two places."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey | None = KEY) -> None:
        self.ledger, self.anchor, self.key = folder / "ward3.sqlite", folder / "elsewhere" / "ward3.anchor", key
        create(self.ledger, "ward3", clock=lambda: 7, key=key, anchor=self.anchor)

    def open(self) -> Store:
        return Store(self.ledger, "ward3", clock=lambda: 9, key=self.key, anchor=self.anchor)

    def charge(self, rounds: int, run: str = "run") -> None:
        with self.open() as store:
            for round in range(rounds):
                store.reserve(Address(run, round, 0), REQUEST, pays)

    def kept(self, name: str) -> Path:
        """A copy of the ledger as it is now, as a backup makes it."""
        copy = self.ledger.with_name(name)
        shutil.copy(self.ledger, copy)
        return copy

    def known(self) -> Anchor:
        found = AnchorFile(self.anchor).read("" if self.key is None else NAMED)
        assert found is not None
        return found


@pytest.fixture(params=[KEY, None], ids=["signed", "unsigned"])
def asset(request: pytest.FixtureRequest, tmp_path: Path) -> Asset:
    return Asset(tmp_path, request.param)


# --- an older ledger ---


def test_every_line_that_was_granted_is_anchored(asset: Asset) -> None:
    with asset.open() as store:
        for round in range(5):
            number = store.reserve(Address("run", round, 0), REQUEST, pays)
            assert asset.known().number == number
            store.commit(number, "b" * 64)
            assert (asset.known().number, bytes.fromhex(asset.known().digest)) == store.head


def test_an_older_copy_of_the_ledger_is_refused_and_the_anchor_that_held_is_named(asset: Asset) -> None:
    asset.charge(2, "first")
    old = asset.kept("old")
    asset.charge(1, "second")
    new = asset.kept("new")
    shutil.copy(old, asset.ledger)
    for _ in range(2):
        with pytest.raises(
            RollbackError, match=r"ends with line 2, and its anchor held \(.*ward3.anchor, which names line 3"
        ):
            asset.open()
    shutil.copy(new, asset.ledger)
    asset.charge(1, "third")


def test_another_history_of_the_same_length_is_refused(asset: Asset) -> None:
    asset.charge(1)
    old = asset.kept("old")
    asset.charge(1, "second")
    shutil.copy(old, asset.ledger)
    with Store(asset.ledger, "ward3", key=asset.key) as store:  # by somebody who has the key and forgets the anchor
        store.reserve(Address("cheaper", 0, 0), REQUEST, pays)
    with pytest.raises(RollbackError, match="not the ledger that its anchor knows"):
        asset.open()


def test_a_ledger_that_is_gone_is_not_made_anew(asset: Asset) -> None:
    asset.charge(1)
    asset.ledger.unlink()
    with pytest.raises(MissingError, match="knows of one"):
        create(asset.ledger, "ward3", key=asset.key, anchor=asset.anchor)
    assert not asset.ledger.exists()
    assert asset.known().number == 1


def test_a_ledger_made_anew_under_the_old_anchor_is_refused(asset: Asset) -> None:
    asset.charge(1)
    asset.ledger.unlink()
    create(asset.ledger, "ward3", key=asset.key)
    with pytest.raises(RollbackError):
        asset.open()


def test_without_its_anchor_not_even_an_empty_ledger_is_opened(asset: Asset) -> None:
    """Whoever takes the anchor away would otherwise put an old ledger there."""
    asset.anchor.unlink()
    with pytest.raises(AnchorError, match="mount its volume or restore it"):
        asset.open()
    with pytest.raises(LedgerError, match="something is there already"):
        create(asset.ledger, "ward3", key=asset.key, anchor=asset.anchor)
    assert not asset.anchor.exists()


def test_killed_before_anything_was_charged_it_begins_again(asset: Asset) -> None:
    """The anchor is made first: after it alone, nothing was ever spent."""
    asset.ledger.unlink()
    create(asset.ledger, "ward3", key=asset.key, anchor=asset.anchor)
    asset.charge(1)


def test_an_older_anchor_is_refused(asset: Asset) -> None:
    asset.charge(1)
    old = asset.anchor.read_bytes()
    asset.charge(2, "second")
    asset.anchor.write_bytes(old)
    with pytest.raises(RollbackError, match="an older copy of the anchor: it names line 1"):
        asset.open()


def test_an_anchor_one_line_behind_is_brought_up_and_that_line_counts(asset: Asset) -> None:
    asset.charge(2, "first")
    old = asset.anchor.read_bytes()
    asset.charge(1, "second")
    asset.anchor.write_bytes(old)
    with asset.open() as store:
        assert store.head[0] == asset.known().number == 3
        assert len(store.spent().records()) == 3


# --- no charge without an anchor ---


def test_nothing_is_granted_that_is_not_anchored_and_the_next_charge_waits_for_it(asset: Asset) -> None:
    asset.charge(1)
    with asset.open() as store:
        away = asset.anchor.with_suffix(".away")
        asset.anchor.rename(away)
        for turn in range(3):  # the first writes its line and cannot anchor it; the others write none
            with pytest.raises(AnchorError, match="nothing is charged without it"):
                store.reserve(Address("run", 1 + turn, 0), REQUEST, pays)
        assert store.head[0] == 2
        away.rename(asset.anchor)
        assert store.reserve(Address("run", 9, 0), REQUEST, pays) == 3
        assert asset.known().number == 3
    with asset.open() as store:
        assert [each.reserved.address.round for each in store.spent().records()] == [0, 1, 9]


def test_two_stores_move_one_anchor_forward(asset: Asset) -> None:
    with asset.open() as one, asset.open() as other:
        for round in range(6):
            (one if round % 2 else other).reserve(Address("run", round, 0), REQUEST, pays)
            assert asset.known().number == round + 1
        late = replace(asset.known(), number=3, signature="")
        AnchorFile(asset.anchor).move(
            anchored("ward3", late.identity, 3, bytes.fromhex(late.digest), 0, asset.key), NAMED if asset.key else ""
        )
        assert asset.known().number == 6


# --- the file ---


def test_nobody_else_may_read_it(asset: Asset) -> None:
    assert stat.S_IMODE(asset.anchor.stat().st_mode) == 0o600
    assert stat.S_IMODE(asset.anchor.parent.stat().st_mode) == 0o700
    assert [each.name for each in asset.anchor.parent.iterdir()] == ["ward3.anchor"]


@settings(max_examples=60)
@given(st.integers(0, 1), st.lists(st.integers(0, 600) | st.integers(0, SLOT), min_size=2, max_size=2).map(sorted))
def test_a_write_that_is_cut_off_anywhere_leaves_the_line_before(of: int, ends: list[int]) -> None:
    """Whatever part of the slot reached the disk, the other slot still counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torn.anchor"
        file = AnchorFile(path)
        lines = [anchored("ward3", "id", number, bytes([number] * 32), 0, KEY) for number in range(1, 4 + of)]
        file.create(lines[0])
        for each in lines[1:-1]:
            file.move(each, NAMED)
        before = path.read_bytes()
        file.move(lines[-1], NAMED)
        after = path.read_bytes()
        place = 0 if before[:SLOT] != after[:SLOT] else SLOT
        start, end = (place + each for each in ends)
        path.write_bytes(before[:start] + after[start:end] + before[end:])
        whole = path.read_bytes() == after
        assert file.read(NAMED) == lines[-1 if whole else -2]


def test_a_damaged_or_foreign_anchor_is_refused(tmp_path: Path) -> None:
    asset = Asset(tmp_path)
    asset.charge(1)
    content = asset.anchor.read_bytes()
    forged = anchored("ward3", asset.known().identity, 0, bytes(32), 0, OTHER)
    AnchorFile(asset.anchor).create(forged)
    with pytest.raises(AnchorError, match="holds no anchor that the ledger's key has signed"):
        asset.open()
    for damaged in (b"", b"x" * 9, content.replace(b'"number":', b'"n\xffmber":')):
        asset.anchor.write_bytes(damaged)
        with pytest.raises(AnchorError):
            asset.open()
    asset.anchor.write_bytes(content)
    asset.charge(1, "goes on")


# --- the statement ---


def test_an_anchor_is_read_as_it_was_written_and_no_other_is() -> None:
    anchor = anchored("wärd 3", "id", 4, bytes(range(32)), -5, KEY)
    row = json.loads(json.dumps(anchor.to_json()))
    assert anchor_from(row) == anchor
    for key in row:
        for changed in ({**row, key: None}, {k: v for k, v in row.items() if k != key}, {**row, "more": 1}):
            with pytest.raises(EntryError):
                anchor_from(changed)


def test_a_changed_statement_is_not_signed() -> None:
    anchor = anchored("ward3", "id", 4, bytes(range(32)), 5, KEY)
    assert anchor.signed_by(NAMED)
    assert not anchor.signed_by(OTHER.public_key().public_bytes_raw().hex())
    assert not anchor.signed_by("")
    for changed in (replace(anchor, number=5), replace(anchor, time=6), replace(anchor, asset="ward4"),
                    replace(anchor, digest="0" * 64), replace(anchor, identity="x"), replace(anchor, signature=""),
                    replace(anchor, signature="0" * 128)):  # fmt: skip
        assert not changed.signed_by(NAMED)


def test_a_ledger_is_signed_for_good(tmp_path: Path) -> None:
    asset = Asset(tmp_path)
    asset.charge(1)
    with pytest.raises(SignatureError, match="signed by key"):
        Store(asset.ledger, "ward3", key=OTHER)
    with Store(asset.ledger, "ward3") as reader:
        assert reader.head[0] == 1
        with pytest.raises(ReadOnlyError, match="write to it with that key"):
            reader.reserve(Address("run", 1, 0), REQUEST, pays)
        with pytest.raises(LedgerError, match="without its key"):
            reader.anchor()
        assert reader.head[0] == 1
    with asset.open() as store:
        assert store.anchor().signed_by(NAMED)
        assert store.key is not None
        assert store.key.public_bytes_raw().hex() == NAMED
    (tmp_path / "other").mkdir()
    unsigned = Asset(tmp_path / "other", None)
    with pytest.raises(SignatureError, match="signed by nobody"):
        Store(unsigned.ledger, "ward3", key=KEY)
