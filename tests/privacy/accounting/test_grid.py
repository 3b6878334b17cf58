"""Composed losses on a grid: upper bounds of compositions that can be summed exactly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from tacit.privacy.accounting import cells, grid, pair


def _binary(truth: float, count: int, epsilon: float) -> float:
    """δ(ε) of `count` binary randomised responses, by the binomial sum."""
    k = np.arange(count + 1)
    p, q = binom.pmf(k, count, truth), binom.pmf(k, count, 1 - truth)
    return float(np.sum(np.maximum(p - math.exp(epsilon) * q, 0)))


def _composed(one: pair.Pair, count: int, tolerance: float, tilt: float = 0.0) -> grid.Grid:
    step = grid.fitting_step([(one, count)], tolerance)
    return grid.compose([(grid.pessimistic(cells.cut(one, step)), count)], tilt)


@given(st.floats(0.501, 0.95), st.integers(1, 300), st.floats(0, 10), st.sampled_from([0.0, 0.5, 3.0]))
@settings(max_examples=60, deadline=None)
def test_delta_is_never_below_the_binomial_sum_and_close_above(
    truth: float, count: int, epsilon: float, tilt: float
) -> None:
    one = pair.atoms(np.array([truth, 1 - truth]), np.array([1 - truth, truth]))
    composed = _composed(one, count, 1e-5, tilt)
    exact, found = _binary(truth, count, epsilon), grid.delta(composed, epsilon)
    assert found >= exact * (1 - 1e-9)
    if tilt == 0:
        assert found <= _binary(truth, count, max(epsilon - 0.01 * max(1.0, epsilon), 0.0)) + 1e-9


@given(st.floats(0.501, 0.9), st.integers(1, 200), st.floats(1e-12, 0.2))
@settings(max_examples=60, deadline=None)
def test_epsilon_meets_delta_and_is_its_inverse(truth: float, count: int, delta: float) -> None:
    one = pair.atoms(np.array([truth, 1 - truth]), np.array([1 - truth, truth]))
    composed = _composed(one, count, 1e-4)
    epsilon = grid.epsilon(composed, delta)
    assert epsilon >= 0
    if math.isfinite(epsilon):
        assert _binary(truth, count, epsilon) <= delta * (1 + 1e-9)
        assert grid.delta(composed, epsilon) <= delta * (1 + 1e-6) + 1e-15


def test_tilting_reaches_tails_that_rounding_hides() -> None:
    one = pair.atoms(np.array([0.55, 0.45]), np.array([0.45, 0.55]))
    exact = _binary(0.55, 400, 45.0)
    assert 1e-24 < exact < 1e-20
    assert grid.delta(_composed(one, 400, 1e-6), 45.0) > 100 * exact
    assert exact <= grid.delta(_composed(one, 400, 1e-6, 1.5), 45.0) <= 1.1 * exact


@pytest.mark.parametrize("name", ["gaussian", "amplified"])
def test_the_convolution_agrees_with_one_written_out(name: str) -> None:
    one = {"gaussian": pair.gaussian(2.0), "amplified": pair.amplified(pair.gaussian(1.0), 0.3)}[name]
    atoms = grid.pessimistic(cells.cut(one, 0.01))
    slow = np.ones(1)
    for _ in range(5):
        slow = np.convolve(slow, atoms.mass)
    losses = (5 * atoms.first + np.arange(len(slow))) * 0.01
    composed = grid.compose([(atoms, 5)], 0.0)
    for epsilon in (0.0, 0.5, 2.0):
        direct = float(np.sum(slow * np.maximum(0, -np.expm1(np.minimum(epsilon - losses, 0)))))
        assert grid.delta(composed, epsilon) == pytest.approx(direct, abs=1e-12)


@given(st.floats(0.3, 5), st.floats(0.01, 0.9), st.floats(1e-3, 0.5))
@settings(max_examples=40, deadline=None)
def test_any_step_is_pessimistic_for_one_release(noise: float, rate: float, step: float) -> None:
    one = pair.amplified(pair.gaussian(noise), rate)
    composed = grid.compose([(grid.pessimistic(cells.cut(one, step)), 1)], 0.0)
    for epsilon in (0.0, 0.1, 0.77, 2.0):
        p, q = one.above(np.array([epsilon]))
        assert grid.delta(composed, epsilon) >= float(p[0] - math.exp(epsilon) * q[0]) * (1 - 1e-9)


def test_infinite_mass_above_delta_is_an_infinite_epsilon() -> None:
    atoms = grid.Atoms(0.1, 0, np.array([0.9, 0.09]), 0.01)
    composed = grid.compose([(atoms, 1)], 0.0)
    assert grid.epsilon(composed, 0.005) == math.inf
    assert math.isfinite(grid.epsilon(composed, 0.02))
