"""Rényi divergences of single mechanisms, each over all of `ORDERS`.

Closed forms where there are any; else ∫ P^α Q^{1−α} by the trapezoid rule, which for these analytic integrands errs
by e^{−2πd/h}, d the distance of the nearest singularity from the real line and h the step: below 1e-16 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, logsumexp

from .pair import Array
from .renyi import ORDERS, at_orders

_INTEGERS: tuple[int, ...] = tuple(int(alpha) for alpha in ORDERS if float(alpha).is_integer())
_WHOLE = np.array([float(alpha).is_integer() for alpha in ORDERS])
_MOST_POINTS = 2**18
_MOST_AT_ONCE = 2**15  # of an integral over all fractional orders together: noise below 0.03 keeps the chords
# Forward differences are taken up to this order; beyond it the weaker bound that needs none (as dp-accounting does).
_MOST_DIFFERENCES = 256
_SLACK = 4e-15  # added to every integral: the rounding error of a logarithm near 0


def gaussian(noise_multiplier: float) -> Array:
    """α / (2σ²)."""
    return np.asarray(ORDERS / 2 / noise_multiplier / noise_multiplier)


def concentrated(rho: float) -> Array:
    """αρ: zero-concentrated differential privacy."""
    return np.asarray(ORDERS * rho)


def laplace(noise_multiplier: float) -> Array:
    """Mironov 2017 (arXiv 1702.07476), Proposition 6, with λ = 1/b:
    (α−1) D_α = log( α/(2α−1) e^{(α−1)λ} + (α−1)/(2α−1) e^{−αλ} )."""
    rate = 1.0 / noise_multiplier
    first = np.log(ORDERS / (2 * ORDERS - 1)) + (ORDERS - 1) * rate
    second = np.log((ORDERS - 1) / (2 * ORDERS - 1)) - ORDERS * rate
    return np.asarray(np.maximum(np.logaddexp(first, second), 0.0) / (ORDERS - 1))


def finite(p: Array, q: Array) -> Array:
    """D_α(p‖q) of two laws on a finite set, all probabilities positive."""
    exponent = np.outer(ORDERS, np.log(p)) + np.outer(1 - ORDERS, np.log(q))
    return np.asarray(np.maximum(logsumexp(exponent, axis=1), 0.0) / (ORDERS - 1))


def poisson_gaussian(rate: float, noise_multiplier: float) -> Array:
    """D_α((1−q)N(0, σ²) + qN(1, σ²) ‖ N(0, σ²)), the larger of the two directions (Mironov, Talwar, Zhang 2019,
    arXiv 1908.10530): a binomial sum at integer α, an integral between."""
    sums = {alpha: _binomial(rate, noise_multiplier, alpha) for alpha in _INTEGERS}
    vector = at_orders(sums)
    variance = noise_multiplier**2
    largest = float(ORDERS[~_WHOLE].max())
    step = min(noise_multiplier / 4, variance / 2)
    points = _line(-12 * noise_multiplier, largest + 12 * noise_multiplier, step)
    if points is not None and len(points) <= _MOST_AT_ONCE:
        log_ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (points - 0.5) / variance)
        exponent = ORDERS[~_WHOLE][:, None] * log_ratio + _log_normal(points, noise_multiplier)
        exact = (logsumexp(exponent, axis=1) + math.log(points[1] - points[0])) / (ORDERS[~_WHOLE] - 1)
        vector[~_WHOLE] = np.minimum(vector[~_WHOLE], np.maximum(exact, 0.0) + _SLACK / (ORDERS[~_WHOLE] - 1))
    return vector


def _binomial(rate: float, noise_multiplier: float, alpha: int) -> float:
    k = np.arange(alpha + 1, dtype=np.float64)
    return max(0.0, float(logsumexp(_log_binomial(alpha, rate) + k * (k - 1) / 2 / noise_multiplier**2))) + _SLACK


def _log_binomial(alpha: int, rate: float) -> Array:
    """log of C(α, k) q^k (1−q)^{α−k}, k = 0…α."""
    k = np.arange(alpha + 1, dtype=np.float64)
    return np.asarray(_log_choose(alpha, k) + k * math.log(rate) + (alpha - k) * math.log1p(-rate))


def _log_choose(alpha: int, k: Array) -> Array:
    return np.asarray(gammaln(alpha + 1) - gammaln(k + 1) - gammaln(alpha - k + 1))


def opposed(rate: float, noise_multiplier: float) -> Array:
    """D_α of `pair.opposed`: Poisson sampling under replace-one."""
    variance = noise_multiplier**2
    step = min(noise_multiplier / 4, variance / 2)
    vector = np.full(len(ORDERS), np.inf)
    for index, alpha in enumerate(ORDERS):
        points = _line(-12 * noise_multiplier - 1, 2 * alpha + 12 * noise_multiplier, step)
        if points is None:
            break
        up = np.logaddexp(math.log1p(-rate), math.log(rate) + (points - 0.5) / variance)
        down = np.logaddexp(math.log1p(-rate), math.log(rate) - (points + 0.5) / variance)
        exponent = alpha * up + (1 - alpha) * down + _log_normal(points, noise_multiplier)
        value = (float(logsumexp(exponent)) + math.log(points[1] - points[0])) / (alpha - 1)
        vector[index] = max(value, 0.0) + _SLACK / (alpha - 1)
    return vector


def poisson(rate: float, inner: Array) -> Array:
    """Any mechanism of RDP `inner` under Poisson sampling, add-remove or zero-out, at integer α (Zhu and Wang 2019,
    ICML, Theorem 5): log of (1−q)^{α−1}(αq − q + 1) + C(α,2) q²(1−q)^{α−2} e^{ε(2)} + 3 Σ_{k≥3} … e^{(k−1)ε(k)}."""
    cgf = {}
    for alpha in _usable_integers():
        k = np.arange(2, alpha + 1, dtype=np.float64)
        terms = _log_binomial(alpha, rate)[2:] + _cgf_at(inner, k) + np.where(k >= 3, math.log(3), 0.0)
        first = (alpha - 1) * math.log1p(-rate) + math.log(alpha * rate - rate + 1)
        cgf[alpha] = float(logsumexp(np.append(terms, first)))
    return np.minimum(at_orders(cgf), inner)


def without_replacement(rate: float, inner: Array) -> Array:
    """Any mechanism of RDP `inner` under replace-one, on a cohort drawn without replacement (Wang, Balle,
    Kasiviswanathan 2019, arXiv 1808.00087, Theorem 9, ε(∞) = ∞)."""
    cgf = {}
    for alpha in _usable_integers():
        k = np.arange(2, alpha + 1, dtype=np.float64)
        terms = _log_choose(alpha, k) + k * math.log(rate) + _simple_moments(_cgf_at(inner, k))
        cgf[alpha] = float(logsumexp(np.append(terms, 0.0)))
    return np.minimum(at_orders(cgf), inner)


def gaussian_without_replacement(rate: float, noise_multiplier: float) -> Array:
    """A Gaussian mechanism whose difference between neighbours is 1 (under replace-one: σ of half), on a cohort
    drawn without replacement (Wang, Balle, Kasiviswanathan 2019, Theorem 27).

    Its forward differences of even order l are E_Q (P/Q − 1)^l, taken here as integrals of a positive function.
    """
    inner = gaussian(noise_multiplier)
    even = np.arange(2, _MOST_DIFFERENCES + 1, 2)
    differences = np.array([_even_moment(int(power), noise_multiplier) for power in even])
    cgf = {}
    for alpha in _usable_integers():
        k = np.arange(2, alpha + 1, dtype=np.float64)
        moments = _simple_moments(k * (k - 1) / 2 / noise_multiplier**2)
        within = k <= _MOST_DIFFERENCES
        whole = k[within].astype(np.intp)
        low, high = whole // 2 - 1, -(-whole // 2) - 1
        moments[within] = np.minimum(moments[within], math.log(4) + (differences[low] + differences[high]) / 2)
        terms = _log_choose(alpha, k) + k * math.log(rate) + moments
        cgf[alpha] = float(logsumexp(np.append(terms, 0.0)))
    return np.minimum(at_orders(cgf), inner)


def _even_moment(power: int, noise_multiplier: float) -> float:
    """log E_Q (P/Q − 1)^power, P and Q Gaussians one apart."""
    mu = 1.0 / noise_multiplier
    points = _line(-12.0, power * mu + 12.0, 0.125)
    if points is None:
        return math.inf
    with np.errstate(divide="ignore"):
        # log|e^L − 1| = max(L, 0) + log(1 − e^{−|L|})
        loss = mu * points - mu * mu / 2
        log_excess = np.maximum(loss, 0.0) + np.log(-np.expm1(-np.abs(loss)))
    return float(logsumexp(power * log_excess + _log_normal(points, 1.0))) + math.log(points[1] - points[0])


def _simple_moments(cgf: Array) -> Array:
    """From (k − 1)·ε(k), k = 2, 3, …: log of min{4(e^{ε(2)} − 1), 2e^{ε(2)}} at k = 2, of 2e^{(k−1)ε(k)} beyond."""
    moments = np.asarray(math.log(2) + cgf, dtype=np.float64)
    second = float(cgf[0])
    if 0 < second < 600:
        moments[0] = min(float(moments[0]), math.log(4) + math.log(math.expm1(second)))
    return moments


def _usable_integers() -> tuple[int, ...]:
    """Integer orders at which a sum over all smaller integers is asked for."""
    return tuple(alpha for alpha in _INTEGERS if alpha <= 1024)


def _cgf_at(vector: Array, k: Array) -> Array:
    """(k − 1) D_k at integers k ≥ 2, chords between the orders held (upper bounds, by convexity)."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.interp(k, ORDERS, (ORDERS - 1) * vector), nan=np.inf, posinf=np.inf)


