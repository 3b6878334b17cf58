"""The one-run audit of a trade-off curve: sound on mechanisms whose counts are known, tighter than the simple form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri
from tacit.privacy.accounting import accountant, gaussian
from tacit.privacy.accounting.audit import Guesses, epsilon_bound
from tacit.privacy.accounting.audit_curve import (
    Profile,
    excluded,
    gaussian_inverse,
    inverse_of,
    least_factor,
    scaled,
)
from tacit.privacy.event import (
    BandedMatrix,
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    RandomizedResponse,
    Repeated,
    Skellam,
    TruncatedPoisson,
)

Inverse = Callable[[float], float]


def told(epsilon: float, delta: float) -> Inverse:
    """f̄⁻¹ of (ε, δ)-DP."""
    return Profile(np.array([epsilon]), np.array([delta])).inverse


def largest_tail(mu: float, m: int, made: int, right: int) -> float:
    """The largest P[right or more] that the constraints of all suffixes permit under μ-GDP, by a linear program.

    The concave f̄(x) = Φ(Φ⁻¹(x) + μ) is the least of its tangents; a hundred of them lie above it, so this errs upwards, by
    little.
    """
    half = np.geomspace(1e-7, 0.5, 50)
    xs = np.concatenate([half, 1 - half])
    heights, slopes = ndtr(ndtri(xs) + mu), np.exp(-mu * ndtri(xs) - mu * mu / 2)
    counts = np.arange(made + 1)
    rows, limits = [], []
    for least in range(1, made + 1):
        into = np.where(counts >= least, counts / m, 0.0)
        out = np.where(counts >= least - 1, (made - counts) / m, 0.0)
        rows += list(into - slopes[:, None] * out)
        limits += list(heights - slopes * xs)
    found = linprog(-(counts >= right).astype(float), np.array(rows), np.array(limits), np.ones((1, made + 1)), [1.0])
    return -float(found.fun)


@pytest.mark.parametrize(
    ("mu", "made", "right"), [(0.5, 4, 4), (0.5, 8, 7), (0.5, 12, 10), (0.5, 12, 12), (1.5, 12, 12)]
)
def test_it_is_the_largest_tail_that_the_constraints_permit(mu: float, made: int, right: int) -> None:
    """The recursion against a linear program over all laws of the count."""
    most = largest_tail(mu, 12, made, right)
    guesses = Guesses(12, made, right)
    assert most < 0.3
    assert excluded(gaussian_inverse(mu), guesses, most * 1.001)
    assert not excluded(gaussian_inverse(mu), guesses, most * 0.99)


@given(st.floats(0.05, 3.0), st.integers(2, 80), st.data())
@settings(max_examples=60)
def test_a_gaussian_for_every_canary_is_never_excluded(mu: float, m: int, data: st.DataObject) -> None:
    """Canary i gives its coin times μ plus N(0, 1): μ-GDP, and each guess at ½μ is right with Φ(μ/2)."""
    right = data.draw(st.integers(1, m))
    tail = float(stats.binom.sf(right - 1, m, ndtr(mu / 2)))
    if 1e-12 < tail < 0.49:
        assert not excluded(gaussian_inverse(mu), Guesses(m, m, right), tail * 0.999)


@given(st.floats(0.0, 4.0), st.integers(2, 80), st.data())
@settings(max_examples=60)
def test_a_randomised_response_is_never_excluded(epsilon: float, m: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(1, m))
    tail = float(stats.binom.sf(right - 1, m, 1 / (1 + math.exp(-epsilon))))
    if 1e-12 < tail < 0.49:
        assert not excluded(told(epsilon, 0.0), Guesses(m, m, right), tail * 0.999)


@given(st.floats(0.1, 3.0), st.integers(5, 60), st.data(), st.floats(1e-6, 0.3))
@settings(max_examples=60)
def test_what_is_excluded_stays_so(mu: float, made: int, data: st.DataObject, chance: float) -> None:
    """With more right guesses, with a larger chance, and under less leakage."""
    right = data.draw(st.integers(1, made))
    if excluded(gaussian_inverse(mu), Guesses(60, made, right), chance):
        assert excluded(gaussian_inverse(mu), Guesses(60, made, min(made, right + 1)), chance)
        assert excluded(gaussian_inverse(mu), Guesses(60, made, right), min(0.49, chance * 1.5))
        assert excluded(gaussian_inverse(mu * 0.8), Guesses(60, made, right), chance)


@pytest.mark.parametrize(("made", "right"), [(1000, 900), (1000, 700), (250, 240), (125, 125)])
def test_it_shows_more_than_the_simple_form(made: int, right: int) -> None:
    guesses = Guesses(1000, made, right)
    factor = least_factor(lambda k: excluded(gaussian_inverse(1 / k), guesses, 0.05))
    assert gaussian.epsilon(factor, 1e-5) > epsilon_bound(guesses, 1e-5, 0.05) + 0.2


def test_what_all_right_guesses_show() -> None:
    """docs/audits.md: a thousand right guesses exclude every Gaussian up to ε = 12.3 at δ = 10⁻⁵."""
    certain = Guesses(1000, 1000, 1000)
    factor = least_factor(lambda k: excluded(gaussian_inverse(1 / k), certain, 0.05))
    assert gaussian.epsilon(factor, 1e-5) == pytest.approx(12.3, abs=0.1)


@pytest.mark.parametrize(
    "event",
    [
        Repeated(Poisson(0.5, Gaussian(3.74)), 80),
        Repeated(Gaussian(4.0), 3),
        Laplace(1.0),
        RandomizedResponse(0.4, 3),
        Skellam(40.0, 2.0, 4.0),
        DiscreteGaussian(9.0, 2.0, 4.0, 8, 5),
    ],
)
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_an_inverse_is_that_of_the_profile(event: Event, epsilon: float) -> None:
    """f̄⁻¹(y) ≥ (y − δ(ε)) e^(−ε): no curve lies above a line that its profile proves, nor much below all of them."""
    inverse = inverse_of(event, "zero-out")
    delta = accountant.delta(event, "zero-out", epsilon)
    for y in (0.01, 0.3, 0.7, 0.99):
        assert inverse(y) >= (y - delta) * math.exp(-epsilon) - 2e-3
        assert 0.0 <= inverse(y) <= y + 1e-12


def test_both_ends_of_privacy() -> None:
    assert inverse_of(NonPrivate(), "add-remove")(0.5) == 0.0
    assert inverse_of(Nothing(), "add-remove")(0.5) == 0.5
    assert inverse_of(Gaussian(1.0), "replace-one")(0.5) == pytest.approx(gaussian_inverse(2.0)(0.5))
    for event in (Nothing(), Gaussian(1.0), Poisson(0.5, Gaussian(1.0))):
        assert inverse_of(event, "add-remove", 0.01)(0.5) <= inverse_of(event, "add-remove")(0.5) - 0.005


@pytest.mark.parametrize(
    "event",
    [
        Gaussian(1.0),
        Composed((Repeated(Poisson(0.1, Gaussian(1.0)), 10), Laplace(2.0))),
        FixedCohort(5, 50, Gaussian(1.0)),
        TruncatedPoisson(0.1, 5, 50, Gaussian(1.0)),
        BandedMatrix(1.0, (1.0, 0.5), 8, 2, 4),
        Skellam(40.0, 2.0, 4.0),
        DiscreteGaussian(9.0, 2.0, 4.0, 8),
    ],
)
def test_more_noise_costs_less(event: Event) -> None:
    relation = "replace-one" if isinstance(event, FixedCohort) else "zero-out"
    found = [accountant.epsilon(scaled(event, factor), relation, 1e-5) for factor in (0.5, 1.0, 2.0)]
    assert found[0] > found[1] > found[2]
    assert scaled(event, 1.0) == event


@given(st.floats(2.0**-7, 2.0**7))
def test_the_least_factor_is_found_from_above(true: float) -> None:
    found = least_factor(lambda factor: factor >= true)
    assert true <= found <= true * 1.01
    assert (found <= 1.0) == (true <= 1.0)
    assert math.isinf(least_factor(lambda factor: False))
