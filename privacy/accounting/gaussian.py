"""The Gaussian mechanism in closed form (Balle and Wang 2018, arXiv 1805.06530, Theorem 8).

δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) with μ = 1/σ. Compositions of Gaussians are Gaussian, so it covers them all.
"""

from __future__ import annotations

import math

from scipy.special import log_ndtr

# Beyond it ε is called infinite: a noise multiplier of about 1e-4.
_MOST_EPSILON = 1e8


def delta(noise_multiplier: float, epsilon: float) -> float:
    """δ at ε ≥ 0, for the difference of neighbours over σ = 1 / noise_multiplier."""
    return math.exp(log_delta(noise_multiplier, epsilon))


def log_delta(noise_multiplier: float, epsilon: float) -> float:
    """log δ(ε), without cancellation in the far tail; −∞ where it is below float64's resolution."""
    mu = 1.0 / noise_multiplier
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    if second >= first:
        return -math.inf
    return first + math.log1p(-math.exp(second - first))


def epsilon(noise_multiplier: float, delta: float) -> float:
    """The smallest ε ≥ 0 with δ(ε) ≤ `delta`, to 1e-12 relative, from above."""
    # A few units in the last place below, so that exp and log cannot round the answer above `delta`.
    target = math.log(delta) - 2.0**-50 * max(1.0, -math.log(delta))
    if log_delta(noise_multiplier, 0.0) <= target:
        return 0.0
    low, high = 0.0, 1.0
    while log_delta(noise_multiplier, high) > target:
        low, high = high, 2 * high
        if high > _MOST_EPSILON:
            return math.inf
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if log_delta(noise_multiplier, middle) > target:
            low = middle
        else:
            high = middle
    return high
