"""What guesses prove: lower bounds on ε from one run in which every canary took part by a fair coin of its own.

A guesser sees the output and says of r of the m canaries whether they are in; v guesses are right. Under (ε, δ)-DP,
Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846, Theorem 5.2) bound the chance of so many:

    P[right ≥ v] ≤ P[B ≥ v] + 2mδ · max_i P[v − i ≤ B < v] / i,    B ~ Binomial(r, e^ε / (1 + e^ε))

Which canaries are guessed may follow from the output, how many may not. Flat numbers only: nobody here knows what a
canary is. The tighter form, from a whole trade-off curve, is `audit_curve`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .relation import AccountingError

LEVEL = 0.05  # probability that a true claim is exceeded, over everything that one audit tries
_STEP = 0.05
_MOST_EPSILON = 40.0


@dataclass(frozen=True, slots=True)
class Guesses:
    """`right` of `made` guesses about `canaries` fair coins."""

    canaries: int
    made: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.made <= self.canaries or self.canaries < 1:
            raise AccountingError(
                f"{self.right} right of {self.made} guesses about {self.canaries} canaries; give "
                "0 <= right <= made <= canaries, and at least one canary"
            )


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Largest chance of at least so many right guesses under any (ε, δ)-DP mechanism, by the theorem above."""
    from scipy.stats import binom  # half a second to import, needed here only

    if guesses.right == 0:
        return 1.0
    chance = 1.0 / (1.0 + math.exp(-epsilon))
    below = np.asarray(binom.cdf(np.arange(-1, guesses.right), guesses.made, chance))
    # below[k] = P[B < k]; beyond i = v the probability stays while i grows.
    spans = np.arange(1, guesses.right + 1)
    worst = float(np.max((below[guesses.right] - below[guesses.right - spans]) / spans))
    tail = float(binom.sf(guesses.right - 1, guesses.made, chance))
    return min(1.0, tail + 2 * guesses.canaries * delta * worst)


def epsilon_bound(guesses: Guesses, delta: float, significance: float) -> float:
    """The ε up to which every (ε, δ)-DP is rejected at `significance`; 0 where not even ε = 0 is.

    All smaller ε are tried too, in steps, because the δ term need not grow with ε: so a true ε* is exceeded only where its
    own p-value is at most `significance`.
    """
    checked_significance(significance)

    def rejected(epsilon: float) -> bool:
        return p_value(guesses, epsilon, delta) <= significance

    if not rejected(0.0):
        return 0.0
    low = 0.0
    while rejected(low + _STEP):
        low += _STEP
        if low > _MOST_EPSILON:
            return low
    high = low + _STEP
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def epsilon_reach(canaries: int, made: int, delta: float, significance: float) -> float:
    """The largest ε that so many guesses could have shown: the bound where all of them are right."""
    return epsilon_bound(Guesses(canaries, made, made), delta, significance)


def checked_significance(significance: float) -> float:
    """A probability of a false alarm in (0, ½), or `AccountingError`."""
    if not 0 < significance < 0.5:
        raise AccountingError(f"significance = {significance!r}; give a probability of a false alarm in (0, 0.5)")
    return significance
