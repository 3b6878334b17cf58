"""What one audit finds: scores of canaries against a claim, with every choice made before the coins are looked at.

How many canaries are guessed to be in and how many out is fixed beforehand: the rows of `GRID`, as shares of m. The best row
counts, and pays for having been chosen: each is tested at its share of the false alarms (Bonferroni), as is each of the two
forms of the bound. So a true claim is exceeded with at most the probability that the audit was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..event import Event
from ..signal import Relation
from . import accountant, gaussian
from .audit import Guesses, checked_significance, epsilon_bound, epsilon_reach
from .audit_curve import Inverse, excluded, inverse_of, least_factor, scaled
from .relation import AccountingError

Verdict: TypeAlias = Literal["fail", "pass", "no power"]
Scores: TypeAlias = NDArray[np.float64]
Coins: TypeAlias = NDArray[np.bool_]

# Shares of the canaries that are guessed to be in, and to be out. A fault that a few canaries see is found by guessing few.
GRID: tuple[tuple[float, float], ...] = (
    (1 / 2, 1 / 2), (1 / 4, 1 / 4), (1 / 8, 1 / 8), (1 / 4, 0.0), (1 / 8, 0.0), (1 / 16, 0.0),
)  # fmt: skip
_FORMS = 2


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is tried: `event` under `relation` has ε = `epsilon` at `delta`; `extra` is a total variation on both neighbours."""

    event: Event
    relation: Relation
    delta: float
    epsilon: float
    extra: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Lower bounds on ε at the claim's δ, and what could have been found.

    `simple` is Steinke's bound for (ε, δ)-DP; `curve` the ε of the claim's event with the least noise that is not rejected
    as a whole trade-off curve. `reach`: the larger of the two where all guesses are right. `estimate` is a Gaussian fitted to
    the scores: no bound of anything. `guesses` are those of the most telling row.
    """

    claimed: Claimed
    significance: float
    simple: float
    curve: float
    reach: float
    estimate: float
    guesses: Guesses
    failed: bool

    @property
    def bound(self) -> float:
        """The larger of the two bounds, which hold together."""
        return max(self.simple, self.curve)

    @property
    def verdict(self) -> Verdict:
        """`fail`: the claim is exceeded; `no power`: it could not have been; `pass`: it could have been and was not."""
        if self.failed:
            return "fail"
        return "pass" if self.reach >= self.claimed.epsilon else "no power"

    def to_json(self) -> dict[str, Any]:
        """The finding in a report."""
        return {
            "verdict": self.verdict,
            "claim": self.claimed.epsilon,
            "delta": self.claimed.delta,
            "bound": self.bound,
            "bound_simple": self.simple,
            "bound_curve": self.curve,
            "reach": self.reach,
            "estimate": self.estimate,
            "significance": self.significance,
            "canaries": self.guesses.canaries,
            "guesses": self.guesses.made,
            "right": self.guesses.right,
        }


def rows(canaries: int) -> tuple[tuple[int, int], ...]:
    """The numbers of canaries to guess in and out, at least one guess a row, each row once."""
    found = [(math.floor(into * canaries), math.floor(out * canaries)) for into, out in GRID]
    return tuple(dict.fromkeys(row for row in found if sum(row) >= 1))


def right(scores: Scores, coins: Coins, into: int, out: int) -> int:
    """How many guesses are right where the `into` highest scores are called in and the `out` lowest are called out.

    Equal scores stay in the order of the canaries, which the coins know nothing of.
    """
    order = np.argsort(scores, kind="stable")
    high = order[len(order) - into :]
    return int(np.count_nonzero(coins[high])) + int(np.count_nonzero(~coins[order[:out]]))


def finding(scores: Scores, coins: Coins, claimed: Claimed, significance: float) -> Finding:
    """What `scores` `[m]`, high where a canary looks to be in, prove about the claim at a false alarm of `significance`.

    A score that is no number counts as the lowest. Raises `AccountingError` for fewer than two canaries.
    """
    checked_significance(significance)
    scores = np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    if scores.shape != coins.shape or len(coins) < 2:
        raise AccountingError(f"{len(scores)} scores of {len(coins)} canaries; give one score each, of at least 2")
    made = rows(len(coins))
    each = significance / (_FORMS * len(made))
    guesses = [Guesses(len(coins), sum(row), right(scores, coins, *row)) for row in made]
    simple = [epsilon_bound(tried, claimed.delta, each) for tried in guesses]
    family = _family(claimed)
    failed, curve = _curve_bound(claimed, guesses, each, family)
    certain = [Guesses(len(coins), sum(row), sum(row)) for row in made]
    reach = max(
        _curve_bound(claimed, certain, each, family)[1],
        *(epsilon_reach(len(coins), sum(row), claimed.delta, each) for row in made),
    )
    best = max(range(len(made)), key=lambda at: (simple[at], _chance_score(guesses[at])))
    return Finding(
        claimed, significance, max(simple), curve, max(reach, max(simple), curve), estimate(scores, coins, claimed.delta),
        guesses[best], failed or max(simple) > claimed.epsilon,
    )  # fmt: skip


def _chance_score(guesses: Guesses) -> float:
    """How far above blind guessing, in standard deviations."""
    return (2 * guesses.right - guesses.made) / math.sqrt(guesses.made)


def estimate(scores: Scores, coins: Coins, delta: float) -> float:
    """ε of the Gaussian mechanism whose outputs would lie as far apart as the scores of those in and those out.

    (mean in − mean out) over the pooled standard deviation is μ; NaN where a side has fewer than two finite scores. It is
    an estimate: it may lie above the truth as well as below.
    """
    inside, outside = (scores[side & np.isfinite(scores)] for side in (coins, ~coins))
    if min(len(inside), len(outside)) < 2:
        return math.nan
    degrees = len(inside) + len(outside) - 2
    pooled = (np.var(inside) * len(inside) + np.var(outside) * len(outside)) / degrees
    apart = float(inside.mean() - outside.mean())
    if pooled == 0:
        return math.inf if apart > 0 else 0.0
    mu = apart / math.sqrt(pooled)
    return gaussian.epsilon(1 / mu, delta) if mu > 1e-6 else 0.0


def _family(claimed: Claimed) -> Callable[[float], Inverse]:
    """The curve of the claim with every noise so many times as large."""
    return lambda factor: _member(claimed.event, claimed.relation, claimed.extra, factor)


@lru_cache(maxsize=64)  # two searches, in each of two views, try the same factors
def _member(event: Event, relation: Relation, extra: float, factor: float) -> Inverse:
    return inverse_of(scaled(event, factor), relation, extra)


def _curve_bound(
    claimed: Claimed, guesses: Sequence[Guesses], chance: float, family: Callable[[float], Inverse]
) -> tuple[bool, float]:
    """Whether the claim's own curve is rejected, and ε of the curve with the least noise in its family that is."""

    def rejected(factor: float) -> bool:
        inverse = family(factor)
        return any(excluded(inverse, tried, chance) for tried in guesses)

    factor = least_factor(rejected)
    if math.isinf(factor):
        return False, 0.0
    if factor == 1.0:
        return True, claimed.epsilon
    found = accountant.epsilon(scaled(claimed.event, factor), claimed.relation, claimed.delta)
    return factor < 1.0, found
