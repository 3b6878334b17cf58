"""Participation: who takes part in a round; it yields both the draw and what the draw does to the event.

| name      | draw                                              | known to the analyst | amplifies                     |
|-----------|---------------------------------------------------|----------------------|-------------------------------|
| everyone  | all owners                                        | yes                  | never                         |
| poisson   | each owner independently with probability `rate`  | no                   | analyst                       |
| fixed     | `cohort` owners without replacement               | no                   | analyst, replace-one only     |
| cyclic    | public blocks, an owner again after `separation`  | yes                  | never, but fewer rounds each  |

Each sampling layer amplifies only for observers who do not know the draw (PRIVACY.md 1): the server made it, and the
members of a masked cohort see one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .entropy import Stream
from .event import Event, FixedCohort, Gaussian, Nothing, Poisson, Repeated, TruncatedPoisson


class ParticipationError(ValueError):
    """A draw that cannot be made from this population; names the number to change."""


@dataclass(frozen=True, slots=True)
class Everyone:
    """Every owner, every round."""

    secret = False

    def check(self, population: int) -> None:
        """Raises `ParticipationError` where the draw is impossible."""
        _positive(population)

    def draw(self, population: int, round: int, stream: Stream) -> NDArray[np.int64]:
        """Owners of round `round` (from 1), ascending `[m]`."""
        return np.arange(population, dtype=np.int64)

    def expected(self, population: int) -> float:
        """Mean number of owners a round: the public denominator of means."""
        return float(population)

    def most(self, population: int) -> int:
        """Most owners that one round can hold."""
        return population

    def times(self, rounds: int) -> int:
        """Most rounds, of `rounds`, that one owner can be in."""
        return rounds

    def amplified(self, event: Event, population: int, known: int = 0) -> Event:
        """The event of one round for an observer who knows of `known` owners whether they were drawn, and of no others."""
        return event


@dataclass(frozen=True, slots=True)
class PoissonOwners:
    """Each owner independently with probability `rate`; with `cap`, cut to a random subset of at most `cap`."""

    rate: float
    cap: int | None = None
    secret = True

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ParticipationError(f"participation: rate = {self.rate}; give a probability above 0 and up to 1")
        if self.cap is not None and self.cap < 1:
            raise ParticipationError(f"participation: cap = {self.cap}; give at least 1, or leave it out")

    def check(self, population: int) -> None:
        _positive(population)
        if self.cap is not None and self.cap > population:
            raise ParticipationError(
                f"participation: cap = {self.cap} of {population} owners; give at most {population}"
            )

    def draw(self, population: int, round: int, stream: Stream) -> NDArray[np.int64]:
        # 53-bit words below ⌊rate · 2⁵³⌋: a probability of at most `rate`, by less than 2⁻⁵³.
        words = stream.words(population) >> np.uint64(11)
        chosen = np.flatnonzero(words < np.uint64(math.floor(math.ldexp(self.rate, 53)))).astype(np.int64)
        if self.cap is not None and len(chosen) > self.cap:
            chosen = chosen[_subset(stream, len(chosen), self.cap)]
        return chosen

    def expected(self, population: int) -> float:
        return self.rate * population

    def most(self, population: int) -> int:
        return population if self.cap is None else self.cap

    def times(self, rounds: int) -> int:
        return rounds

    def amplified(self, event: Event, population: int, known: int = 0) -> Event:
        if self.rate == 1 and self.cap is None:
            return event
        if self.cap is None or self.cap >= population:
            return Poisson(self.rate, event)
        if known:  # who else was drawn says how likely the cap cut the others: no bound is proven
            return event
        if isinstance(event, Gaussian):
            return TruncatedPoisson(self.rate, self.cap, population, event)
        raise ParticipationError(
            "participation: a capped Poisson cohort has a proven bound for Gaussian noise only; leave `cap` out"
        )


@dataclass(frozen=True, slots=True)
class FixedOwners:
    """Exactly `cohort` owners, uniformly without replacement."""

    cohort: int
    secret = True

    def __post_init__(self) -> None:
        if self.cohort < 1:
            raise ParticipationError(f"participation: cohort = {self.cohort}; give at least 1 owner")

    def check(self, population: int) -> None:
        _positive(population)
        if self.cohort > population:
            raise ParticipationError(
                f"participation: cohort = {self.cohort} of {population} owners; give at most {population}"
            )

    def draw(self, population: int, round: int, stream: Stream) -> NDArray[np.int64]:
        return _subset(stream, population, self.cohort)

    def expected(self, population: int) -> float:
        return float(self.cohort)

    def most(self, population: int) -> int:
        return self.cohort

    def times(self, rounds: int) -> int:
        return rounds

    def amplified(self, event: Event, population: int, known: int = 0) -> Event:
        # With `known` owners out, and none of them drawn, the others are a cohort of population − known.
        others = population - known
        return event if self.cohort >= others else FixedCohort(self.cohort, others, event)


@dataclass(frozen=True, slots=True)
class Cyclic:
    """Public blocks in turn: owner i is in the rounds t with t ≡ i (mod `separation`), at most `cohort` owners a round.

    The order of owners is public and fixed, so it amplifies for nobody; an owner is in at most ⌈T / separation⌉ rounds.

    >>> Cyclic(cohort=2, separation=3).times(rounds=10)
    4
    """

    cohort: int
    separation: int
    secret = False

    def __post_init__(self) -> None:
        if self.cohort < 1 or self.separation < 1:
            raise ParticipationError(
                f"participation: cohort = {self.cohort}, separation = {self.separation}; give at least 1 of each"
            )

    def check(self, population: int) -> None:
        _positive(population)
        if self.cohort * self.separation > population:
            raise ParticipationError(
                f"participation: {self.separation} rounds apart with {self.cohort} owners a round needs "
                f"{self.cohort * self.separation} owners; found {population}; lower one of them"
            )

    def draw(self, population: int, round: int, stream: Stream) -> NDArray[np.int64]:
        block = (round - 1) % self.separation
        return np.arange(block, population, self.separation, dtype=np.int64)[: self.cohort]

    def expected(self, population: int) -> float:
        return float(self.cohort)

    def most(self, population: int) -> int:
        return self.cohort

    def times(self, rounds: int) -> int:
        return math.ceil(rounds / self.separation)

    def amplified(self, event: Event, population: int, known: int = 0) -> Event:
        return event


Participation: TypeAlias = Everyone | PoissonOwners | FixedOwners | Cyclic
ParticipationName: TypeAlias = Literal["everyone", "poisson", "fixed", "cyclic"]

PARTICIPATIONS: Mapping[ParticipationName, type[Any]] = {
    "everyone": Everyone,
    "poisson": PoissonOwners,
    "fixed": FixedOwners,
    "cyclic": Cyclic,
}


def participation_name(participation: Participation) -> ParticipationName:
    """The kebab-case name of a participation, as in files and on the wire."""
    return next(name for name, kind in PARTICIPATIONS.items() if type(participation) is kind)


def repeated(event: Event, count: int) -> Event:
    """`event` `count` times over, without a wrapper where none is needed."""
    if count == 0:
        return Nothing()
    return event if count == 1 else Repeated(event, count)


def _positive(population: int) -> None:
    if population < 1:
        raise ParticipationError(f"population: owners = {population}; give at least 1")


def _subset(stream: Stream, population: int, size: int) -> NDArray[np.int64]:
    """A uniform subset of `size` of `range(population)`, ascending: the `size` smallest of distinct random keys."""
    keys = stream.words(population)
    if size < population:
        chosen = np.flatnonzero(keys <= np.partition(keys, size - 1)[size - 1])
        if len(chosen) == size:
            return chosen.astype(np.int64)
    # Equal 64-bit keys have probability below population² · 2⁻⁶⁵; the stable sort then favours the lower index.
    return np.sort(np.argsort(keys, kind="stable")[:size]).astype(np.int64)
