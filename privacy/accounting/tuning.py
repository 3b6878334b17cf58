"""What it costs to choose a mechanism by trying several on the same data: all trials composed, or one of them selected.

*Composed*: whoever chooses looks at every trial, so every trial is a release. Holds for any search.

*Selected* (Papernot and Steinke 2022, arXiv 2110.03620): the number of trials is drawn at random and kept secret, each
trial takes its setting at random from one fixed law, and nothing but the best trial is published. A trial with its setting
is then itself a mechanism, whose Rényi divergence at every order is at most the largest of the settings' (the divergence is
quasi-convex, and the setting's law does not depend on the data). Does not hold for a grid that is run to its end, nor for
a search that follows its results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from ..event import Composed, Event, Repeated
from ..signal import Relation
from . import moments, renyi
from .accountant import account, epsilon_by_rdp
from .leaves import total_rdp
from .multiset import multiset
from .pair import Array
from .relation import AccountingError, checked_delta, checked_relation

Law: TypeAlias = Literal["poisson", "geometric", "logarithmic"]

# The shape of the number of trials, as `Tuned` has it.
SHAPES: Mapping[Law, float] = {"poisson": math.inf, "geometric": 1.0, "logarithmic": 0.0}
_FEW = 6  # distinct leaves that are still composed by their loss distributions, a fraction of a second each


@dataclass(frozen=True, slots=True)
class Tuning:
    """ε at `delta` of a search of `trials` releases.

    `composed`: as all of them together, by `accountant`. `selected`: as the best of a random number with the mean `mean` that
    follows `law`, the cheapest of `SHAPES` (fixed beforehand, so choosing among them tells nothing). ∞ where none is proven.
    """

    trials: int
    composed: float
    accountant: str
    selected: float
    law: Law
    mean: float
    delta: float
    relation: Relation


def tuning(events: Mapping[Event, int], relation: Relation, delta: float, extra: float = 0.0) -> Tuning:
    """The cost of releasing every event as often as its count; `extra`: total variation of all their samplers together.

    Raises `AccountingError` for an event that no accountant knows, or without any.
    """
    relation, delta = checked_relation(relation), checked_delta(delta)
    trials = sum(events.values())
    if trials < 1:
        raise AccountingError("tuning: no trial was given; give at least one event with its count")
    whole = multiset(Composed(tuple(Repeated(event, count) for event, count in events.items())))
    if not whole.private:
        return Tuning(trials, math.inf, "none", math.inf, "poisson", float(trials), delta, relation)
    each = [total_rdp(multiset(event), relation) for event in events]
    dearest = np.max(np.stack(each), axis=0)
    curves = {law: moments.tuned(dearest, float(trials), shape, renyi.delta) for law, shape in SHAPES.items()}
    found: dict[Law, float] = {law: _within(_at(curve), delta, extra) for law, curve in curves.items()}
    law = min(found, key=lambda name: found[name])
    releases = [event for event, count in events.items() for _ in range(count)]
    composed, accountant = _composed(releases, relation, delta, extra)
    return Tuning(trials, composed, accountant, found[law], law, float(trials), delta, relation)


def _composed(releases: list[Event], relation: Relation, delta: float, extra: float) -> tuple[float, str]:
    """ε of all releases, and whose bound it is.

    Together, if the samplers leave something of δ at an ε as large as that; otherwise in as few groups as it takes, whose
    ε and δ add up (Dwork et al. 2006, basic composition).
    """
    groups = 1
    while groups <= len(releases):
        bounds = [round(index * len(releases) / groups) for index in range(groups + 1)]
        parts = [tuple(releases[low:high]) for low, high in pairwise(bounds)]
        found = [_joint(part, relation, delta / groups, extra / groups) for part in parts]
        total = math.fsum(epsilon for epsilon, _ in found)
        if math.isfinite(total):
            return total, found[0][1] if groups == 1 else "basic"
        groups *= 2
    return math.inf, "none"


def _joint(part: tuple[Event, ...], relation: Relation, delta: float, extra: float) -> tuple[float, str]:
    whole = multiset(Composed(part))
    event = Composed(tuple(Repeated(leaf, count) for leaf, count in whole.leaves))
    if len(whole.leaves) <= _FEW:
        return _within(lambda left: account(event, relation, left).epsilon, delta, extra), "pld"
    return _within(lambda left: epsilon_by_rdp(whole, relation, left), delta, extra), "rdp"


def _at(curve: Array) -> Callable[[float], float]:
    return lambda left: renyi.epsilon(curve, left)


def _within(epsilon: Callable[[float], float], delta: float, extra: float) -> float:
    """ε at what total variation `extra` leaves of δ, as `figures.account_within`; ∞ where it leaves nothing."""
    found = epsilon(delta)
    if extra == 0 or math.isinf(found):
        return found
    for _ in range(16):
        ceiling = found * (1 + 1e-6) + 1e-6
        left = delta - (1 + math.exp(min(ceiling, 700.0))) * extra
        if left <= 0:
            return math.inf
        found = epsilon(left)
        if found <= ceiling:
            return found
    return math.inf
