"""Rosters: what the coordinator signed, and nothing else; fingerprints that two people can compare."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.roster import (
    Entry,
    OwnerNameError,
    Roster,
    RosterError,
    checked_name,
    same_fingerprint,
    sign,
    verify,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
AUTHORITY = b"a" * 32
names = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)
keys = st.binary(min_size=32, max_size=32)


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    called = draw(st.lists(names, unique=True, max_size=6))
    held = draw(st.lists(keys, unique=True, min_size=len(called), max_size=len(called)))
    entries = tuple(Entry(number, name, key) for number, (name, key) in enumerate(zip(called, held, strict=True)))
    return Roster(AUTHORITY, draw(st.integers(0, 1 << 40)), entries)


@given(rosters())
def test_a_signed_roster_comes_back(roster: Roster) -> None:
    assert verify(sign(roster, KEY), KEY.public_key(), AUTHORITY) == roster


@given(rosters(), st.integers(0), st.integers(1, 255))
def test_a_roster_with_a_changed_byte_is_refused_or_the_same(roster: Roster, at: int, change: int) -> None:
    signed = bytearray(sign(roster, KEY).encode())
    signed[at % len(signed)] ^= change
    try:
        found = verify(signed.decode(errors="replace"), KEY.public_key(), AUTHORITY)
    except RosterError:
        return
    assert found == roster


def test_another_signer_and_another_federation_are_refused() -> None:
    signed = sign(Roster(AUTHORITY, 1, ()), KEY)
    with pytest.raises(RosterError, match="not signed"):
        verify(signed, Ed25519PrivateKey.generate().public_key(), AUTHORITY)
    with pytest.raises(RosterError, match="another federation"):
        verify(signed, KEY.public_key(), b"b" * 32)


@pytest.mark.parametrize(
    "entries",
    [
        (Entry(1, "a", b"1" * 32), Entry(2, "a", b"2" * 32)),
        (Entry(1, "a", b"1" * 32), Entry(1, "b", b"2" * 32)),
        (Entry(1, "a", b"1" * 32), Entry(2, "b", b"1" * 32)),
    ],
    ids=["name", "number", "key"],
)
def test_nothing_stands_in_a_roster_twice(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(RosterError, match="twice"):
        verify(sign(Roster(AUTHORITY, 1, entries), KEY), KEY.public_key(), AUTHORITY)


def test_a_signature_of_the_same_bytes_for_another_purpose_is_refused() -> None:
    import base64

    text = Roster(AUTHORITY, 1, ()).text()
    forged = json.dumps({"roster": text, "signature": base64.b64encode(KEY.sign(text.encode())).decode()})
    with pytest.raises(RosterError):
        verify(forged, KEY.public_key(), AUTHORITY)


def test_fingerprints_bind_name_and_key_and_are_six_groups_of_four() -> None:
    entry = Entry(1, "ward-3", b"k" * 32)
    assert [len(group) for group in entry.fingerprint.split("-")] == [4] * 6
    others = [Entry(1, "ward-4", b"k" * 32), Entry(1, "ward-3", b"l" * 32)]
    assert len({entry.fingerprint, *(other.fingerprint for other in others)}) == 3
    assert Entry(9, "ward-3", b"k" * 32).fingerprint == entry.fingerprint  # the number is the coordinator's affair


@given(names, keys)
def test_a_fingerprint_may_be_typed_as_people_type_but_whole(name: str, key: bytes) -> None:
    entry = Entry(1, name, key)
    typed = entry.fingerprint
    assert same_fingerprint(typed, entry)
    assert same_fingerprint(f" {typed.lower().replace('-', ' ')} ", entry)
    assert same_fingerprint(typed.replace("0", "O").replace("1", "l"), entry)
    assert not same_fingerprint(typed[:-1], entry)
    assert not same_fingerprint("", entry)
    assert not same_fingerprint(typed[:-1] + ("A" if typed[-1] != "A" else "B"), entry)


@pytest.mark.parametrize("name", ["", "Ward", "ward 3", "-a", "a-", "a/b", "..", "wаrd", "a" * 64, "a\n", "ward\u200b"])
def test_no_names(name: str) -> None:
    with pytest.raises(OwnerNameError, match="ward-3"):
        checked_name(name)


@given(names)
def test_names(name: str) -> None:
    assert checked_name(name) == name
