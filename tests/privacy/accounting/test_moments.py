"""Rényi divergences against dp-accounting (an independent implementation) and 30-digit integrals."""

import math

import mpmath
import numpy as np
import pytest
from dp_accounting import NeighboringRelation, dp_event, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting import moments, renyi

# dp-accounting's series for fractional orders is an upper bound, loose near order 1: there we compare with mpmath.
_PLAIN = (renyi.ORDERS >= 1.5) & (renyi.ORDERS <= 1024)
_WHOLE = renyi.ORDERS[_PLAIN] == np.round(renyi.ORDERS[_PLAIN])


def _theirs(
    event: dp_event.DpEvent, relation: NeighboringRelation = NeighboringRelation.ADD_OR_REMOVE_ONE
) -> np.ndarray:
    accountant = rdp.RdpAccountant(renyi.ORDERS[_PLAIN], relation)
    accountant.compose(event)
    return np.asarray(accountant.rdp)


@pytest.mark.parametrize(("rate", "noise"), [(0.01, 1.1), (0.1, 3.74), (0.5, 0.6), (1e-4, 0.7), (0.9, 5.0)])
def test_poisson_gaussian(rate: float, noise: float) -> None:
    theirs = _theirs(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)))
    mine = moments.poisson_gaussian(rate, noise)[_PLAIN]
    assert mine[_WHOLE] == pytest.approx(theirs[_WHOLE], rel=1e-6, abs=1e-14)
    assert np.all(mine <= theirs * (1 + 1e-7) + 1e-14)


@pytest.mark.parametrize(
    ("rate", "noise", "alpha"), [(0.01, 1.1, 1.05), (0.1, 3.74, 1.015), (0.3, 0.7, 1.5), (0.2, 0.4, 3.3)]
)
def test_poisson_gaussian_between_integers(rate: float, noise: float, alpha: float) -> None:
    with mpmath.workdps(30):
        moment = mpmath.quad(
            lambda x: mpmath.npdf(x, 0, noise) * (1 - rate + rate * mpmath.exp((x - 0.5) / noise**2)) ** alpha,
            mpmath.linspace(-12 * noise, alpha + 12 * noise, 40),
        )
        exact = float(mpmath.log(moment) / (alpha - 1))
    mine = moments.poisson_gaussian(rate, noise)[int(np.argmin(np.abs(renyi.ORDERS - alpha)))]
    assert exact <= mine * (1 + 1e-12)
    assert mine == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize(
    ("rate", "noise", "alpha"), [(0.01, 1.0, 2.0), (0.2, 2.0, 5.5), (0.5, 0.8, 8.0), (0.9, 0.5, 1.5)]
)
def test_opposed_agrees_with_the_integral(rate: float, noise: float, alpha: float) -> None:
    def density(x: mpmath.mpf, centre: int) -> mpmath.mpf:
        return (1 - rate) * mpmath.npdf(x, 0, noise) + rate * mpmath.npdf(x, centre, noise)

    with mpmath.workdps(30):
        moment = mpmath.quad(
            lambda x: density(x, 1) ** alpha * density(x, -1) ** (1 - alpha),
            mpmath.linspace(-12 * noise - 1, 2 * alpha + 12 * noise, 30),
        )
        exact = float(mpmath.log(moment) / (alpha - 1))
    mine = moments.opposed(rate, noise)[int(np.argmin(np.abs(renyi.ORDERS - alpha)))]
    assert mine == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(("rate", "noise"), [(0.01, 0.5), (0.1, 2.0), (0.3, 10.0)])
def test_gaussian_without_replacement(rate: float, noise: float) -> None:
    theirs = _theirs(
        dp_event.SampledWithoutReplacementDpEvent(1000, round(1000 * rate), dp_event.GaussianDpEvent(noise)),
        NeighboringRelation.REPLACE_ONE,
    )
    mine = moments.gaussian_without_replacement(rate, noise)[_PLAIN]
    assert np.all(mine <= theirs * (1 + 1e-9))
    within = renyi.ORDERS[_PLAIN] <= 64
    # dp-accounting does not use that sampling cannot cost more than not sampling.
    plain = moments.gaussian(noise)[_PLAIN]
    assert mine[within] == pytest.approx(np.minimum(theirs, plain)[within], rel=1e-4)


@given(st.floats(0.001, 0.999), st.floats(0.3, 20))
@settings(max_examples=20, deadline=None)
def test_general_sampling_bounds_lie_between_the_exact_value_and_none(rate: float, noise: float) -> None:
    plain = moments.gaussian(noise)
    exact, general = moments.poisson_gaussian(rate, noise), moments.poisson(rate, plain)
    whole = renyi.ORDERS <= 64
    assert np.all(exact[whole] <= general[whole] * (1 + 1e-9) + 1e-12)
    assert np.all(general <= plain)
    assert np.all(
        moments.gaussian_without_replacement(rate, noise) <= moments.without_replacement(rate, plain) * (1 + 1e-9)
    )


