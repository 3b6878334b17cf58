"""What guesses prove about a whole trade-off curve: the tighter one-run audit of f-DP.

After Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235, Theorem 3.2). Let pᵢ be the probability of exactly i right
guesses of c about m fair coins. Turn the coin of a canary J, drawn uniformly: the outputs on which i guesses are right,
J's among them, are outputs on which i − 1 are right and J's is wrong. They make up i/m of pᵢ and (c − i + 1)/m of pᵢ₋₁; the
two data sets are neighbours and f is convex, so for every set of counts, with f̄ = 1 − f,

    Σᵢ (i/m) pᵢ ≤ f̄( Σᵢ ((c − i + 1)/m) pᵢ₋₁ ).

With aᵢ = Σ_{l≥i} l p_l / m and bᵢ = Σ_{l≥i} (c − l) p_l / m, taken over all counts from i on, this is bᵢ₋₁ ≥ f̄⁻¹(aᵢ), and
p ≥ 0 is bᵢ₋₁ ≥ bᵢ. Whoever wants P[right ≥ v] = s at the least total mass puts s on v and takes equality below: every other
choice has larger aᵢ, and so larger bᵢ₋₁, all the way down (sum by parts: aᵢ grows with every b, its weights (i − 1)/(c − i + 1)
fall). If that least mass a₀ + b₀ exceeds c/m, which a probability has, then P[right ≥ v] < s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import ndtr, ndtri

from ..event import (
    BandedMatrix,
    BufferedLinearToeplitz,
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    Poisson,
    Repeated,
    Skellam,
    Tree,
    TruncatedPoisson,
    Tuned,
)
from ..signal import Relation
from . import grid, loss, renyi
from . import leaves as leaf_table
from .audit import Guesses, checked_significance
from .multiset import multiset
from .pair import Array
from .relation import checked_relation, norm_factor

Inverse: TypeAlias = Callable[[float], float]

_UNSEEN = 1e-12  # δ that truncation may cost: audits are run at false alarms down to 1e-7
_EPSILONS = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 160)])
_ROUNDING = 1e-9  # relative, far above what thousands of additions lose


def excluded(inverse: Inverse, guesses: Guesses, chance: float) -> bool:
    """Whether so many right guesses have a probability below `chance` under every mechanism of the curve.

    `inverse(y)` is f̄⁻¹(y), or anything below it. False where the argument above says nothing, which errs towards no alarm.
    """
    checked_significance(chance)
    m, c, v = guesses.canaries, guesses.made, guesses.right
    above, beside = chance * v / m, chance * (c - v) / m
    if v == 0 or inverse(above) < beside:  # no more right ones than the curve brings by itself
        return False
    enough = (1 + _ROUNDING) * c / m
    for count in range(v, 0, -1):
        needed = max(beside, inverse(above))
        above += (count - 1) / (c - count + 1) * (needed - beside)
        beside = needed
        if above + beside > enough:
            return True
    return False


def gaussian_inverse(mu: float) -> Inverse:
    """f̄⁻¹ of μ-GDP: Φ(Φ⁻¹(y) − μ) (Dong, Roth, Su 2022)."""
    return lambda y: float(ndtr(ndtri(min(y, 1.0)) - mu))


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """δ(ε) of both directions, from above, at some ε ≥ 0: each pair is two lines that f̄ lies below."""

    epsilons: Array
    deltas: Array

    def inverse(self, y: float) -> float:
        """The least x with f̄(x) ≥ y, from below: f̄(x) ≤ e^ε x + δ and f̄(x) ≤ 1 − e^(−ε)(1 − δ − x)."""
        steep = (y - self.deltas) * np.exp(-self.epsilons)
        flat = 1 - self.deltas - (1 - y) * np.exp(self.epsilons)
        return max(0.0, float(np.max(steep)), float(np.max(flat)))


def inverse_of(event: Event, relation: Relation, extra: float = 0.0) -> Inverse:
    """f̄⁻¹ of everything that `event` is proven to satisfy; `extra` is a total variation on both neighbours.

    Raises `AccountingError` for an event that no accountant takes.
    """
    relation = checked_relation(relation)
    leaves = multiset(event)
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    if not leaves.private:
        return lambda y: 0.0
    if not leaves.leaves:
        return lambda y: max(0.0, y - 2 * extra)
    if leaves.gaussian is not None:
        exact = gaussian_inverse(norm_factor(relation) / leaves.gaussian)
        return exact if extra == 0 else lambda y: max(0.0, exact(max(0.0, y - extra)) - extra)
    vector = leaf_table.total_rdp(leaves, relation)
    deltas = np.array([renyi.delta(vector, value) for value in _EPSILONS])
    directions = loss.upper_parts(leaves, relation)
    if directions is not None:
        proven = np.zeros_like(deltas)
        for parts in loss.different(directions):
            narrow = loss.narrowed(parts, _UNSEEN)
            composed = loss.upper_grid(narrow, grid.fitting_step(narrow, loss.COARSE), 0.0)
            proven = np.maximum(proven, [grid.delta(composed, value) for value in _EPSILONS])
        deltas = np.minimum(deltas, proven)
    return Profile(_EPSILONS, np.minimum(1.0, deltas + (1 + np.exp(_EPSILONS)) * extra)).inverse


def scaled(event: Event, factor: float) -> Event:
    """`event` with every noise `factor` times as large: the family in which a claim is one of many.

    A randomised response stays as it is.
    """
    match event:
        case Gaussian(z) | Laplace(z) | Tree(z) | BandedMatrix(z) | BufferedLinearToeplitz(z):
            return dataclasses.replace(event, noise_multiplier=z * factor)
        case DiscreteGaussian(variance) | Skellam(variance):
            return dataclasses.replace(event, variance=variance * factor**2)
        case TruncatedPoisson(of=Gaussian(z)):
            return dataclasses.replace(event, of=Gaussian(z * factor))
        case Poisson(_, of) | FixedCohort(_, _, of) | Repeated(of) | Tuned(of):
            return dataclasses.replace(event, of=scaled(of, factor))
        case Composed(parts):
            return Composed(tuple(scaled(part, factor) for part in parts))
        case _:
            return event


def least_factor(rejected: Callable[[float], bool], finest: float = 2.0**-8) -> float:
    """The smallest factor on the noise that is `rejected`, which more noise always is; ∞ where none up to 2⁸ is.

    A claim is rejected if and only if this is at most 1: the factor 1 itself is tried.
    """
    low, high = (2.0**-8, 1.0) if rejected(1.0) else (1.0, math.inf)
    if math.isinf(high):
        for step in (2.0, 8.0, 256.0):
            if rejected(step):
                high = step
                break
            low = step
        else:
            return math.inf
    elif rejected(low):
        return low
    while high / low > 1 + finest:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rejected(middle) else (middle, high)
    return high
