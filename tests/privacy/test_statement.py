"""Statement: spent is never below what an exact accountant finds, and what must not add up does not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.accounting.figures import account_within
from tacit.privacy.claim import Observer
from tacit.privacy.event import Composed, Event, Gaussian, NonPrivate, Poisson, Repeated, Skellam
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.allowance import Allowed, Limit
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price, Reserved
from tacit.privacy.ledger.reader import read
from tacit.privacy.ledger.store import Store
from tacit.privacy.statement import USUAL, Statement, spending, spent, statement

OWNER = Currency("owner", "zero-out", Observer("server"))
EXAMPLE = Currency("example", "add-remove", Observer("server"))
LIMITS = (Limit("asset", 8.0, "filter"), Limit("run", 4.0, "quota"), Limit("server", 6.0, "filter"))


def ledger(
    folder: Path, *charges: tuple[str, str, Event], currency: Currency = OWNER, allowed: bool = True
) -> Statement:
    """The statement of a ledger with charges of (run, server, event), all but the last committed."""
    path = folder / "ward3.sqlite"
    create(path, "ward3", clock=lambda: 0)
    times = iter(range(10_000))
    for index, (run, server, event) in enumerate(charges):
        with Store(path, "ward3", clock=lambda: next(times), server=server) as store:
            if index == 0 and allowed:
                store.allow(lambda _: Allowed(OWNER, 1e-6, LIMITS, "ada", 0))
            price = Price(currency, event)
            number = store.reserve(Address(run, index, 0), "a" * 64, lambda _, price=price: price)
            if index < len(charges) - 1:
                store.commit(number, "b" * 64)
    return statement(read(path))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(2, 50), min_size=1, max_size=6))
def test_spent_is_an_upper_bound_and_not_far_above(noises: list[float]) -> None:
    account = Account()
    for number, noise in enumerate(noises, start=1):
        account.take(number, Reserved(Address("run", number, 0), "0" * 64, Price(OWNER, Gaussian(noise)), 0))
    exact = epsilon(Composed(tuple(map(Gaussian, noises))), "zero-out", 1e-5)
    assert exact <= spent(account, OWNER, 1e-5) <= 1.35 * exact + 0.01


def test_by_run_by_server_and_in_all(tmp_path: Path) -> None:
    event = Gaussian(10.0)
    found = ledger(tmp_path, ("one", "s", event), ("one", "s", event), ("two", "t", Gaussian(20.0)))
    assert [(part.name, part.sums[0].charges, part.sums[0].open) for part in found.runs] == [
        ("one", 2, 0),
        ("two", 1, 1),
    ]
    assert [part.name for part in found.servers] == ["s", "t"]
    (total,) = found.asset.sums
    assert (total.charges, total.open, total.delta, total.limit) == (3, 1, 1e-6, LIMITS[0])
    assert found.runs[0].sums[0].limit == LIMITS[1]
    assert found.servers[0].sums[0].limit == LIMITS[2]
    assert total.event == Composed((Repeated(event, 2), Repeated(Gaussian(20.0), 1)))
    assert found.runs[0].sums[0].epsilon < total.epsilon
    assert found.over == ()
    row = found.to_json()
    assert row["total"][0]["guaranteed"] == 8.0
    assert row["runs"][0]["sums"][0]["rule"] == "quota"
    assert row["allowed"][0]["by"] == "ada"


def test_what_was_spent_is_what_the_accountant_of_certificates_finds(tmp_path: Path) -> None:
    """Tightly, for a run, a server and all: one number for one thing, whoever is asked."""
    event = Poisson(0.2, Gaussian(1.5))
    found = ledger(tmp_path, *[("run", "s", event)] * 8)
    exact = account_within(Repeated(event, 8), OWNER.relation, 1e-6, 0.0).epsilon
    assert [part.sums[0].epsilon for part in (*found.runs, *found.servers, found.asset)] == [exact] * 3
    assert exact < spent(found.book.account, OWNER, 1e-6)


def test_where_nothing_is_allowed_for_the_whole_its_delta_is_that_of_the_runs(tmp_path: Path) -> None:
    """As in a coordinator's ledger, which allows run by run; runs that differ in δ are summed at the usual one."""
    ledger(tmp_path, ("one", "", Gaussian(10.0)), allowed=False)
    with Store(tmp_path / "ward3.sqlite", "ward3") as store:

        def allow(run: str, delta: float) -> None:
            store.allow(lambda _: Allowed(OWNER, delta, (Limit("run", 9.0, "quota"),), "ada", 0, run=run))

        allow("one", 1e-3)
        (alone,) = statement(read(store.path)).asset.sums
        assert (alone.delta, alone.limit) == (1e-3, None)
        store.reserve(Address("two", 1, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(9.0)))
        assert statement(read(store.path)).asset.sums[0].delta == USUAL
        allow("two", 1e-4)
        assert statement(read(store.path)).asset.sums[0].delta == USUAL


