"""Tuning: the price of a search is at least that of its dearest trial, and what the accountants say where both apply."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.accountant import account, epsilon
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.accounting.tuning import SHAPES, tuning
from tacit.privacy.event import Event, Gaussian, NonPrivate, Poisson, Repeated, Tuned

EVENTS = st.dictionaries(
    st.floats(5, 50).map(Gaussian) | st.floats(2, 20).map(lambda z: Repeated(Poisson(0.25, Gaussian(z)), 4)),
    st.integers(1, 5),
    min_size=1,
    max_size=4,
)


@settings(max_examples=10)
@given(events=EVENTS)
def test_a_search_costs_at_least_its_dearest_trial(events: dict[Event, int]) -> None:
    found = tuning(events, "add-remove", 1e-5)
    dearest = max(epsilon(event, "add-remove", 1e-5) for event in events)
    assert found.composed >= dearest * (1 - 1e-3)
    assert found.selected >= dearest * (1 - 1e-3)
    assert found.trials == found.mean == sum(events.values())


def test_gaussians_compose_to_one() -> None:
    """Σ count/σ² = 4/16 + 9/36 = 1/2."""
    found = tuning({Gaussian(4.0): 4, Gaussian(6.0): 9}, "add-remove", 1e-5)
    assert found.composed == pytest.approx(account(Gaussian(math.sqrt(2)), "add-remove", 1e-5).epsilon)
    assert found.accountant == "pld"


@pytest.mark.parametrize("event", [Gaussian(8.0), Repeated(Poisson(0.1, Gaussian(1.5)), 20)])
def test_equal_settings_are_the_event_of_repeat_and_select(event: Event) -> None:
    found = tuning({event: 50}, "add-remove", 1e-5)
    each = {law: epsilon(Tuned(event, 50.0, shape), "add-remove", 1e-5) for law, shape in SHAPES.items()}
    assert found.selected == pytest.approx(min(each.values()), rel=1e-6)
    assert each[found.law] == min(each.values())


def test_selecting_is_cheaper_than_looking_at_all_of_many() -> None:
    found = tuning({Gaussian(10.0 + index): 10 for index in range(10)}, "add-remove", 1e-5)
    assert found.selected < found.composed / 3


def test_what_samplers_take_of_delta_costs_and_never_gives_infinity_where_groups_do() -> None:
    events: dict[Event, int] = {Gaussian(1.0 + index / 100): 2 for index in range(20)}
    exact = tuning(events, "add-remove", 1e-3)
    rough = tuning(events, "add-remove", 1e-3, extra=1e-14)
    assert exact.composed > 30  # e^ε · 1e-14 is more than δ
    assert rough.accountant == "basic"
    assert exact.composed < rough.composed < math.inf
    assert tuning(events, "add-remove", 1e-3, extra=1e-3).composed == math.inf


def test_anything_without_noise_is_infinite() -> None:
    found = tuning({Gaussian(1.0): 1, NonPrivate(): 1}, "add-remove", 1e-5)
    assert found.composed == found.selected == math.inf


def test_no_trial_is_no_search() -> None:
    with pytest.raises(AccountingError, match="no trial"):
        tuning({}, "add-remove", 1e-5)
