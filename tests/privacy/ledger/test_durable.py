"""DurableLedger: on the disk first, revealed then; a release is never opened twice at one price."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tacit.privacy.accounting.spend import Quota
from tacit.privacy.claim import Observer
from tacit.privacy.event import Event, Gaussian
from tacit.privacy.ledger.allowance import Allowed, Limit
from tacit.privacy.ledger.durable import DurableLedger
from tacit.privacy.ledger.entry import Currency, Price
from tacit.privacy.ledger.errors import AllowanceError, LockedError, TakenError
from tacit.privacy.ledger.memory import BudgetError, Entry
from tacit.privacy.ledger.store import Store, create
from tacit.privacy.pipeline import Opened, Release

EVENT = Gaussian(4.0)
PRICE = Price(Currency("owner", "add-remove", Observer("analyst")), EVENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create(tmp_path / "run.ledger", "federation")
    return tmp_path / "run.ledger"


def quota(rounds: int) -> Quota:
    budget = Quota(EVENT, "add-remove", 1e-5, 1.0)
    budget.limit = rounds
    return budget


def ledger(store: Store, run: str = "run", rounds: int = 3) -> DurableLedger:
    return DurableLedger(store, run, "c" * 64, PRICE, quota(rounds))


def release(store: Store, round: int, attempt: int = 0, event: Event = EVENT, fails: bool = False) -> Release:
    def reveal() -> Opened:
        with Store(store.path, "federation") as witness:  # another connection: it sees what is on the disk
            assert [each.reserved.address.round for each in witness.spent().records("run")][-1:] == [round]
        if fails:
            raise MemoryError
        return Opened(torch.full((2,), float(round)), ())

    return Release(event, round, attempt, reveal)


def test_charged_on_the_disk_first_revealed_then(path: Path) -> None:
    with Store(path, "federation") as store:
        mine = ledger(store)
        assert mine.affords(EVENT)
        assert torch.equal(mine.open(release(store, 1)).total, torch.ones(2))
        assert mine.entries == (Entry(1, 0, EVENT),)
        (record,) = store.spent().records()
        assert record.reply is not None
        assert record.reserved.request == "c" * 64
        assert record.reserved.price == PRICE


def test_a_budget_holds_over_restarts(path: Path) -> None:
    for round in (1, 2, 3):
        with Store(path, "federation") as store:
            ledger(store).open(release(store, round))
    with Store(path, "federation") as store:
        mine = ledger(store)
        assert not mine.affords(EVENT)
        with pytest.raises(BudgetError, match="round 4"):
            mine.open(release(store, 4))
        assert len(mine.entries) == 3
        assert ledger(store, "another").affords(EVENT)


def test_what_was_charged_and_not_opened_stays_charged(path: Path) -> None:
    with Store(path, "federation") as store:
        mine = ledger(store)
        with pytest.raises(MemoryError):
            mine.open(release(store, 1, fails=True))
        assert [each.reply for each in store.spent().records()] == [None]
    with Store(path, "federation") as store:
        mine = ledger(store, rounds=1)
        assert not mine.affords(EVENT)


def test_an_attempt_is_opened_once_and_the_next_is_known(path: Path) -> None:
    with Store(path, "federation") as store:
        mine = ledger(store)
        assert mine.next_attempt(1) == 0
        mine.open(release(store, 1))
        assert mine.next_attempt(1) == 1
        with pytest.raises(TakenError, match="round 1, attempt 0"):
            mine.open(release(store, 1))
        assert len(mine.entries) == 1
        mine.open(release(store, 1, attempt=1))


def test_what_a_run_may_cost_is_noted_before_its_first_charge_and_never_changed(path: Path) -> None:
    def limited(store: Store, epsilon: float) -> DurableLedger:
        limits = (Limit("run", epsilon, "quota"),)
        allowed = Allowed(PRICE.currency, 1e-5, limits, "federation.toml", 0)
        return DurableLedger(store, "run", "c" * 64, PRICE, quota(3), allowed)

    with Store(path, "federation") as store:
        limited(store, 1.0)
        limited(store, 1.0).open(release(store, 1))
        standing = store.spent().standing("run")
        assert standing is not None
        assert (standing.number, standing.allowed.limit("run")) == (1, Limit("run", 1.0, "quota"))
        assert store.spent().standing() is None
        for other in (0.5, 2.0):
            with pytest.raises(AllowanceError, match="line 1 allows run run another budget"):
                limited(store, other)


def test_nothing_is_revealed_where_the_ledger_cannot_be_written(path: Path) -> None:
    def never() -> Opened:
        raise AssertionError("revealed unpaid")

    import sqlite3

    with Store(path, "federation", patience=0.05) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError):
            ledger(store).open(Release(EVENT, 1, 0, never))
        holder.close()