def test_charges_of_different_currencies_never_add_up(tmp_path: Path) -> None:
    found = ledger(tmp_path, ("one", "", Gaussian(10.0)))
    with Store(found.book.path, "ward3") as store:
        store.reserve(Address("two", 9, 0), "a" * 64, lambda _: Price(EXAMPLE, Gaussian(10.0)))
    both = statement(read(found.book.path)).asset.sums
    assert [each.currency for each in both] == [OWNER, EXAMPLE]
    assert [each.charges for each in both] == [1, 1]
    assert (both[1].limit, both[1].delta) == (None, USUAL)  # what was allowed was allowed in the other one


def test_a_quota_that_a_tight_accountant_keeps_is_not_said_to_be_broken(tmp_path: Path) -> None:
    """Rényi's bound of these rounds is above the limit, the exact ε below."""
    events = [("run", "", Gaussian(2.0))] * 3
    found = ledger(tmp_path, *events)
    limit = epsilon(Repeated(Gaussian(2.0), 3), "zero-out", 1e-6) * 1.01
    assert spent(found.book.account, OWNER, 1e-6) > limit
    with Store(found.book.path, "ward3") as store:
        limits = (Limit("run", limit, "quota"),)
        store.allow(lambda _: Allowed(OWNER, 1e-6, limits, "ada", 0, replaces=1))
    again = statement(read(found.book.path))
    assert again.over == ()
    assert again.runs[0].sums[0].epsilon <= limit
    with Store(found.book.path, "ward3") as store:
        limits = (Limit("run", limit / 2, "quota"),)
        standing = store.spent().standing()
        assert standing is not None
        store.allow(lambda _: replace(standing.allowed, limits=limits, replaces=standing.number))
    assert len(statement(read(found.book.path)).over) == 1


def test_what_is_not_private_is_infinite_and_over(tmp_path: Path) -> None:
    found = ledger(tmp_path, ("run", "", NonPrivate("seeded")))
    assert found.asset.sums[0].epsilon == math.inf
    assert any("asset" in each for each in found.over)
    assert found.to_json()["total"][0]["spent"] == "inf"


def test_spending_grows_to_what_was_spent(tmp_path: Path) -> None:
    found = ledger(tmp_path, *[(f"run{each}", "", Gaussian(10.0)) for each in range(12)])
    points = spending(found.book, OWNER, 1e-6)
    assert [point[0] for point in points] == list(range(13))
    assert [point[2] for point in points] == sorted(point[2] for point in points)
    assert (points[0][2], points[-1][2]) == (0.0, found.asset.sums[0].epsilon)
    assert spending(found.book, EXAMPLE, 1e-6) == ()


def test_of_a_long_ledger_some_points_and_always_the_last(tmp_path: Path) -> None:
    path = tmp_path / "x"
    create(path, "x")
    with Store(path, "x") as store:
        for round in range(700):
            store.reserve(Address("run", round, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(100.0)))
    points = spending(read(path), OWNER, 1e-6)
    assert len(points) == 101
    assert points[-1][0] == 700


def test_of_many_kinds_of_events_fewer_points_and_always_the_last(tmp_path: Path) -> None:
    found = ledger(tmp_path, *[("run", "", Skellam(1e6 + each % 20, 100.0, 1000.0)) for each in range(60)])
    points = spending(found.book, OWNER, 1e-6)
    assert len(points) == 13
    assert (points[0][0], points[-1][0], points[-1][2]) == (0, 60, found.asset.sums[0].epsilon)
    assert [point[2] for point in points] == sorted(point[2] for point in points)
