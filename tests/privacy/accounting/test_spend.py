"""Budgets: what fits is charged, what does not is refused, and neither ever exceeds its ε."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.accounting.spend import Filter, Quota, Spend
from tacit.privacy.event import Composed, Event, FixedCohort, Gaussian, Laplace, NonPrivate, Poisson, Repeated

_EVENTS: list[Event] = [
    Gaussian(3.0),
    Gaussian(8.0),
    Laplace(10.0),
    Poisson(0.1, Gaussian(1.0)),
    Repeated(Laplace(20.0), 2),
]


@given(st.lists(st.sampled_from(_EVENTS), max_size=12))
@settings(max_examples=20, deadline=None)
def test_spend_is_the_accountant_of_the_composition_in_any_order(events: list[Event]) -> None:
    spend, mixed = Spend("add-remove", 1e-5), Spend("add-remove", 1e-5)
    for event in events:
        expected = spend.epsilon_if(event)
        spend.charge(event)
        assert spend.epsilon() == expected
    for event in random.Random(1).sample(events, len(events)):
        mixed.charge(event)
    assert mixed.epsilon() == spend.epsilon() == epsilon(Composed(tuple(events)), "add-remove", 1e-5)


@given(st.lists(st.sampled_from(_EVENTS), min_size=1, max_size=60), st.floats(0.5, 6))
@settings(max_examples=20, deadline=None)
def test_whatever_a_filter_lets_pass_is_within_its_budget(events: list[Event], budget: float) -> None:
    kept, guard = [], Filter("add-remove", 1e-5, budget)
    for event in events:
        if guard.affords(event):
            guard.charge(event)
            kept.append(event)
    assert guard.epsilon() <= budget * (1 + 1e-9)
    assert epsilon(Composed(tuple(kept)), "add-remove", 1e-5) <= budget


def test_a_filters_order_is_fixed_before_and_suits_what_is_typical() -> None:
    event = Poisson(0.01, Gaussian(1.1))
    fitted, plain = Filter("add-remove", 1e-5, 1.5, typical=event), Filter("add-remove", 1e-5, 1.5)

    def most(guard: Filter) -> int:
        order, count = guard.order, 0
        while guard.affords(event):
            guard.charge(event)
            count += 1
            assert guard.order == order
        return count

    assert most(fitted) >= most(plain) > 0


def test_a_filter_counts_what_happened_even_beyond_its_budget() -> None:
    guard = Filter("add-remove", 1e-5, 1.0)
    guard.charge(Gaussian(0.5))
    assert guard.epsilon() > 1.0
    assert not guard.affords(Gaussian(1e5))


def test_what_a_filter_has_used_adds_up_to_one_where_nothing_more_fits() -> None:
    made = Filter("add-remove", 1e-5, 2.0, Gaussian(8.0))
    assert made.used == 0.0
    while made.affords(Gaussian(8.0)):
        before = made.used
        made.charge(Gaussian(8.0))
        assert made.used > before
    assert 0.9 < made.used <= 1.0
    made.charge(Gaussian(8.0))
    assert made.used > 1.0
    made.charge(NonPrivate())
    assert made.used == math.inf


def test_a_quota_affords_exactly_the_calibrated_count_and_nothing_else() -> None:
    event = Poisson(0.1, Gaussian(2.0))
    budget = epsilon(Repeated(event, 25), "add-remove", 1e-5)
    quota = Quota(event, "add-remove", 1e-5, budget)
    assert quota.limit == 25
    assert not quota.affords(Poisson(0.1, Gaussian(3.0)))
    with pytest.raises(AccountingError, match="Filter"):
        quota.charge(Gaussian(100.0))
    for _ in range(25):
        assert quota.affords(event)
        quota.charge(Composed((event,)))
    assert not quota.affords(event)


def test_an_infinite_budget_is_the_explicit_baseline() -> None:
    for guard in (Filter("add-remove", 1e-5, math.inf), Quota(NonPrivate(), "add-remove", 1e-5, math.inf)):
        assert guard.affords(NonPrivate())
        guard.charge(NonPrivate())
        assert guard.affords(NonPrivate())
    assert Spend("add-remove", 1e-5).affords(NonPrivate(), math.inf)


def test_nothing_without_noise_fits_a_finite_budget() -> None:
    assert not Filter("add-remove", 1e-5, 100.0).affords(NonPrivate())
    assert Quota(NonPrivate(), "add-remove", 1e-5, 100.0).limit == 0
    assert not Spend("add-remove", 1e-5).affords(NonPrivate(), 100.0)


def test_spend_affords_by_the_reported_epsilon_where_rdp_does_not_settle_it() -> None:
    event = Poisson(0.1, Gaussian(2.0))
    spend = Spend("add-remove", 1e-5)
    spend.charge(Repeated(event, 24))
    budget = epsilon(Repeated(event, 25), "add-remove", 1e-5)
    assert spend.affords(event, budget)
    assert not spend.affords(Repeated(event, 2), budget)
    assert not spend.affords(event, budget * 0.99)


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, True])
def test_bad_budgets(budget: float) -> None:
    for make in (lambda: Filter("add-remove", 1e-5, budget), lambda: Quota(Gaussian(1.0), "add-remove", 1e-5, budget)):
        with pytest.raises(AccountingError, match="budget"):
            make()


def test_what_cannot_be_accounted_is_refused_before_it_is_counted() -> None:
    spend = Spend("add-remove", 1e-5)
    spend.charge(Gaussian(5.0))
    before = spend.epsilon()
    with pytest.raises(AccountingError, match="replace-one"):
        spend.charge(FixedCohort(1, 10, Gaussian(1.0)))
    assert spend.epsilon() == before
    with pytest.raises(AccountingError, match="replace-one"):
        Filter("add-remove", 1e-5, 1.0).affords(FixedCohort(1, 10, Gaussian(1.0)))


def test_a_filter_holds_under_adaptive_noise() -> None:
    """The adversary picks the next noise by what is left; the sum of divergences at the order still obeys the budget."""
    guard, chance, spent = Filter("add-remove", 1e-5, 2.0), np.random.default_rng(0), 0.0
    for _ in range(400):
        event = Gaussian(float(chance.uniform(3, 40)))
        if guard.affords(event):
            guard.charge(event)
            spent += guard.order / 2 / event.noise_multiplier**2
    order = guard.order
    proven = spent + math.log1p(-1 / order) - (math.log(1e-5) + math.log(order)) / (order - 1)
    assert 1.5 < proven <= 2.0 * (1 + 1e-9)
