"""Dominating pairs: the loss's law under P and Q, against hockey-stick divergences computed another way."""

import itertools
import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_mechanism as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from tacit.privacy.accounting import pair
from tacit.privacy.accounting.pair import Pair

_EPSILONS = np.linspace(-4, 4, 41)


def _curve(one: Pair, epsilons: np.ndarray = _EPSILONS) -> np.ndarray:
    """H_{e^ε}(P‖Q) = P[L > ε] − e^ε Q[L > ε]."""
    p, q = one.above(epsilons)
    return np.asarray(p - np.exp(epsilons) * q)


PAIRS = {
    "gaussian": pair.gaussian(1.3),
    "opposed": pair.opposed(0.8, 0.3),
    "laplace": pair.laplace(1.7),
    "atoms": pair.atoms(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])),
    "amplified": pair.amplified(pair.gaussian(1.3), 0.2),
    "amplified laplace": pair.amplified(pair.laplace(0.9), 0.4),
    "reversed": pair.reversed_(pair.amplified(pair.gaussian(1.3), 0.2)),
    "symmetrised": pair.symmetrised(pair.amplified(pair.gaussian(0.7), 0.2)),
    "mixed": pair.mixed(pair.gaussian(0.9), pair.amplified(pair.gaussian(1.3), 0.2), 0.1),
}


@pytest.mark.parametrize("one", PAIRS.values(), ids=PAIRS)
def test_tails_complete_each_other_and_stay_in_range(one: Pair) -> None:
    grid = np.linspace(one.low - 1, one.high + 1, 501)
    for above, below in zip(one.above(grid), one.below(grid), strict=True):
        assert above + below == pytest.approx(1.0, abs=1e-12)
        assert np.all(np.diff(above) <= 1e-15)
    assert max(float(one.above(np.array([one.high + 1e-9]))[side][0]) for side in (0, 1)) < 1e-20
    assert max(float(one.below(np.array([one.low - 1e-9]))[side][0]) for side in (0, 1)) < 1e-20


@pytest.mark.parametrize("one", PAIRS.values(), ids=PAIRS)
def test_q_is_p_tilted_by_the_loss(one: Pair) -> None:
    """In every small cell log P/Q is the cell's loss."""
    low, high = max(one.low, -3.0), min(one.high, 3.0)
    edges = np.linspace(low - 1e-9, high + 1e-9, 2001)
    p, q = (-np.diff(tail) for tail in one.above(edges))
    held = p > 1e-9
    loss = np.log(p[held]) - np.log(q[held])
    assert np.all(loss >= edges[:-1][held] - 1e-6)
    assert np.all(loss <= edges[1:][held] + 1e-6)


@pytest.mark.parametrize("one", PAIRS.values(), ids=PAIRS)
def test_every_profile_is_convex_in_alpha_and_above_one_minus_alpha(one: Pair) -> None:
    alphas = np.linspace(0.01, 20, 4000)
    curve = _curve(one, np.log(alphas))
    assert np.all(curve >= np.maximum(1 - alphas, 0) - 1e-12)
    assert np.all(np.diff(curve, 2) >= -1e-12)


