"""Company: a cohort by the roster that this owner keeps, fetched when it is another one, and seldom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.company import Company
from tacit.client.enrolment import UnreachableError, accept
from tacit.client.home import ClientHome
from tacit.client.identity import Identity, make_keys
from tacit.client.refusal import RefusedError
from tacit.client.roster import approve, current, take
from tacit.server.enrolment import office
from tacit.server.founding import found
from tacit.server.registry import Registry
from tacit.strategies import admission
from tacit.strategies.messages import Cohort
from tacit.strategies.roster import Entry, Roster, sign


@dataclass
class Ward:
    """An owner with the wire number 0, a coordinator that shows it what a test says, and a clock that stands still."""

    identity: Identity
    key: Ed25519PrivateKey
    now: float = 0.0
    newest: Callable[[], str] = lambda: pytest.fail("asked")
    calls: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.company = Company(self.identity, self._fetch, lambda: self.now)

    def _fetch(self, identity: Identity, now: float) -> str:
        self.calls.append(self.now)
        return self.newest()

    def roster(self, version: int, *numbers: int, **changes: Any) -> Roster:
        others = tuple(entry(number) for number in numbers)
        return Roster(self.identity.pin, version, (self.identity.entry, *others))

    def signed(self, roster: Roster) -> str:
        return sign(roster, self.key)

    def keeps(self, roster: Roster) -> Roster:
        return take(self.identity, self.signed(roster))

    def asks(self, roster: Roster, *members: int) -> Any:
        return self.company(Cohort(members, roster.digest().hex()))


def entry(number: int, name: str = "") -> Entry:
    secret = Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))
    return Entry(number, name or f"owner-{number}", secret.public_key().public_bytes_raw())


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    server = found(tmp_path / "server", "localhost", "127.0.0.1:1", "127.0.0.1:2", time.time()).home
    home = ClientHome(tmp_path / "a")
    with Registry(server.registry) as registry:
        desk = office(server, registry)
        token, keys = desk.invite("a", 60.0), make_keys(home)
        answer = desk.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())
        identity = accept(answer, desk.authority.pem().decode(), token, home, time.time())
        yield Ward(identity, desk.signing_key)


def refused(ward: Ward, roster: Roster, *members: int) -> str:
    with pytest.raises(RefusedError) as caught:
        ward.asks(roster, *members)
    assert caught.value.refusal.code == "roster"
    return str(caught.value)


def test_a_cohort_is_what_this_owners_own_roster_says(ward: Ward) -> None:
    roster = ward.keeps(ward.roster(9, 2, 3, 4))
    approve(ward.identity, "owner-3", entry(3).fingerprint)
    circle = ward.asks(roster, 0, 1, 2)
    assert circle.index == 0
    assert circle.keys == {0: ward.identity.entry.key, 1: entry(2).key, 2: entry(3).key}
    assert circle.approved == {0, 2}  # oneself, and who was approved and is asked
    assert circle.signing_key is ward.identity.keys.signing
    assert ward.asks(roster, 1, 2).approved == {2}
    assert ward.calls == []  # the roster that is kept needs no call


def test_a_newer_roster_is_fetched_and_kept(ward: Ward) -> None:
    ward.keeps(ward.roster(9, 2))
    newer = ward.roster(10, 2, 3)
    ward.newest = lambda: ward.signed(newer)
    assert set(ward.asks(newer, 0, 1, 2).keys) == {0, 1, 2}
    assert current(ward.identity) == newer
    assert ward.asks(newer, 0, 2).approved == {0}  # fetching approves nobody
    assert ward.calls == [0.0]


def test_requests_cannot_make_this_owner_call_again_and_again(ward: Ward) -> None:
    kept = ward.keeps(ward.roster(9, 2))
    ward.newest = lambda: ward.signed(kept)
    for number in range(100):  # each names a roster that nobody has
        ward.now = number * 0.1
        assert "another roster than version 9" in refused(ward, ward.roster(number + 20), 0, 1)
    assert ward.calls == [0.0, 5.0]
    newer = ward.roster(10, 2, 3)
    ward.newest, ward.now = lambda: ward.signed(newer), 10.0
    assert set(ward.asks(newer, 0, 2).keys) == {0, 2}


def test_a_coordinator_that_is_away_is_no_fault_of_the_roster(ward: Ward) -> None:
    ward.keeps(ward.roster(9, 2))

    def away() -> str:
        raise UnreachableError("nobody answers")

    ward.newest = away
    assert "ask again in a moment" in refused(ward, ward.roster(10, 2), 0, 1)
    assert current(ward.identity).version == 9


LIES: dict[str, Callable[[Ward], str]] = {
    "an older roster": lambda ward: ward.signed(ward.roster(8, 2)),
    "another roster of the same version": lambda ward: ward.signed(ward.roster(9, 2, 3)),
    "somebody else's signature": lambda ward: sign(ward.roster(10, 2), Ed25519PrivateKey.generate()),
    "no roster": lambda ward: "{}",
    "another key for this owner": lambda ward: ward.signed(Roster(ward.identity.pin, 10, (entry(1, "a"), entry(2)))),
    "another federation's": lambda ward: ward.signed(Roster(bytes(32), 10, (ward.identity.entry, entry(2)))),
}


@pytest.mark.parametrize("name", LIES)
def test_a_roster_that_contradicts_what_is_known_is_not_taken(
    ward: Ward, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The coordinator hears that it cannot be used; what is wrong with it is told to the administrator."""
    kept = ward.keeps(ward.roster(9, 2))
    ward.newest = lambda: LIES[name](ward)
    said = refused(ward, ward.roster(10, 2, 3), 0, 1)
    assert "its administrator finds the cause in its log" in said
    assert "roster" in caplog.text
    assert current(ward.identity) == kept


def test_owners_that_nobody_knows_are_refused_by_number(ward: Ward) -> None:
    roster = ward.keeps(ward.roster(9, 2, 3))
    assert "owners 3, 7 of the cohort are not in the roster" in refused(ward, roster, 0, 1, 3, 7)
    assert refused(ward, roster, *range(100)).count(",") < 8


def test_approvals_that_somebody_edited_count_for_nobody(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    roster = ward.keeps(ward.roster(9, 2))
    approve(ward.identity, "owner-2", entry(2).fingerprint)
    path = ward.identity.home.approvals
    path.write_text(path.read_text().replace("owner-2", "owner-3"))
    assert str(path) not in refused(ward, roster, 0, 1)  # where files lie is nobody's business
    assert str(path) in caplog.text
