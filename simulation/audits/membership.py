"""Membership: how well scores tell members from others, as a curve (ROC) and at low false-positive rates.

Carlini et al. 2022 (arXiv 2112.03570): an attack counts by the members that it names with confidence, so by its true
positives at few false ones, not by its average. What a claim permits at each rate stands beside: TPR ≤ f̄(FPR).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATES = (0.001, 0.01, 0.1)
_POINTS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Rates of the attack that names everybody whose score is above a threshold: `false` and `true` ascend from 0 to 1."""

    false: NDArray[np.float64]
    true: NDArray[np.float64]
    members: int
    others: int

    @property
    def area(self) -> float:
        """Area under the curve: ½ where the scores say nothing."""
        return float(np.trapezoid(self.true, self.false))

    @property
    def advantage(self) -> float:
        """max(TPR − FPR)."""
        return float(np.max(self.true - self.false))

    def true_at(self, rate: float) -> float:
        """The largest TPR at an FPR of at most `rate`."""
        return float(self.true[np.searchsorted(self.false, rate, side="right") - 1])

    def to_json(self) -> dict[str, Any]:
        """The curve, thinned, and its figures."""
        at = np.unique(np.linspace(0, len(self.false) - 1, _POINTS).astype(int))
        return {
            "members": self.members,
            "others": self.others,
            "area": self.area,
            "advantage": self.advantage,
            "tpr_at": {f"{rate:g}": self.true_at(rate) for rate in RATES},
            "fpr": self.false[at].tolist(),
            "tpr": self.true[at].tolist(),
        }


def roc(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> Roc:
    """The curve of `scores` `[n]`, high for members; raises `ValueError` without both kinds. Equal scores share a threshold."""
    members, others = int(np.count_nonzero(member)), int(np.count_nonzero(~member))
    if not members or not others:
        raise ValueError(f"{members} members and {others} others; a curve needs at least one of each")
    scores = np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1)
    true, false = np.cumsum(member[order])[ends] / members, np.cumsum(~member[order])[ends] / others
    return Roc(np.concatenate([[0.0], false]), np.concatenate([[0.0], true]), members, others)


def permitted(inverse: Callable[[float], float], rate: float) -> float:
    """The largest TPR at this FPR under a claim whose f̄⁻¹ is `inverse`: f̄(x) = 1 − f̄⁻¹(1 − x), as f is symmetric."""
    return min(1.0, 1.0 - inverse(1.0 - rate))
