"""Certificate, checked as a whole: whatever digit is changed, whoever signs what is not so, it is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian, NonPrivate
from tacit.privacy.ledger.certificate import CertificateError, Head, certificate_in, hidden
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.currency import Currency
from tacit.privacy.ledger.entry import Address, Price
from tacit.privacy.ledger.reader import read
from tacit.privacy.ledger.store import Store
from tacit.strategies import roster
from tacit.strategies.certificate import check
from tacit.strategies.roster import Entry, Roster


def test_an_honest_certificate_holds(sealing: Any) -> None:
    found = check(sealing.file())
    assert found.holds
    assert [each.owner.name for each in found.owners if each.owner] == ["ward-1", "ward-2"]
    assert all(each.again.by == "pld" for each in (*found.owners, *found.claims))
    assert found.binding.missing[0].number == 3
    assert (found.notes, found.known, found.ledgers) == ((), (), ())


def test_every_changed_character_is_found(sealing: Any) -> None:
    """Law: a certificate with one other character, anywhere in it, is none."""
    content = sealing.file()
    for place, value in enumerate(content):
        for other in {value ^ 1, ord("0") if value != ord("0") else ord("9")}:
            with pytest.raises(CertificateError):
                check(content[:place] + bytes([other]) + content[place + 1 :])


def test_every_character_that_is_left_out_is_found(sealing: Any) -> None:
    content = sealing.file()
    for place in range(len(content)):
        with pytest.raises(CertificateError):
            check(content[:place] + content[place + 1 :])


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every number, text and truth value in a JSON value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*at, key))
    else:
        yield at


def changed(value: Any, at: tuple[Any, ...]) -> Any:
    """`value` with another leaf at a path."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in at[:-1]:
        inner = inner[key]
    old = inner[at[-1]]
    inner[at[-1]] = (not old) if isinstance(old, bool) else old * 1.5 + 1 if isinstance(old, float) else (
        old + 1 if isinstance(old, int) else ("0" if old[:1] != "0" else "1") + old[1:]
    )  # fmt: skip
    return copy


def test_every_field_that_is_changed_without_its_key_is_found(sealing: Any) -> None:
    row = json.loads(sealing.file())
    places = 0
    for which in ("certificate", *range(len(row["statements"]))):
        text = row["certificate"]["text"] if which == "certificate" else row["statements"][which]["text"]
        for at in leaves(json.loads(text)):
            copy = json.loads(json.dumps(row))
            target = copy["certificate"] if which == "certificate" else copy["statements"][which]
            target["text"] = json.dumps(changed(json.loads(text), at), sort_keys=True, separators=(",", ":"))
            places += 1
            with pytest.raises(CertificateError):
                check((json.dumps(copy, sort_keys=True, separators=(",", ":")) + "\n").encode())
    assert places > 80


def test_what_an_owner_signs_that_does_not_follow_is_found(sealing: Any) -> None:
    """An owner that means ill signs with its own key; its arithmetic, run, number, recipe and code are checked all the same."""
    cost = sealing.statements[1].cost
    for changes, words in (
        ({"cost": replace(cost, epsilon=cost.epsilon / 2)}, "follows"),
        ({"cost": replace(cost, delta=1e-4)}, "follows"),
        ({"cost": replace(cost, events=((Gaussian(9.0), 2),))}, "follows"),
        ({"run": "run-2"}, "run-2"),
        ({"number": 2}, "owner number 2"),
        ({"recipes": ("b" * 64,)}, "another recipe"),
        ({"recipes": ("a" * 64, "b" * 64)}, "more than one"),
        ({"codes": ("tacit 9",)}, "tacit 9"),
    ):
        found = check(sealing.file([sealing.signed(1, **changes), sealing.signed(2)]))
        assert not found.holds
        assert len(found.faults) == 1
        assert words in found.faults[0]
        assert found.faults[0].startswith("ward-1: ")


def test_what_the_coordinator_signs_that_does_not_follow_is_found(sealing: Any) -> None:
    cost = sealing.binding.claims[0]
    found = check(sealing.file(claims=(replace(cost, epsilon=0.1),)))
    assert [each.startswith("the claim against the server") for each in found.faults] == [True]


def test_a_statement_by_another_key_is_refused(sealing: Any) -> None:
    forged = replace(sealing, owners={**sealing.owners, 1: sealing.owners[3]})
    with pytest.raises(CertificateError, match="ward-1"):
        check(sealing.file([forged.signed(1), sealing.signed(2)]))


def test_a_binding_or_a_roster_by_another_key_is_refused(sealing: Any) -> None:
    with pytest.raises(CertificateError, match="not signed"):
        check(sealing.file(key=sealing.owners[1]))
    with pytest.raises(CertificateError, match="roster"):
        check(sealing.file(text=roster.sign(sealing.roster, sealing.owners[1])))


