"""Wide discrete Gaussian noise as the Gaussian that it is close to: the distance is a bound, and ε never too small."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc
from tacit.privacy.accounting.accountant import account, delta, epsilon, epsilon_by_rdp
from tacit.privacy.accounting.multiset import multiset
from tacit.privacy.accounting.smooth import smoothed
from tacit.privacy.event import Composed, DiscreteGaussian, Gaussian, Poisson, Repeated


def discrete(variance: float, reach: int) -> np.ndarray:
    """P[x] of a discrete Gaussian on −reach … reach."""
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * variance))
    return weights / weights.sum()


def rounded(variance: float, reach: int) -> np.ndarray:
    """P[x] of a rounded Gaussian there."""
    edges = (np.arange(-reach, reach + 2.0) - 0.5) / math.sqrt(2 * variance)
    half = erfc(np.abs(edges)) / 2
    cumulative = np.where(edges < 0, half, 1 - half)
    return np.diff(cumulative)


@pytest.mark.parametrize(("variance", "shares"), [(4096.0, 1), (1100.0, 4), (330.0, 13), (5000.0, 3)])
def test_the_distance_bounds_the_true_one(variance: float, shares: int) -> None:
    total = variance * shares
    reach = int(9 * math.sqrt(total))
    law = np.ones(1)
    for _ in range(shares):
        law = np.convolve(law, discrete(variance, int(9 * math.sqrt(variance)) + 1))
    middle = len(law) // 2
    law = np.pad(law, max(0, reach - middle))
    middle = len(law) // 2
    law = law[middle - reach : middle + reach + 1]
    true = float(np.abs(law - rounded(total, reach)).sum()) / 2
    found = smoothed(multiset(DiscreteGaussian(variance, 1.0, 1.0, 1, shares)))
    assert found is not None
    assert true <= found[1]
    assert found[1] < 4 * true  # and is not far from it


def test_products_are_closer_than_the_sum_of_their_coordinates() -> None:
    one, many = (smoothed(multiset(DiscreteGaussian(1e6, 1.0, 1.0, dim, 10))) for dim in (1, 10_000))
    assert one is not None
    assert many is not None
    assert many[1] == pytest.approx(100 * one[1])


@given(
    st.floats(300.0, 1e5),
    st.integers(1, 50),
    st.floats(0.5, 30.0),
    st.integers(1, 200),
    st.sampled_from(["zero-out", "replace-one"]),
)
def test_epsilon_is_between_the_gaussians_and_renyis(
    step: float, shares: int, multiplier: float, count: int, relation: str
) -> None:
    event = Repeated(DiscreteGaussian((multiplier * step) ** 2 / shares, step, 40 * step, 1600, shares), count)
    found = epsilon(event, relation, 1e-5)  # type: ignore[arg-type]  # of Relation
    assert found >= epsilon(Repeated(Gaussian(multiplier), count), relation, 1e-5) * (1 - 1e-9)  # type: ignore[arg-type]
    assert found <= epsilon_by_rdp(multiset(event), relation, 1e-5)  # type: ignore[arg-type]


def test_wide_noise_costs_what_a_gaussian_costs_and_narrow_noise_is_left_alone() -> None:
    wide = Repeated(DiscreteGaussian((10 * 6000.0) ** 2 / 13, 6000.0, 6000.0 * 45, 2048, 13), 100)
    gaussian = Repeated(Gaussian(10.0), 100)
    assert epsilon(wide, "add-remove", 1e-4) == pytest.approx(epsilon(gaussian, "add-remove", 1e-4), rel=3e-3)
    assert account(wide, "add-remove", 1e-4).accountant == "pld"
    assert epsilon(wide, "add-remove", 1e-4) < 0.95 * account(wide, "add-remove", 1e-4).epsilon_rdp
    narrow = DiscreteGaussian(50.0, 10.0, 30.0, 10, 4)
    assert smoothed(multiset(narrow)) is None
    assert smoothed(multiset(Poisson(0.1, wide.of))) is None  # inside a sample nothing is exchanged
    assert smoothed(multiset(Gaussian(3.0))) is None


def test_other_noise_in_the_composition_stays() -> None:
    shares = DiscreteGaussian(1e8, 6000.0, 6000.0 * 45, 2048, 13)
    found = smoothed(multiset(Composed((shares, Gaussian(2.0), Poisson(0.5, Gaussian(3.0))))))
    assert found is not None
    alone = smoothed(multiset(shares))
    assert alone is not None
    assert found[1] == alone[1]
    assert len(found[0].leaves) == 2  # the Gaussians are one


def test_delta_agrees_with_epsilon() -> None:
    event = Repeated(DiscreteGaussian((10 * 6000.0) ** 2 / 13, 6000.0, 6000.0 * 45, 2048, 13), 100)
    found = epsilon(event, "add-remove", 1e-4)
    assert delta(event, "add-remove", found) == pytest.approx(1e-4, rel=1e-3)


def test_a_distance_that_uses_up_delta_proves_nothing() -> None:
    event = Repeated(DiscreteGaussian(100.0, 1.0, 30.0, 4096, 64), 1000)
    assert smoothed(multiset(event)) is not None
    assert epsilon(event, "add-remove", 1e-9) == epsilon_by_rdp(multiset(event), "add-remove", 1e-9)
