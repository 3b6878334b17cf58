"""Realised: what became of charges by who answered, said beside them; nothing of it changes what is charged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.accounting.spend import Quota
from tacit.privacy.claim import Observer
from tacit.privacy.event import Composed, DiscreteGaussian, Event, Gaussian, Nothing, Poisson, Repeated, Skellam
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.durable import DurableLedger
from tacit.privacy.ledger.entry import Address, Committed, Currency, EntryError, Price, Reserved, Survived
from tacit.privacy.ledger.errors import LedgerError
from tacit.privacy.ledger.realised import realised, shared
from tacit.privacy.ledger.store import Store, create
from tacit.privacy.participation import Everyone
from tacit.privacy.pipeline import Opened, Outcome, Release, pipeline
from tacit.privacy.schedule import Schedule
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian as Shares
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.mask import Mask
from tacit.privacy.stages.skellam import Skellam as SkellamShares

SERVER = Observer("server", 1)
CURRENCY = Currency("owner", "zero-out", SERVER)
FLOOR, MORE = Skellam(1e6, 300.0, 3000.0), Skellam(2e6, 300.0, 3000.0)


def account(*charges: tuple[Event, Event | None]) -> Account:
    """Committed charges, each with what became of it where that is known."""
    made, number = Account(), 0
    for event, outcome in charges:
        number += 1
        made.take(number, Reserved(Address("run", number, 0), "a" * 64, Price(CURRENCY, event), 0))
        at, number = number, number + 1
        made.take(number, Committed(at, "b" * 64, 0))
        if outcome is not None:
            number += 1
            made.take(number, Survived(at, 9, outcome, 0))
    return made


@given(st.lists(st.booleans(), max_size=6))
def test_what_is_not_known_counts_at_the_floor_and_nothing_changes_the_charge(known: list[bool]) -> None:
    made = account(*((FLOOR, MORE if each else None) for each in known))
    found = realised(made.records())
    assert (found.known, found.unknown) == (sum(known), len(known) - sum(known))
    parts = {Repeated(event, known.count(which)) for event, which in ((MORE, True), (FLOOR, False)) if which in known}
    assert (set(found.event.parts) if isinstance(found.event, Composed) else {found.event}) == (parts or {Nothing()})
    assert made.events(CURRENCY) == ({FLOOR: len(known)} if known else {})


def test_noise_that_nobody_shares_does_not_depend_on_survivors() -> None:
    for event in (Gaussian(2.0), Poisson(0.1, Gaussian(2.0)), Nothing()):
        assert not shared(event)
        found = realised(account((event, None)).records())
        assert (found.known, found.unknown) == (0, 0)
    for event in (FLOOR, DiscreteGaussian(9.0, 1.0, 1.0, 5), Repeated(FLOOR, 3), Composed((Gaussian(1.0), FLOOR))):
        assert shared(event)


@pytest.mark.parametrize("line", [Survived(7, 9, MORE, 0), Survived(1, 9, MORE, 0), Survived(3, 9, MORE, 0)])
def test_survivors_of_no_committed_charge_or_said_twice_are_no_line(line: Survived) -> None:
    made = account((FLOOR, MORE))  # lines 1 to 3
    with pytest.raises(EntryError, match="who survived"):
        made.take(4, line)
    made.take(4, Reserved(Address("run", 2, 0), "a" * 64, Price(CURRENCY, FLOOR), 0))
    with pytest.raises(EntryError, match="no committed charge"):
        made.take(5, Survived(4, 9, MORE, 0))


def test_a_ledger_notes_it_once_and_goes_on_from_it(tmp_path: Path) -> None:
    create(tmp_path / "ledger", "asset")
    price = Price(CURRENCY, FLOOR)
    with Store(tmp_path / "ledger", "asset") as store:
        number = store.reserve(Address("run", 1, 0), "a" * 64, lambda _: price)
        with pytest.raises(LedgerError, match="after `commit`"):
            store.survived(number, 9, MORE)
        store.commit(number, "b" * 64)
        store.survived(number, 9, MORE)
        head = store.head
        store.survived(number, 5, FLOOR)  # what was noted before stands
        assert store.head == head
    with Store(tmp_path / "ledger", "asset") as store:
        (record,) = store.spent().records()
        assert record.realised is not None
        assert (record.realised.survivors, record.realised.event) == (9, MORE)
        assert store.spent().events(CURRENCY) == {FLOOR: 1}


def test_the_servers_ledger_notes_what_a_release_came_to(tmp_path: Path) -> None:
    create(tmp_path / "ledger", "server")
    with Store(tmp_path / "ledger", "server") as store:
        budget = Quota(FLOOR, "zero-out", 1e-5, 1.0)
        budget.limit = 3
        ledger = DurableLedger(store, "run", "c" * 64, Price(CURRENCY, FLOOR), budget)
        for round, outcome in ((1, Outcome(9, MORE)), (2, None)):
            ledger.open(Release(FLOOR, round, 0, lambda: Opened(torch.zeros(2), ()), outcome))
        found = realised(store.spent().records())
        assert (found.known, found.unknown) == (1, 1)
        assert [entry.event for entry in ledger.entries] == [FLOOR, FLOOR]


@pytest.mark.parametrize("noise", [SkellamShares(2.0), Shares(2.0)], ids=["skellam", "discrete-gaussian"])
def test_more_survivors_are_more_noise_and_the_floor_is_the_charge(noise: object) -> None:
    line = pipeline(Signal(100, "owner", least=5, most=10), [Clip(0.5), Encode(bits=18), noise, Mask(colluders=1)])  # type: ignore[list-item]
    schedule = Schedule(line, Everyone(), 10, 20)
    assert schedule.realised(SERVER, 5) == schedule.round_events(SERVER, "zero-out")[0]

    def variance(event: Event | None) -> float:
        assert isinstance(event, Skellam | DiscreteGaussian)
        return event.variance * (event.shares if isinstance(event, DiscreteGaussian) else 1)

    found = [variance(schedule.realised(SERVER, survivors)) for survivors in (5, 7, 10)]
    assert found == pytest.approx([found[0], found[0] * 6 / 4, found[0] * 9 / 4])  # less one colluder


def test_of_central_noise_there_is_nothing_to_say() -> None:
    line = pipeline(Signal(100, "owner", least=5, most=10), [Clip(0.5), CentralGaussian(2.0)])
    assert Schedule(line, Everyone(), 10, 20).realised(Observer("analyst"), 7) is None
    assert Schedule(pipeline(Signal(100, "owner"), []), Everyone(), 10, 20).realised(SERVER, 7) is None