@pytest.mark.parametrize("one", PAIRS.values(), ids=PAIRS)
def test_reversal_follows_its_identity(one: Pair) -> None:
    # H_α(Q‖P) = 1 − α + αH_{1/α}(P‖Q)
    expected = 1 - np.exp(_EPSILONS) + np.exp(_EPSILONS) * _curve(one, -_EPSILONS)
    assert _curve(pair.reversed_(one)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("noise", [0.4, 1.0, 7.0])
@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_gaussian_pairs_agree_with_dp_accounting(noise: float, rate: float) -> None:
    kinds = theirs.AdjacencyType
    away = pair.amplified(pair.gaussian(noise), rate)
    for kind, mine in (
        (kinds.REMOVE, away),
        (kinds.ADD, pair.reversed_(away)),
        (kinds.REPLACE, pair.opposed(noise, rate)),
    ):
        other = theirs.GaussianPrivacyLoss(noise, sampling_prob=rate, adjacency_type=kind)
        assert _curve(mine) == pytest.approx(other.get_delta_for_epsilon(_EPSILONS), abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_laplace_agrees_with_dp_accounting(rate: float) -> None:
    epsilons = np.linspace(-2.99, 2.99, 47)
    mine = pair.laplace(0.7)
    mine = mine if rate == 1 else pair.amplified(mine, rate)
    other = theirs.LaplacePrivacyLoss(0.7, sampling_prob=rate)
    assert _curve(mine, epsilons) == pytest.approx(other.get_delta_for_epsilon(epsilons), abs=1e-12)


@given(st.floats(0.01, 3), st.floats(0.01, 3), st.floats(0.2, 3))
@settings(max_examples=20, deadline=None)
def test_two_laplace_coordinates_are_dominated_by_one_of_their_l1_norm(
    first: float, second: float, scale: float
) -> None:
    """What accounting an L1-bounded vector as one number rests on."""
    together = _curve(pair.laplace(scale / (first + second)))
    x = np.concatenate([np.linspace(-12, 0, 300), np.linspace(0, 1, 400)[1:], np.linspace(1, 13, 300)[1:]])
    losses = []
    for shift in (first, second):
        cells = np.diff(0.5 * (1 + np.sign(x) * -np.expm1(-np.abs(x) * shift / scale)))
        middle = (x[1:] + x[:-1]) / 2
        losses.append((cells / cells.sum(), shift / scale * (np.abs(middle - 1) - np.abs(middle))))
    (p, left), (q, right) = losses
    total = left[:, None] + right[None, :]
    for epsilon, bound in zip(_EPSILONS[20::5], together[20::5], strict=True):
        split = float(np.sum(p[:, None] * q[None, :] * np.maximum(0, -np.expm1(np.minimum(epsilon - total, 0)))))
        assert split <= bound + 2e-3


def _hockey_stick(p: np.ndarray, q: np.ndarray, alpha: float, width: float) -> float:
    return float(np.sum(np.maximum(p - alpha * q, 0)) * width)


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=5),
    st.floats(-1, 1),
    st.integers(1, 3),
    st.floats(0.3, 3),
)
@settings(max_examples=100, deadline=None)
def test_no_real_fixed_cohort_exceeds_the_symmetrised_pair(
    others: list[float], other: float, size: int, noise: float
) -> None:
    """Every cohort of every neighbouring data set in one dimension: the brute-force truth of one round."""
    data, neighbour = others, [other, *others[1:]]
    size = min(size, len(data))
    x = np.linspace(-size - 9 * noise, size + 9 * noise, 2500)
    width = float(x[1] - x[0])

    def law(values: list[float]) -> np.ndarray:
        sums = [sum(chosen) for chosen in itertools.combinations(values, size)]
        return np.asarray(np.mean([norm.pdf(x, centre, noise) for centre in sums], axis=0))

    whole = pair.gaussian(noise / 2)
    bound = pair.symmetrised(pair.amplified(whole, size / len(data))) if size < len(data) else whole
    p, q = law(data), law(neighbour)
    for epsilon in (-2.0, -0.5, 0.0, 0.2, 1.0, 3.0):
        most = float(_curve(bound, np.array([epsilon]))[0])
        assert _hockey_stick(p, q, math.exp(epsilon), width) <= most + 1e-6
        assert _hockey_stick(q, p, math.exp(epsilon), width) <= most + 1e-6


@given(st.floats(1e-9, 0.1), st.sampled_from(list(PAIRS)))
def test_clipping_leaves_at_most_the_negligible_outside(negligible: float, name: str) -> None:
    one = PAIRS[name]
    narrow = pair.clipped(one, negligible)
    assert one.low <= narrow.low <= narrow.high <= one.high
    assert float(one.above(np.array([narrow.high]))[0][0]) <= negligible
    assert narrow.low == one.low or float(one.below(np.array([narrow.low]))[0][0]) <= negligible
