"""Ledger: charged first, revealed then; nothing is revealed that does not fit, and every charge can be read again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.event import Event, EventError, Gaussian, Poisson, Repeated
from tacit.privacy.ledger.memory import BudgetError, Entry, MemoryLedger, entry_from
from tacit.privacy.pipeline import Opened, Release

EVENT = Poisson(0.5, Gaussian(2.0))


@dataclass
class Purse:
    """Pays for so many releases of anything."""

    left: int
    paid: list[Event] = field(default_factory=list)

    def affords(self, event: Event) -> bool:
        return self.left > 0

    def charge(self, event: Event) -> None:
        self.left -= 1
        self.paid.append(event)


def release(log: list[str], round: int = 1, fails: bool = False) -> Release:
    def reveal() -> Opened:
        log.append("revealed")
        if fails:
            raise MemoryError
        return Opened(torch.ones(2), ())

    return Release(EVENT, round, 0, reveal)


class Watched(Purse):
    """Notes in the same log as the release when it is charged."""

    def __init__(self, left: int, log: list[str]) -> None:
        Purse.__init__(self, left)
        self.log = log

    def charge(self, event: Event) -> None:
        self.log.append("charged")
        Purse.charge(self, event)


def test_charged_first_revealed_then() -> None:
    log: list[str] = []
    ledger = MemoryLedger(Watched(1, log))
    assert torch.equal(ledger.open(release(log, 4)).total, torch.ones(2))
    assert log == ["charged", "revealed"]
    assert ledger.entries == (Entry(4, 0, EVENT),)


def test_a_reveal_that_fails_stays_charged() -> None:
    log: list[str] = []
    ledger = MemoryLedger(Purse(2))
    with pytest.raises(MemoryError):
        ledger.open(release(log, fails=True))
    assert len(ledger.entries) == 1
    assert ledger.affords(EVENT)
    ledger.open(release(log))
    assert not ledger.affords(EVENT)


def test_what_does_not_fit_is_neither_charged_nor_revealed() -> None:
    log: list[str] = []
    purse = Purse(0)
    ledger = MemoryLedger(purse)
    with pytest.raises(BudgetError, match=r"round 7: one more release exceeds the budget; raise budget\.epsilon"):
        ledger.open(release(log, 7))
    assert (log, ledger.entries, purse.paid) == ([], (), [])


def test_the_same_release_opened_twice_is_paid_twice() -> None:
    log: list[str] = []
    ledger, one = MemoryLedger(Purse(2)), release(log)
    ledger.open(one)
    ledger.open(one)
    assert len(ledger.entries) == 2
    with pytest.raises(BudgetError):
        ledger.open(one)
    assert log == ["revealed", "revealed"]


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 9), st.floats(0.1, 50), st.integers(1, 9)), max_size=6))
def test_entries_written_and_read_again_leave_the_same_budget(rows: list[tuple[int, int, float, int]]) -> None:
    entries = [Entry(r, a, Repeated(Poisson(0.25, Gaussian(z)), n)) for r, a, z, n in rows]
    text = json.dumps([entry.to_json() for entry in entries])
    purse = Purse(10)
    again = MemoryLedger(purse, [entry_from(row) for row in json.loads(text)])
    assert again.entries == tuple(entries)
    assert purse.paid == [entry.event for entry in entries]
    assert purse.left == 10 - len(entries)


@pytest.mark.parametrize(
    "row",
    [{}, {"round": 1, "attempt": 0}, {"round": 1, "attempt": 0, "event": {"event": "magic"}}, [1, 0, {}], None,
     {"round": 1, "attempt": 0, "event": "Gaussian"}],
)  # fmt: skip
def test_rows_that_are_no_charge_are_refused(row: object) -> None:
    with pytest.raises((EventError, KeyError, TypeError)):
        entry_from(row)
