"""What ε hides: how well the best attacker could tell whether one unit took part, read off the whole profile δ(ε).

Every attack's rates obey TPR ≤ e^ε FPR + δ(ε) and 1 − FPR ≤ e^ε (1 − TPR) + δ(ε) for every ε ≥ 0 (Wasserman and
Zhou 2010; Dong, Roth, Su 2022, arXiv 1905.02383, Proposition 2.12). At ε = 0 they bound the membership advantage
TPR − FPR by the total variation δ(0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ..event import Event
from ..signal import Relation
from . import grid, loss, renyi
from . import leaves as leaf_table
from .multiset import multiset
from .pair import Array
from .relation import checked_relation, norm_factor

FALSE_POSITIVES = 0.01
_UNSEEN = 1e-7  # δ that truncation may cost: risks are read to three digits


@dataclass(frozen=True, slots=True)
class Risk:
    """Upper bounds for any attacker: the membership advantage max(TPR − FPR), and the TPR at 1 % FPR."""

    membership_advantage: float
    true_positives: float

    def to_json(self) -> dict[str, float]:
        """The row of `tacit plan --json`."""
        return {"membership_advantage": self.membership_advantage, "tpr_at_1_percent_fpr": self.true_positives}


NO_RISK = Risk(0.0, FALSE_POSITIVES)
TOTAL_RISK = Risk(1.0, 1.0)


def risk(event: Event, relation: Relation) -> Risk:
    """The risk of one unit under `event`; raises `AccountingError` where the event is refused."""
    relation = checked_relation(relation)
    leaves = multiset(event)
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    if not leaves.leaves:
        return NO_RISK
    if not leaves.private:
        return TOTAL_RISK
    if leaves.gaussian is not None:
        mu = norm_factor(relation) / leaves.gaussian
        return Risk(float(2 * ndtr(mu / 2) - 1), float(ndtr(ndtri(FALSE_POSITIVES) + mu)))
    epsilons = np.concatenate([[0.0], np.geomspace(1e-4, 50, 400)])
    vector = leaf_table.total_rdp(leaves, relation)
    known = _lines(epsilons, np.array([renyi.delta(vector, value) for value in epsilons]))
    directions = loss.upper_parts(leaves, relation)
    if directions is None:
        return _risk(known, known)
    by_direction = [_of_losses(parts).least(known) for parts in loss.different(directions)]
    one, other = by_direction[0], by_direction[-1]
    forth, back = _risk(one, other), _risk(other, one)
    return Risk(
        max(forth.membership_advantage, back.membership_advantage), max(forth.true_positives, back.true_positives)
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    """What one direction's δ(ε) allows: the advantage δ(0), the TPR by the first inequality, and, for the attacker who
    tests the other way round, the TPR by the second."""

    advantage: float
    forward: float
    backward: float

    def least(self, other: _Lines) -> _Lines:
        """Both bounds hold."""
        return _Lines(
            min(self.advantage, other.advantage), min(self.forward, other.forward), min(self.backward, other.backward)
        )


def _risk(forth: _Lines, back: _Lines) -> Risk:
    """Of an attacker whose positives follow P: P against Q bounds it from one side, Q against P from the other."""
    positives = max(FALSE_POSITIVES, min(1.0, forth.forward, back.backward))
    return Risk(min(1.0, forth.advantage, back.advantage), positives)


def _of_losses(parts: loss.Parts) -> _Lines:
    narrow = loss.narrowed(parts, _UNSEEN)
    composed = loss.upper_grid(narrow, grid.fitting_step(narrow, loss.COARSE), 0.0)
    places, above, kept = grid.profile(composed, 0.0)
    deltas = above - kept + composed.infinite + grid.error(composed, 0.0)
    return _lines(np.append(0.0, places), np.append(grid.delta(composed, 0.0), deltas))


def _lines(epsilons: Array, deltas: Array) -> _Lines:
    with np.errstate(over="ignore"):
        forward = float(np.min(np.exp(np.minimum(epsilons, 700.0)) * FALSE_POSITIVES + deltas))
        backward = float(np.min(1 - np.exp(-epsilons) * np.maximum(1 - FALSE_POSITIVES - deltas, 0.0)))
    return _Lines(float(deltas[0]), forward, backward)
