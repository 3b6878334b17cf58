"""The owner's roster: only checked entries count, and the coordinator cannot tell it two stories."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.enrolment import accept
from tacit.client.home import ClientHome
from tacit.client.identity import Identity, make_keys
from tacit.client.roster import ApprovalError, Standing, approvals, approve, approved, current, revoke, take
from tacit.server.enrolment import office
from tacit.server.founding import found
from tacit.server.registry import Registry
from tacit.strategies import admission, keyfile
from tacit.strategies.roster import Entry, Roster, RosterError, sign


@pytest.fixture
def signer(tmp_path: Path):
    home = found(tmp_path / "server", "localhost", "127.0.0.1:1", "127.0.0.1:2", time.time()).home
    with Registry(home.registry) as registry:
        yield office(home, registry)


@pytest.fixture
def identity(signer, tmp_path: Path) -> Identity:
    home = ClientHome(tmp_path / "a")
    token, keys = signer.invite("a", 60.0), make_keys(home)
    answer = signer.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())
    return accept(answer, signer.authority.pem().decode(), token, home, time.time())


def key(number: int) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)).public_key().public_bytes_raw()


B, C = Entry(2, "b", key(2)), Entry(3, "c", key(3))


@pytest.fixture
def told(signer, identity: Identity):
    def tell(version: int, *others: Entry, own: Entry | None = None) -> Roster:
        entries = (own or identity.entry, *others)
        return take(identity, sign(Roster(identity.pin, version, entries), signer.signing_key))

    return tell


def counting(identity: Identity) -> set[str]:
    return {entry.name for entry in approved(current(identity), approvals(identity), identity.entry)}


def test_only_checked_entries_count_and_oneself(identity: Identity, told) -> None:
    told(5, B, C)
    assert counting(identity) == {"a"}
    approve(identity, "b", B.fingerprint.lower().replace("-", " "))
    assert counting(identity) == {"a", "b"}
    approve(identity, "c", C.fingerprint)
    revoke(identity, "b")
    assert counting(identity) == {"a", "c"}


def test_a_fingerprint_that_is_not_the_rosters_approves_nobody(identity: Identity, told) -> None:
    told(5, B, C)
    for typed in (C.fingerprint, B.fingerprint[:-1], ""):
        with pytest.raises(ApprovalError, match="another key"):
            approve(identity, "b", typed)
    with pytest.raises(ApprovalError, match="roster update"):
        approve(identity, "nobody", B.fingerprint)
    with pytest.raises(ApprovalError, match="not approved"):
        revoke(identity, "b")
    assert counting(identity) == {"a"}


def test_an_approval_is_for_one_key(identity: Identity, told) -> None:
    told(5, B)
    approve(identity, "b", B.fingerprint)
    other = replace(B, key=key(9))
    told(6, other)
    assert counting(identity) == {"a"}
    assert approvals(identity).standing(other, identity.entry) is Standing.changed
    assert approvals(identity).standing(C, identity.entry) is Standing.unapproved
    assert approvals(identity).standing(identity.entry, identity.entry) is Standing.own
    approve(identity, "b", other.fingerprint)
    assert counting(identity) == {"a", "b"}


def test_who_left_the_roster_does_not_count(identity: Identity, told) -> None:
    told(5, B)
    approve(identity, "b", B.fingerprint)
    told(6)
    assert counting(identity) == {"a"}


def test_an_older_roster_is_refused(identity: Identity, told) -> None:
    told(5, B)
    with pytest.raises(RosterError, match=r"4.*5"):
        told(4, B)
    assert current(identity).version == 5


def test_two_rosters_of_one_version_are_refused(identity: Identity, told) -> None:
    told(5, B)
    told(5, B)
    with pytest.raises(RosterError, match="different"):
        told(5, replace(B, key=key(9)))
    assert current(identity).entries[1] == B


def test_a_roster_with_another_key_for_oneself_is_refused(identity: Identity, told) -> None:
    with pytest.raises(RosterError, match="this owner itself"):
        told(9, own=replace(identity.entry, key=key(9)))


def test_a_roster_of_another_signer_or_federation_is_refused(signer, identity: Identity) -> None:
    roster = Roster(identity.pin, 9, (identity.entry,))
    for signed in (
        sign(roster, Ed25519PrivateKey.generate()),
        sign(replace(roster, authority=bytes(32)), signer.signing_key),
        "",
    ):
        with pytest.raises(RosterError):
            take(identity, signed)
    assert current(identity).version == 1


def test_edited_approvals_are_refused(identity: Identity, told) -> None:
    told(5, B, C)
    approve(identity, "b", B.fingerprint)
    signed = json.loads(identity.home.approvals.read_text())
    edited = {**signed, "approvals": signed["approvals"].replace('"b"', '"c"')}
    assert edited != signed
    for content in (json.dumps(edited).encode(), b"", b"{}"):
        keyfile.replace(identity.home.approvals, content)
        with pytest.raises(ApprovalError, match="approve anew"):
            approvals(identity)
    identity.home.approvals.unlink()
    assert counting(identity) == {"a"}


def test_approvals_of_another_owner_are_refused(identity: Identity, told) -> None:
    told(5, B)
    approve(identity, "b", B.fingerprint)
    other = replace(identity, coordinator=identity.coordinator.model_copy(update={"name": "z"}))
    with pytest.raises(ApprovalError, match="'a'"):
        approvals(other)
