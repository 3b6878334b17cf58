"""The Gaussian mechanism in closed form."""

import math

import mpmath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tacit.privacy.accounting import gaussian

_noise = st.floats(0.05, 500)


@given(_noise, st.floats(1e-14, 0.4))
@example(4.37718, 0.07401077325835859)  # one unit in the last place above, before the target was rounded down
def test_epsilon_is_the_least_that_meets_delta(noise: float, delta: float) -> None:
    epsilon = gaussian.epsilon(noise, delta)
    assert gaussian.delta(noise, epsilon) <= delta
    if epsilon > 0:
        assert gaussian.delta(noise, epsilon * (1 - 1e-9)) >= delta * (1 - 1e-12)


@given(_noise, st.floats(0, 50))
def test_delta_falls_with_noise_and_with_epsilon(noise: float, epsilon: float) -> None:
    here = gaussian.delta(noise, epsilon)
    assert gaussian.delta(noise * 1.1, epsilon) <= here
    assert gaussian.delta(noise, epsilon + 0.1) <= here


@pytest.mark.parametrize(
    ("noise", "epsilon"), [(1.0, 1.0), (1.0, 10.0), (0.3, 20.0), (20.0, 0.1), (100.0, 0.05), (5.0, 0.0)]
)
def test_delta_agrees_with_fifty_digits_of_balle_and_wang_theorem_8(noise: float, epsilon: float) -> None:
    with mpmath.workdps(50):
        mu = 1 / mpmath.mpf(noise)
        exact = mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
    assert gaussian.delta(noise, epsilon) == pytest.approx(float(exact), rel=1e-9)


def test_golden_epsilons() -> None:
    # σ = 1 at δ = 1e-5, and Balle and Wang's 2018 point: ε = 1 at δ = 1e-5 needs σ = 3.7306.
    assert gaussian.epsilon(1.0, 1e-5) == pytest.approx(4.377178, abs=1e-6)
    assert gaussian.delta(3.730632, 1.0) == pytest.approx(1e-5, rel=1e-4)


def test_hardly_any_noise_is_infinite_and_very_much_is_nothing() -> None:
    assert gaussian.epsilon(1e-5, 1e-5) == math.inf
    assert gaussian.epsilon(1e9, 1e-5) == 0.0
    assert 5e5 < gaussian.epsilon(1e-3, 1e-5) < 6e5
