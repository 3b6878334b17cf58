"""Smooth: discrete Gaussian noise so wide that it is as good as the continuous one, at a stated distance.

Let S² be the variance of the noise of a release, its shares together, and x an integer vector of length d.

1. The law of a sum of discrete Gaussian shares of variance v is within a factor e^±τ of one discrete Gaussian DG(S²) in every
   coordinate, τ = 10·Σ_{k=1}^{n−1} exp(−2π²v·k/(k+1)) (Kairouz, Liu, Steinke 2021, arXiv 2102.06387: the bound behind their
   Proposition 14).
2. x + DG(S²) is within √(d/320)/S² of round(x + N(0, S²)) in total variation for S ≥ 64 (`privacy.stages.lattice.noised` has
   the proof), and rounding is post-processing: that is the Gaussian mechanism at noise multiplier S/Δ₂.

So a release is the Gaussian mechanism but for a total variation of η = √(d/320)/S² + e^(dτ) − 1, and k releases for one of kη.
An (ε, δ') of the Gaussians is an (ε, δ' + (1 + e^ε)·kη) of the real thing; where the noise spans thousands of steps of the
lattice that is less than what Rényi accounting of the discrete law gives away.
"""

from __future__ import annotations

import math

from ..event import DiscreteGaussian, Event, Gaussian
from .multiset import Multiset, merged

_WIDE = 64.0  # S from which the bound of step 2 is proven


def smoothed(leaves: Multiset) -> tuple[Multiset, float] | None:
    """`leaves` with Gaussians for discrete ones, and the total variation between them; None where there is nothing to gain."""
    if not any(isinstance(leaf, DiscreteGaussian) for leaf, _ in leaves.leaves):
        return None
    found: dict[Event, int] = {}
    distance = 0.0
    for leaf, count in leaves.leaves:
        smooth: Event = leaf
        if isinstance(leaf, DiscreteGaussian):
            if leaf.variance * leaf.shares < _WIDE**2 or leaf.variance < 0.25:
                return None
            smooth = Gaussian(math.sqrt(leaf.variance * leaf.shares) / leaf.l2)
            distance += count * _distance(leaf)
        found[smooth] = found.get(smooth, 0) + count
    return merged(found), distance


def _distance(leaf: DiscreteGaussian) -> float:
    """Total variation between one release and the rounded Gaussian mechanism."""
    exponents = (-2 * math.pi**2 * leaf.variance * k / (k + 1) for k in range(1, leaf.shares))
    factor = 10 * math.fsum(math.exp(each) for each in exponents)
    return math.sqrt(leaf.dim / 320) / (leaf.variance * leaf.shares) + math.expm1(min(leaf.dim * factor, 700.0))
