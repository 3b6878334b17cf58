"""Calibration: never above the target, never 0.1 % from it."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.accounting.calibrate import LEAST_NOISE, noise_multiplier, rounds
from tacit.privacy.accounting.relation import AccountingError, Relation
from tacit.privacy.event import Event, FixedCohort, Gaussian, Laplace, NonPrivate, Nothing, Poisson, Repeated, Skellam


def _poisson(rate: float, count: int) -> Callable[[float], Event]:
    return lambda noise: Repeated(Poisson(rate, Gaussian(noise)), count)


@given(
    st.sampled_from([0.005, 0.1, 0.5, 1.0]),
    st.integers(1, 300),
    st.floats(0.05, 30),
    st.sampled_from([1e-4, 1e-6]),
    st.sampled_from(["add-remove", "replace-one"]),
)
@settings(max_examples=12, deadline=None)
def test_noise_is_sufficient_and_tight(
    rate: float, count: int, target: float, delta: float, relation: Relation
) -> None:
    make = _poisson(rate, count)
    noise = noise_multiplier(make, relation, delta, target)
    assert epsilon(make(noise), relation, delta) <= target
    assert noise == LEAST_NOISE or epsilon(make(noise * 0.999), relation, delta) > target


@pytest.mark.parametrize(
    ("make", "relation"),
    [
        (lambda noise: Repeated(FixedCohort(10, 1000, Gaussian(noise)), 50), "replace-one"),
        (lambda noise: Repeated(Laplace(noise), 10), "add-remove"),
        (lambda noise: Skellam((100 * noise) ** 2, 100.0, 1000.0), "zero-out"),
        (lambda noise: Gaussian(noise), "replace-one"),
    ],
)
def test_other_mechanisms_too(make: Callable[[float], Event], relation: Relation) -> None:
    noise = noise_multiplier(make, relation, 1e-5, 1.5)
    assert 1.5 * 0.996 <= epsilon(make(noise), relation, 1e-5) <= 1.5
    assert epsilon(make(noise * 0.999), relation, 1e-5) > 1.5


def test_the_digits_settings_of_the_facts() -> None:
    # 479 owners, q = 0.5, 80 rounds, ε = 4: σ = 3.74. The published value rounds ours to two digits.
    assert noise_multiplier(_poisson(0.5, 80), "add-remove", 479**-1.1, 4.0) == pytest.approx(3.74, abs=0.006)


def test_where_any_noise_will_do_the_least_is_returned() -> None:
    assert noise_multiplier(lambda noise: Nothing(), "add-remove", 1e-5, 1.0) == LEAST_NOISE
    assert noise_multiplier(_poisson(1e-9, 10), "add-remove", 1e-5, 1.0) == LEAST_NOISE


def test_what_no_noise_reaches_is_refused() -> None:
    with pytest.raises(AccountingError, match="no noise multiplier"):
        noise_multiplier(lambda noise: NonPrivate(), "add-remove", 1e-5, 1.0)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan, True])
def test_bad_targets(target: float) -> None:
    with pytest.raises(AccountingError, match="target_epsilon"):
        noise_multiplier(_poisson(0.1, 10), "add-remove", 1e-5, target)
    with pytest.raises(AccountingError, match="target_epsilon"):
        rounds(lambda count: Repeated(Gaussian(1.0), count), "add-remove", 1e-5, target)


@given(st.sampled_from([0.01, 0.3, 1.0]), st.floats(1, 20), st.floats(0.3, 8))
@settings(max_examples=10, deadline=None)
def test_rounds_are_the_most_that_fit(rate: float, noise: float, target: float) -> None:
    def make(count: int) -> Event:
        return Repeated(Poisson(rate, Gaussian(noise)), count)

    found = rounds(make, "add-remove", 1e-5, target, at_most=3000)
    if found:
        assert epsilon(make(found), "add-remove", 1e-5) <= target
    if found < 3000:
        assert epsilon(make(found + 1), "add-remove", 1e-5) > target


def test_a_schedule_calibrated_to_its_budget_is_affordable_to_its_last_round() -> None:
    noise = noise_multiplier(_poisson(0.1, 200), "add-remove", 1e-5, 2.0)
    assert rounds(lambda count: Repeated(Poisson(0.1, Gaussian(noise)), count), "add-remove", 1e-5, 2.0) == 200


def test_no_round_fits_or_all_do() -> None:
    assert rounds(lambda count: Repeated(Gaussian(0.1), count), "add-remove", 1e-5, 1.0) == 0
    assert rounds(lambda count: Nothing(), "add-remove", 1e-5, 1.0, at_most=77) == 77
    assert rounds(lambda count: Nothing(), "add-remove", 1e-5, 1.0, at_most=0) == 0