def test_statements_that_are_swapped_or_left_out_are_found(sealing: Any) -> None:
    found = json.loads(sealing.file())
    for statements in (found["statements"][::-1], found["statements"][:1], []):
        copy = {**found, "statements": statements}
        with pytest.raises(CertificateError, match="statements"):
            check((json.dumps(copy, sort_keys=True, separators=(",", ":")) + "\n").encode())


def test_an_owner_that_the_roster_does_not_have_is_refused(sealing: Any) -> None:
    less = Roster(sealing.roster.authority, 4, sealing.roster.entries[1:])
    with pytest.raises(CertificateError, match="not in the roster"):
        check(sealing.file(text=roster.sign(less, sealing.coordinator)))


def test_a_seeded_run_says_that_nothing_is_private(sealing: Any) -> None:
    endless = replace(sealing.binding.claims[0], epsilon=float("inf"), events=((NonPrivate("seed"), 1),))
    with pytest.raises(CertificateError):
        check(sealing.file(seeded=True, key=sealing.owners[1], claims=(endless,)))
    assert check(sealing.file(seeded=True, claims=(endless,))).holds
    assert not check(sealing.file(seeded=True, claims=(replace(endless, events=()),))).holds  # it does not follow


# --- what the reader brings ---


def test_a_roster_from_elsewhere_confirms_or_contradicts_keys(sealing: Any) -> None:
    content, own = sealing.file(), sealing.roster
    whole = check(content, roster.sign(own, sealing.coordinator))
    assert (whole.holds, whole.known) == (True, ("ward-1", "ward-2"))
    part = check(content, roster.sign(Roster(own.authority, 1, own.entries[:1]), sealing.coordinator))
    assert (part.holds, part.known) == (True, ("ward-1",))
    assert "ward-2 is not in the roster that you gave" in part.notes[0]
    other = Entry(1, "ward-1", bytes(range(32)))
    wrong = check(content, roster.sign(Roster(own.authority, 1, (other,)), sealing.coordinator))
    assert [each.startswith("ward-1: ") for each in wrong.faults] == [True]
    assert not check(content, roster.sign(Roster(bytes([1] * 32), 1, own.entries), sealing.coordinator)).holds
    for text in (roster.sign(own, Ed25519PrivateKey.from_private_bytes(bytes(32))), "", "[]", '{"roster": "[]"}'):
        with pytest.raises(CertificateError):
            check(content, text)


def test_a_ledger_is_held_against_its_owners_statement(sealing: Any, tmp_path: Path) -> None:
    path, key = tmp_path / "ward.sqlite", sealing.owners[1]
    currency = Currency("owner", "zero-out", Observer("server", 1))
    create(path, "ward", lambda: 0, key)
    with Store(path, "ward", lambda: 0, key=key) as store:

        def charge(run: str, round: int) -> None:
            store.reserve(Address(run, round, 0), "a" * 64, lambda _: Price(currency, Gaussian(9.0), 1e-12 / 3))

        for round in range(3):
            charge("run-1", round)
        identity, (number, digest) = store.heading.identity, store.head
        cost = replace(sealing.statements[1].cost, delta_extra=store.spent().delta_extra(currency, "run-1"))
        true = {"head": Head(identity, number, digest.hex()), "asset": hidden("ward", identity), "lines": (1, 3)}
        charge("run-2", 0)  # what came later does not matter

    def verdict(**changes: Any) -> Any:
        signed = sealing.signed(1, **{**true, "cost": cost, **changes})
        return check(sealing.file([signed, sealing.signed(2)]), books=[read(path)])

    found = verdict()
    assert (found.faults, found.ledgers) == ((), ("ward-1",))
    assert (
        "charges something else"
        in verdict(head=Head(identity, number + 1, read(path).head.digest.hex()), lines=(1, 4)).faults[0]
    )
    assert "older or another" in verdict(head=Head(identity, number + 2, digest.hex())).faults[0]
    assert "not the ledger" in verdict(asset="0" * 64).faults[0]
    assert "no owner" in verdict(head=Head("another", number, digest.hex())).faults[0]


def test_another_roster_at_the_owner_is_noted(sealing: Any) -> None:
    found = check(sealing.file([sealing.signed(1, roster="0" * 64), sealing.signed(2)]))
    assert found.holds
    assert "ward-1 signed while it kept another roster" in found.notes[0]


def test_the_order_of_statements_is_that_of_the_binding(sealing: Any) -> None:
    found = certificate_in(sealing.file())
    assert [json.loads(each.text)["number"] for each in found.statements] == [1, 2]
