"""The ε or δ of an event under a neighbouring relation: exact for Gaussians, by privacy loss distribution (PLD) where
every leaf has a dominating pair, by Rényi divergence (RDP) where not, and refused where neither is proven.

Noise in shares of discrete Gaussians is taken for the Gaussian that it is close to, at that distance, where this proves more.
Every ε reported here is an upper bound of the truth up to float64: discretisation, truncation and rounding go up.
`lower` is a lower bound of the same kind, from the pairs of real neighbours; 0 where no such pair is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from ..event import Event
from ..signal import Relation
from . import gaussian, loss, renyi
from . import leaves as leaf_table
from .multiset import Multiset, event_of, least_multiset, multiset
from .relation import checked_delta, checked_epsilon, checked_relation, norm_factor
from .smooth import smoothed

Accountant: TypeAlias = Literal["pld", "rdp", "pure", "none"]

# Tilts beyond it belong to ε below 1e-4, where nothing needs them.
_MOST_TILT = 1e5


@dataclass(frozen=True, slots=True)
class Account:
    """ε of one event at δ.

    `epsilon` = `upper` is what to report; `epsilon_rdp` is what RDP alone would say and is never below it.
    `accountant` names whose bound `epsilon` is: "pld" (closed form for a single Gaussian), "rdp", "pure" (the sum of
    the largest losses), or "none" where nothing was released or nothing was private. `order` is RDP's optimal order,
    0 where there is none.
    """

    epsilon: float
    lower: float
    upper: float
    epsilon_rdp: float
    accountant: Accountant
    order: float
    delta: float
    relation: Relation


def account(event: Event, relation: Relation, delta: float) -> Account:
    """ε of `event` at `delta`, with both ends and the RDP value beside it; `AccountingError` where it is refused."""
    relation, delta = checked_relation(relation), checked_delta(delta)
    leaves, least = multiset(event), least_multiset(event)
    upper, by_rdp, accountant, order = _upper(leaves, relation, delta, loss.FINE)
    lower = min(_lower(least, relation, delta), upper)
    return Account(upper, lower, upper, by_rdp, accountant, order, delta, relation)


def epsilon(event: Event, relation: Relation, delta: float) -> float:
    """The smallest ε proven for `event` at `delta`: `account(…).epsilon`, without the rest."""
    return epsilon_of(multiset(event), checked_relation(relation), checked_delta(delta), loss.FINE)


def epsilon_of(leaves: Multiset, relation: Relation, delta: float, tolerance: float) -> float:
    """As `epsilon`, of a canonical form, discretised to `tolerance` (`loss.FINE`, or `loss.COARSE` to search)."""
    return _upper(leaves, relation, delta, tolerance)[0]


def epsilon_by_rdp(leaves: Multiset, relation: Relation, delta: float) -> float:
    """RDP's ε alone: cheap, and additive, which is what filters need."""
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    return renyi.epsilon(leaf_table.total_rdp(leaves, relation), delta)


def delta(event: Event, relation: Relation, epsilon: float) -> float:
    """The smallest δ proven for `event` at ε ≥ 0."""
    relation, epsilon = checked_relation(relation), checked_epsilon(epsilon)
    leaves = multiset(event)
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    if not leaves.leaves:
        return 0.0
    if not leaves.private:
        return 1.0
    if leaves.gaussian is not None:
        return gaussian.delta(leaves.gaussian / norm_factor(relation), epsilon)
    if epsilon >= leaf_table.total_pure(leaves, relation):
        return 0.0
    by_rdp = renyi.delta(leaf_table.total_rdp(leaves, relation), epsilon)
    smooth = smoothed(leaves)
    if smooth is not None:
        rest = delta(event_of(smooth[0]), relation, epsilon) + (1 + math.exp(min(epsilon, 700.0))) * smooth[1]
        by_rdp = min(by_rdp, rest)
    directions = loss.upper_parts(leaves, relation)
    if directions is None:
        return by_rdp
    guess = min(max(by_rdp, 1e-200), 0.5)
    tilt = _tilt(leaves, relation, guess)
    found = loss.upper_delta(directions, epsilon, 1e-3 * guess, tilt)
    return min(by_rdp, found)


@lru_cache(maxsize=1024)
def _upper(
    leaves: Multiset, relation: Relation, delta: float, tolerance: float
) -> tuple[float, float, Accountant, float]:
    """(ε, RDP's ε, whose ε, RDP's order)."""
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    if not leaves.leaves:
        return 0.0, 0.0, "none", 0.0
    if not leaves.private:
        return math.inf, math.inf, "none", 0.0
    vector = leaf_table.total_rdp(leaves, relation)
    by_rdp, order = renyi.epsilon(vector, delta), renyi.order(vector, delta)
    if leaves.gaussian is not None:
        exact = gaussian.epsilon(leaves.gaussian / norm_factor(relation), delta)
        return exact, max(by_rdp, exact), "pld", order
    best = by_rdp
    accountant: Accountant = "rdp"
    directions = loss.upper_parts(leaves, relation)
    if directions is not None:
        by_pld = loss.upper_epsilon(directions, delta, tolerance, _tilt(leaves, relation, delta))
        if by_pld <= best:
            best, accountant = by_pld, "pld"
    pure = leaf_table.total_pure(leaves, relation)
    if pure < best:
        best, accountant = pure, "pure"
    smooth = smoothed(leaves)
    if smooth is not None:
        by_gaussian = _within(*smooth, relation, delta, tolerance, best)
        if by_gaussian < best:
            best, accountant = by_gaussian, "pld"
    return best, by_rdp, accountant, order


def _within(
    leaves: Multiset, distance: float, relation: Relation, delta: float, tolerance: float, most: float
) -> float:
    """ε of something within total variation `distance` of `leaves`; `most` where that is not below it.

    δ' is what (1 + e^ε)·distance leaves of δ (see `figures.account_within`), with ε from above: first `most`, then the ε
    that was proven with it, which is smaller and leaves more.
    """
    found = most
    for _ in range(8):
        left = delta - (1 + math.exp(min(found, 700.0))) * distance
        if left <= 0:
            return found
        better = _upper(leaves, relation, left, tolerance)[0]
        if better >= found * (1 - 1e-9):
            return min(found, better)
        found = better
    return found


@lru_cache(maxsize=256)
def _lower(leaves: Multiset, relation: Relation, delta: float) -> float:
    if not leaves.leaves:
        return 0.0
    if not leaves.private:
        return math.inf
    if leaves.gaussian is not None:
        return gaussian.epsilon(leaves.gaussian / norm_factor(relation), delta)
    directions = loss.lower_parts(leaves, relation)
    return loss.lower_epsilon(directions, delta, _tilt(leaves, relation, delta))


def _tilt(leaves: Multiset, relation: Relation, delta: float) -> float:
    """The exponent at which Chernoff's bound on δ is tightest: one less than RDP's optimal order."""
    vector = leaf_table.total_rdp(leaves, relation)
    if renyi.epsilon(vector, delta) == 0.0:
        return 0.0
    return min(renyi.order(vector, delta) - 1, _MOST_TILT)
