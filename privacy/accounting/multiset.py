"""The canonical form of an event: which leaves happened, and how often each.

Composition is commutative, so an event is a multiset of leaves. Equal leaves are merged, all Gaussians into one
(precisions 1/σ² add), correlated noise and trees become the Gaussian that they are, sampling at rate 0 or 1 and
cohorts of everybody vanish, and whatever is readable without noise becomes the one leaf `NonPrivate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..event import (
    BandedMatrix,
    BufferedLinearToeplitz,
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    RandomizedResponse,
    Repeated,
    Skellam,
    Tree,
    TruncatedPoisson,
    Tuned,
)
from .matrix import attained_norm, largest_norm, tree_norm
from .relation import AccountingError

Norm: TypeAlias = Callable[[BandedMatrix | BufferedLinearToeplitz], float]
_MOST = 2**53


@dataclass(frozen=True, slots=True)
class Multiset:
    """Leaves with their counts, each leaf once, Gaussians merged; hashable, and equal when the compositions are."""

    leaves: tuple[tuple[Event, int], ...]

    @property
    def private(self) -> bool:
        """Whether everything in it carries noise."""
        return not any(isinstance(leaf, NonPrivate) for leaf, _ in self.leaves)

    @property
    def gaussian(self) -> float | None:
        """The noise multiplier, when the whole is one Gaussian mechanism."""
        if len(self.leaves) == 1 and isinstance(self.leaves[0][0], Gaussian):
            return self.leaves[0][0].noise_multiplier / math.sqrt(self.leaves[0][1])
        return None


def multiset(event: Event) -> Multiset:
    """The canonical form of `event`, correlated noise at its proven largest sensitivity."""
    return merged(counts(event))


def least_multiset(event: Event) -> Multiset:
    """As `multiset`, correlated noise at a sensitivity that is attained: for lower bounds."""
    return merged(_flatten(event, attained_norm))


def counts(event: Event) -> dict[Event, int]:
    """Leaves and counts before Gaussians are merged: what an incremental accountant adds up."""
    return _flatten(event, largest_norm)


def merged(leaves: Mapping[Event, int]) -> Multiset:
    """One Gaussian for all Gaussians; the leaves in an order that does not depend on how they were composed."""
    if any(isinstance(leaf, NonPrivate) for leaf in leaves):
        return Multiset(((NonPrivate(), 1),))
    gaussians = sorted((leaf.noise_multiplier, count) for leaf, count in leaves.items() if isinstance(leaf, Gaussian))
    rest = [(leaf, count) for leaf, count in leaves.items() if not isinstance(leaf, Gaussian)]
    rest.sort(key=repr)
    if len(gaussians) == 1:
        return Multiset(((Gaussian(gaussians[0][0]), gaussians[0][1]), *rest))
    if gaussians:
        one = _gaussian(math.fsum(count / noise / noise for noise, count in gaussians) ** -0.5)
        if isinstance(one, NonPrivate):
            return Multiset(((one, 1),))
        return Multiset(((one, 1), *rest))
    return Multiset(tuple(rest))


def event_of(leaves: Multiset) -> Event:
    """An event with this canonical form."""
    parts = [leaf if count == 1 else Repeated(leaf, count) for leaf, count in leaves.leaves]
    if not parts:
        return Nothing()
    return parts[0] if len(parts) == 1 else Composed(tuple(parts))


def _gaussian(noise_multiplier: float) -> Gaussian | NonPrivate:
    # Below the square root of the smallest float64, 1/σ² is infinite: as good as no noise.
    # Above 1e100 its square would overflow; less noise is an upper bound.
    return Gaussian(min(noise_multiplier, 1e100)) if noise_multiplier > 1e-150 else NonPrivate()


def _flatten(event: Event, norm: Norm) -> dict[Event, int]:
    match event:
        case Composed(parts):
            found: dict[Event, int] = {}
            for part in parts:
                for leaf, count in _flatten(part, norm).items():
                    found[leaf] = _counted(found.get(leaf, 0) + count)
            return found
        case Repeated(of, count):
            return {leaf: _counted(times * count) for leaf, times in _flatten(of, norm).items()} if count else {}
        case Poisson(rate, of):
            return _sampled(float(rate), of, norm)
        case FixedCohort(cohort, population, of):
            return _drawn(cohort, population, of, norm)
        case Tuned(of, mean, shape):
            inner = merged(_flatten(of, norm))
            if not inner.leaves or not inner.private:
                return dict(inner.leaves)
            return {Tuned(event_of(inner), mean, shape): 1}
        case _:
            leaf = _leaf(event, norm)
            return {} if isinstance(leaf, Nothing) else {leaf: 1}


def _leaf(event: Event, norm: Norm) -> Event:
    match event:
        case Gaussian(noise):
            return _gaussian(float(noise))
        case Tree(noise, _):
            return _gaussian(noise / tree_norm(event))
        case BandedMatrix(noise) | BufferedLinearToeplitz(noise):
            return _gaussian(noise / norm(event))
        case Laplace(noise):
            return event if noise > 1e-150 else NonPrivate()
        case RandomizedResponse(noise, buckets):
            if buckets == 1 or noise == 1:
                return Nothing()
            return event if noise > 0 else NonPrivate()
        case DiscreteGaussian(variance, l2, _) | Skellam(variance, l2, _):
            if l2 == 0:
                return Nothing()
            return event if variance > 0 else NonPrivate()
        case TruncatedPoisson(rate, cap, population, of):
            if rate == 0:
                return Nothing()
            inner = _gaussian(float(of.noise_multiplier))
            if isinstance(inner, NonPrivate) or cap < population:
                return event if isinstance(inner, Gaussian) else inner
            return inner if rate == 1 else Poisson(float(rate), inner)
        case _:
            return event


def _sampled(rate: float, of: Event, norm: Norm) -> dict[Event, int]:
    inner = merged(_flatten(of, norm))
    if rate == 0 or not inner.leaves:
        return {}
    if rate == 1 or not inner.private:
        return dict(inner.leaves)
    if inner.gaussian is not None:
        return {Poisson(rate, Gaussian(inner.gaussian)): 1}
    if len(inner.leaves) == 1 and inner.leaves[0][1] == 1 and isinstance(inner.leaves[0][0], Poisson):
        # A unit is in the inner sample when both coins say so; independent over units.
        deeper = inner.leaves[0][0]
        return _sampled(rate * deeper.rate, deeper.of, norm)
    return {Poisson(rate, event_of(inner)): 1}


def _drawn(cohort: int, population: int, of: Event, norm: Norm) -> dict[Event, int]:
    inner = merged(_flatten(of, norm))
    if not inner.leaves or not inner.private or cohort == population:
        return dict(inner.leaves)
    if inner.gaussian is not None:
        return {FixedCohort(cohort, population, Gaussian(inner.gaussian)): 1}
    return {FixedCohort(cohort, population, event_of(inner)): 1}


def _counted(count: int) -> int:
    if count > _MOST:
        raise AccountingError(f"an event is composed {count:.3g} times; at most 2^53 can be counted exactly")
    return count
