"""A dominating pair (P, Q) of a mechanism, held as the law of its privacy loss L = log dP/dQ under both.

The pair dominates when H_α(M(D)‖M(D')) ≤ H_α(P‖Q) for every α ≥ 0, H_α(P‖Q) = sup_S P(S) − αQ(S); then products of
pairs dominate adaptive compositions (Zhu, Dong, Wang 2022, arXiv 2106.08567, Theorem 10). Mechanisms whose two
directions differ (add and remove) have two pairs. Here are the pairs and what sampling does to them; which event has
which pairs is `dominating.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array: TypeAlias = NDArray[np.float64]
Tails: TypeAlias = Callable[[Array], tuple[Array, Array]]

# Gaussian pairs are cut at 10 standard deviations: 7.6e-24 of mass beyond, which the grid then calls infinite loss.
_CUT = 10.0


@dataclass(frozen=True, slots=True)
class Pair:
    """`above(ε) = (P[L > ε], Q[L > ε])`, `below(ε) = (P[L ≤ ε], Q[L ≤ ε])`, arrays in, arrays out, both without
    cancellation; outside `[low, high]` both P and Q hold at most 1e-22 of their mass."""

    above: Tails
    below: Tails
    low: float
    high: float


def gaussian(noise_multiplier: float) -> Pair:
    """N(1, σ²) against N(0, σ²): L is N(±μ²/2, μ²) with μ = 1/σ; its own reverse."""
    mu = 1.0 / noise_multiplier

    def above(epsilon: Array) -> tuple[Array, Array]:
        return ndtr(mu / 2 - epsilon / mu), ndtr(-mu / 2 - epsilon / mu)

    def below(epsilon: Array) -> tuple[Array, Array]:
        return ndtr(epsilon / mu - mu / 2), ndtr(epsilon / mu + mu / 2)

    high = mu * _CUT + mu * mu / 2
    return Pair(above, below, -high, high)


def opposed(noise_multiplier: float, rate: float) -> Pair:
    """(1−q)N(0, σ²) + qN(1, σ²) against (1−q)N(0, σ²) + qN(−1, σ²): a sampled unit replaced by its opposite.

    L(x) = log (c + e^{x/σ²}) / (c + e^{−x/σ²}), c = (1−q)/q · e^{1/(2σ²)}, so that
    L(x) = ε at x = σ² (ε/2 + arsinh(c sinh(ε/2))). The pair dominates replace-one under Poisson sampling
    (dp-accounting's supplement, REPLACE adjacency); its own reverse.
    """
    variance = noise_multiplier**2
    log_c = math.log1p(-rate) - math.log(rate) + 0.5 / variance

    def place(epsilon: Array) -> Array:
        half = np.abs(epsilon) / 2
        with np.errstate(divide="ignore"):
            log_sinh = half + np.log(-np.expm1(-2 * half)) - math.log(2)
        log_argument = log_c + log_sinh
        arsinh = np.logaddexp(0.5 * np.logaddexp(0.0, 2 * log_argument), log_argument)
        return np.asarray(variance * (epsilon / 2 + np.sign(epsilon) * arsinh))

    def mixture(x: Array) -> Array:
        """(1−q) Φ(x/σ) + q Φ((x+1)/σ): the head of Q, and by symmetry the tail of P at −x."""
        return np.asarray(
            (1 - rate) * ndtr(x / noise_multiplier) + rate * ndtr((x + 1) / noise_multiplier), dtype=np.float64
        )

    def other(x: Array) -> Array:
        return np.asarray(
            (1 - rate) * ndtr(x / noise_multiplier) + rate * ndtr((x - 1) / noise_multiplier), dtype=np.float64
        )

    def above(epsilon: Array) -> tuple[Array, Array]:
        x = place(epsilon)
        return mixture(-x), other(-x)

    def below(epsilon: Array) -> tuple[Array, Array]:
        x = place(epsilon)
        return other(x), mixture(x)

    x = _CUT * noise_multiplier + 1.0
    high = float(np.logaddexp(log_c, x / variance) - np.logaddexp(log_c, -x / variance))
    return Pair(above, below, -high, high)


def laplace(noise_multiplier: float) -> Pair:
    """Laplace noise of scale b at 0 against 1: L = λ(1 − 2x) for x in (0, 1), λ = 1/b, and ±λ beyond; its own reverse."""
    rate = 1.0 / noise_multiplier

    def heads(epsilon: Array) -> tuple[Array, Array, Array, Array]:
        x = np.clip((1 - epsilon / rate) / 2, 0.0, 1.0)
        p_beyond, q_before = 0.5 * np.exp(-rate * x), 0.5 * np.exp(-rate * (1 - x))
        return 1 - p_beyond, q_before, p_beyond, 1 - q_before

    def above(epsilon: Array) -> tuple[Array, Array]:
        p, q, _, _ = heads(epsilon)
        return _stepped(epsilon, rate, p), _stepped(epsilon, rate, q)

    def below(epsilon: Array) -> tuple[Array, Array]:
        _, _, p, q = heads(epsilon)
        return _stepped(-epsilon, rate, p, closed=True), _stepped(-epsilon, rate, q, closed=True)

    return Pair(above, below, -rate, rate)


def _stepped(epsilon: Array, rate: float, inside: Array, closed: bool = False) -> Array:
    """`inside` on [−λ, λ), 0 above, 1 below; for the mirrored tail the interval is (−λ, λ] and closes at its top."""
    top = epsilon > rate if closed else epsilon >= rate
    bottom = epsilon <= -rate if closed else epsilon < -rate
    return np.where(top, 0.0, np.where(bottom, 1.0, inside))


def atoms(p: Array, q: Array) -> Pair:
    """A finite pair, probabilities `p` and `q` of the same outcomes, all positive."""
    loss = np.log(p) - np.log(q)
    order = np.argsort(loss)
    loss, p, q = loss[order], p[order], q[order]

    def above(epsilon: Array) -> tuple[Array, Array]:
        first = np.searchsorted(loss, epsilon, side="right")
        return _sums_from(p)[first], _sums_from(q)[first]

    def below(epsilon: Array) -> tuple[Array, Array]:
        first = len(loss) - np.searchsorted(loss, epsilon, side="right")
        return _sums_from(p[::-1])[first], _sums_from(q[::-1])[first]

    return Pair(above, below, float(loss[0]), float(loss[-1]))


def _sums_from(mass: Array) -> Array:
    return np.append(np.cumsum(mass[::-1])[::-1], 0.0)


def amplified(pair: Pair, rate: float) -> Pair:
    """((1−q)Q + qP, Q): the loss becomes log(1 − q + q e^L)."""
    log_out = math.log1p(-rate)

    def base(epsilon: Array) -> Array:
        # log((e^ε − 1 + q)/q), −∞ where no loss lies; written so that e^ε never overflows.
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = epsilon + np.log(-np.expm1(np.minimum(log_out - epsilon, 0.0))) - math.log(rate)
        return np.where(epsilon > log_out, inside, -np.inf)

    def above(epsilon: Array) -> tuple[Array, Array]:
        p, q = pair.above(base(epsilon))
        return rate * p + (1 - rate) * q, q

    def below(epsilon: Array) -> tuple[Array, Array]:
        p, q = pair.below(base(epsilon))
        return rate * p + (1 - rate) * q, q

    low = float(np.logaddexp(log_out, math.log(rate) + pair.low))
    high = float(np.logaddexp(log_out, math.log(rate) + pair.high))
    return Pair(above, below, low, high)


def reversed_(pair: Pair) -> Pair:
    """(Q, P): the loss changes sign, P and Q their places."""

    def above(epsilon: Array) -> tuple[Array, Array]:
        p, q = pair.below(-epsilon)
        return q, p

    def below(epsilon: Array) -> tuple[Array, Array]:
        p, q = pair.above(-epsilon)
        return q, p

    return Pair(above, below, -pair.high, -pair.low)


def symmetrised(pair: Pair) -> Pair:
    """The pair whose H_α is `pair`'s for α ≥ 1 and, below, what symmetry makes of it: 1 − α + αH_{1/α}.

    For a symmetric relation and a bound that holds for α ≥ 1 only, such as sampling without replacement under
    replace-one (Balle, Barthe, Gaboardi 2018, arXiv 1807.01647, Theorem 9; Zhu, Dong, Wang 2022, Theorem 11). The
    curve is convex when P(L > 0) + Q(L > 0) ≤ 1, as it is for every pair that is amplified from its own reverse;
    what those two leave is an atom at loss 0.
    """

    def above(epsilon: Array) -> tuple[Array, Array]:
        positive = epsilon >= 0
        p, q = pair.above(np.where(positive, epsilon, 0.0))
        mirror_p, mirror_q = pair.above(np.where(positive, 0.0, -epsilon))
        return np.where(positive, p, 1 - mirror_q), np.where(positive, q, 1 - mirror_p)

    def below(epsilon: Array) -> tuple[Array, Array]:
        positive = epsilon >= 0
        p, q = pair.above(np.where(positive, epsilon, 0.0))
        mirror_p, mirror_q = pair.above(np.where(positive, 0.0, -epsilon))
        return np.where(positive, 1 - p, mirror_q), np.where(positive, 1 - q, mirror_p)

    return Pair(above, below, -pair.high, pair.high)


def mixed(first: Pair, second: Pair, weight: float) -> Pair:
    """`first` with probability `weight`, else `second`, and the pair tells which: the losses' laws are mixed."""

    def above(epsilon: Array) -> tuple[Array, Array]:
        (p, q), (r, s) = first.above(epsilon), second.above(epsilon)
        return weight * p + (1 - weight) * r, weight * q + (1 - weight) * s

    def below(epsilon: Array) -> tuple[Array, Array]:
        (p, q), (r, s) = first.below(epsilon), second.below(epsilon)
        return weight * p + (1 - weight) * r, weight * q + (1 - weight) * s

    return Pair(above, below, min(first.low, second.low), max(first.high, second.high))


def clipped(pair: Pair, negligible: float) -> Pair:
    """The same pair with [low, high] narrowed until P has at most `negligible` mass beyond either end.

    The accountants call what lies above infinite loss and raise what lies below, so the bound stays one; a rarely
    sampled unit's loss has a tail many times longer than what δ can see.
    """
    low, high = pair.low, pair.high
    left, right = low, high
    for _ in range(40):
        middle = (left + right) / 2
        if _p_mass(pair.above, middle) <= negligible:
            right = middle
        else:
            left = middle
    high = right
    left, right = low, high
    for _ in range(40):
        middle = (left + right) / 2
        if _p_mass(pair.below, middle) <= negligible:
            left = middle
        else:
            right = middle
    return Pair(pair.above, pair.below, left, high)


def _p_mass(tails: Tails, epsilon: float) -> float:
    with np.errstate(all="ignore"):
        return float(tails(np.array([epsilon]))[0][0])