def mixture(first: Array, second: Array, weight: float) -> Array:
    """Of `first` with probability `weight`, else `second`, with the choice revealed."""
    excess = ORDERS - 1
    return np.asarray(np.logaddexp(math.log(weight) + excess * first, math.log1p(-weight) + excess * second) / excess)


def discrete_gaussian(variance: float, l2: float, l1: float, dim: int, shares: int) -> Array | None:
    """The sum of `shares` discrete Gaussians: Canonne, Kamath, Steinke 2020, Theorem 14, for one; Kairouz, Liu,
    Steinke 2021 (arXiv 2102.06387), Proposition 14, for more, `None` where a share's deviation is under its 1/2."""
    if shares == 1:
        return concentrated(l2**2 / variance / 2)
    if variance < 0.25:
        return None
    total = shares * variance
    tau = _closeness(variance, shares)
    far, near = l2 / math.sqrt(total), l1 / math.sqrt(total)
    half = ORDERS / 2
    return np.minimum(
        np.minimum(half * far**2 + tau * dim, half * (far**2 + 2 * near * tau + tau**2 * dim)),
        half * (far + tau * math.sqrt(dim)) ** 2,
    )


def _closeness(variance: float, shares: int) -> float:
    """τ = 10 Σ_{k<n} e^{−2π²σ²k/(k+1)}; beyond 2¹⁶ terms each is bounded by the last one summed."""
    k = np.arange(1, min(shares, 2**16 + 1), dtype=np.float64)
    terms = np.exp(-2 * math.pi**2 * variance * k / (k + 1))
    return 10 * (float(np.sum(terms)) + (shares - 1 - len(k)) * float(terms[-1]))