def test_laplace_and_randomised_response() -> None:
    assert moments.laplace(1.3)[_PLAIN] == pytest.approx(_theirs(dp_event.LaplaceDpEvent(1.3)), rel=1e-12)
    truth, lie = 0.1 + 0.9 / 4, 0.9 / 4
    p, q = np.array([truth, lie, 2 * lie]), np.array([lie, truth, 2 * lie])
    theirs = _theirs(dp_event.RandomizedResponseDpEvent(0.9, 4), NeighboringRelation.REPLACE_ONE)
    assert moments.finite(p, q)[_PLAIN] == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("mean", "shape"), [(10.0, 1.0), (10.0, 0.0), (10.0, 2.5), (1.0, 1.0), (3.0, 0.5)])
def test_tuning_by_a_truncated_negative_binomial(mean: float, shape: float) -> None:
    inner = renyi.ORDERS * 0.01
    accountant = rdp.RdpAccountant(renyi.ORDERS)
    accountant.compose(dp_event.RepeatAndSelectDpEvent(dp_event.GaussianDpEvent(math.sqrt(50)), mean, shape))
    assert moments.tuned(inner, mean, shape, renyi.delta) == pytest.approx(accountant.rdp, rel=1e-6)


def test_tuning_by_a_poisson_number_of_runs() -> None:
    accountant = rdp.RdpAccountant(renyi.ORDERS)
    accountant.compose(dp_event.RepeatAndSelectDpEvent(dp_event.GaussianDpEvent(math.sqrt(50)), 50.0, math.inf))
    mine = moments.tuned(renyi.ORDERS * 0.01, 50.0, math.inf, renyi.delta)
    assert np.all(mine <= accountant.rdp * (1 + 1e-9))
    assert renyi.epsilon(mine, 1e-6) == pytest.approx(accountant.get_epsilon(1e-6), rel=1e-3)


def test_tuning_below_shape_zero_costs_less_than_the_logarithm() -> None:
    # Papernot and Steinke 2022, section 3: the smaller η, the smaller the price (1+η) and the heavier the tail.
    inner = renyi.ORDERS * 0.01
    prices = [renyi.epsilon(moments.tuned(inner, 10.0, shape, renyi.delta), 1e-6) for shape in (-0.5, 0.0, 1.0)]
    assert prices[0] < prices[1] < prices[2]


def test_skellam_is_the_formula_at_integers_and_rounds_up_between() -> None:
    mine = moments.skellam(100.0, 10.0, 50.0)
    at = {float(alpha): value for alpha, value in zip(renyi.ORDERS, mine, strict=True)}
    # αΔ₂²/(2μ) + min{((2α−1)Δ₂² + 6Δ₁)/(4μ²), 3Δ₁/(2μ)} at α = 2, μ = 100.
    assert at[2.0] == pytest.approx(2 * 100 / 200 + min((3 * 100 + 300) / 40000, 0.75))
    assert at[1.5] == at[2.0]
    assert at[2.1] == at[3.0]


def test_discrete_gaussian_shares() -> None:
    one = moments.discrete_gaussian(100.0, 10.0, 50.0, 64, 1)
    many = moments.discrete_gaussian(10.0, 10.0, 50.0, 64, 10)
    assert one is not None
    assert many is not None
    assert one == pytest.approx(renyi.ORDERS * 0.5)
    # Shares of variance 10 are close to one discrete Gaussian; shares of 1/2 are not, and below 1/4 nothing is proven.
    assert many == pytest.approx(one, rel=1e-6)
    rough = moments.discrete_gaussian(0.5, 10.0, 50.0, 64, 200)
    assert rough is not None
    assert np.all(rough > one * 1.001)
    assert moments.discrete_gaussian(0.2, 10.0, 50.0, 64, 500) is None


@given(st.integers(2, 3000), st.floats(0.25, 4))
def test_closeness_is_the_sum_of_kairouz_liu_steinke(shares: int, variance: float) -> None:
    exact = 10 * sum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares))
    assert moments._closeness(variance, shares) == pytest.approx(exact, rel=1e-9)


def test_closeness_of_very_many_shares_is_bounded_without_summing_them() -> None:
    assert moments._closeness(1.0, 10**12) >= 10 * 10**12 * math.exp(-2 * math.pi**2) * 0.99