def skellam(variance: float, l2: float, l1: float) -> Array:
    """Agarwal, Kairouz, Liu 2021 (arXiv 2110.04995), Theorem 3.5, proven for integer α: others are rounded up."""
    alpha = np.ceil(ORDERS)
    extra = np.minimum(((2 * alpha - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
    return np.asarray(alpha * l2**2 / (2 * variance) + extra)


def tuned(inner: Array, mean: float, shape: float, delta_of: Callable[[Array, float], float]) -> Array:
    """The best of a random number of runs (Papernot and Steinke 2022, arXiv 2110.03620): Theorem 6 for a Poisson
    number (infinite shape), Theorem 2 for a truncated negative binomial one."""
    excess = ORDERS - 1
    if shape == math.inf:
        # Each order needs its own δ̂ at ε̂ = log(1 + 1/(α−1)).
        failing = np.array([delta_of(inner, math.log1p(1 / (alpha - 1))) for alpha in ORDERS])
        out = inner + mean * failing + max(math.log(mean), 0.0) / excess
    else:
        gamma = _halting(mean, shape)
        constant = (1 + shape) * float(np.min((1 - 1 / ORDERS) * inner - math.log(gamma) / ORDERS))
        out = inner + constant + math.log(mean) / excess
    # D_α grows with α, so a value at a larger order bounds every smaller one.
    return np.asarray(np.minimum.accumulate(np.nan_to_num(out, nan=np.inf, posinf=np.inf)[::-1])[::-1])


def _halting(mean: float, shape: float) -> float:
    """γ in (0, 1] with E[K] = η(1−γ) / (γ(1−γ^η)), or −(1−γ)/(γ log γ) at η = 0; rounded down, which costs more."""
    if mean == 1:
        return 1.0

    def expected(log_gamma: float) -> float:
        gain = math.expm1(-log_gamma)
        spread = -math.expm1(shape * log_gamma) / shape if abs(shape) > 1e-12 else -log_gamma
        return gain / spread

    low, high = -1.0, 0.0
    while expected(low) < mean:
        low *= 2
        if low < -700:
            return 5e-324
    for _ in range(200):
        middle = (low + high) / 2
        if expected(middle) < mean:
            high = middle
        else:
            low = middle
    return math.exp(low)


def _line(low: float, high: float, step: float) -> Array | None:
    """Points of the trapezoid rule, or `None` where they would be too many."""
    count = math.ceil((high - low) / step) + 1 if step > 0 else _MOST_POINTS + 1
    return np.linspace(low, high, count) if count <= _MOST_POINTS else None


def _log_normal(points: Array, deviation: float) -> Array:
    return np.asarray(-0.5 * (points / deviation) ** 2 - math.log(deviation) - 0.5 * math.log(2 * math.pi))
