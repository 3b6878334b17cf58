"""Search: which setting is tried next, and under which seed. Each search is a pure function of what is known.

That is what makes a study resume: the same trials known, the same ones asked for. ε of a setting is known before anything
is trained, so only accuracy is searched for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from ...privacy.entropy import SeededEntropy
from .frontier import frontier_of
from .space import Space, Values, name_of

Trial: TypeAlias = tuple[Values, int]  # a setting and a seed
SearchName: TypeAlias = Literal["grid", "random", "adaptive"]

_FIRST = 0.3  # of an adaptive search's trials, those that are drawn at random
_LATE = 0.7  # from this share of the trials on, those on the frontier are confirmed first
_WIDTH = (0.25, 0.04)  # how far proposals move, of an axis: at the beginning, at the end
_ROUNDS = 10  # about as many batches does an adaptive search take


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one setting: its ε (NaN where it was refused) and a score by seed, larger is better."""

    values: Values
    epsilon: float
    scores: Mapping[int, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean score so far; NaN without any."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else math.nan


@dataclass(frozen=True, slots=True)
class Plan:
    """How a study searches: `points` settings under `seeds`, drawn by `seed`."""

    search: SearchName
    points: int
    seeds: tuple[int, ...]
    seed: int = 0


def next_trials(plan: Plan, space: Space, known: Sequence[Known]) -> list[Trial]:
    """The next trials, none when the search is over; those of a refused setting are skipped by whoever runs them."""
    return _SEARCHES[plan.search](plan, space, known)


def _missing(settings: Sequence[Values], plan: Plan, known: Sequence[Known]) -> list[Trial]:
    """Every setting under every seed, but what is known; all settings under the first seed come first."""
    found = {name_of(each.values): each for each in known}
    wanted = [(values, seed) for seed in plan.seeds for values in settings]
    return [
        (values, seed)
        for values, seed in wanted
        if (one := found.get(name_of(values))) is None or (not math.isnan(one.epsilon) and seed not in one.scores)
    ]


def _grid(plan: Plan, space: Space, known: Sequence[Known]) -> list[Trial]:
    return _missing(space.grid(), plan, known)


def _random(plan: Plan, space: Space, known: Sequence[Known]) -> list[Trial]:
    return _missing(space.fresh(_draws(space, _rng(plan, 0)), set(), plan.points), plan, known)


def _adaptive(plan: Plan, space: Space, known: Sequence[Known]) -> list[Trial]:
    """Racing on the frontier: new settings come near those that are on it, and only what stays on it gets more seeds.

    A third of the trials is drawn at random, one seed each. Then, batch by batch, settings on the frontier of means get
    another seed, and settings near the frontier are tried once, ever nearer. The last trials are kept to give every
    setting on the frontier all its seeds, so that luck under one seed does not stay there.
    """
    total = plan.points * len(plan.seeds)
    used = sum(len(each.scores) if not math.isnan(each.epsilon) else 1 for each in known)
    left = total - used
    if left <= 0:
        return []
    rng = _rng(plan, used)
    names = {name_of(each.values) for each in known}
    first = max(4, math.ceil(_FIRST * total))
    if used < first:
        settings = space.fresh(_draws(space, rng), names, min(first - used, left))
        if settings:
            return [(values, plan.seeds[0]) for values in settings]
    scored = [each for each in known if each.scores]
    best = frontier_of([(each.epsilon, each.mean) for each in scored])
    parents = [scored[index] for index in best]
    lacking = [each for each in parents if len(each.scores) < len(plan.seeds)]
    again = [(each.values, next(seed for seed in plan.seeds if seed not in each.scores)) for each in lacking]
    owed = sum(len(plan.seeds) - len(each.scores) for each in lacking)
    if owed >= left or not parents:
        return again[:left]
    batch = max(2, math.ceil(total / _ROUNDS / 2))
    width = _WIDTH[0] + (_WIDTH[1] - _WIDTH[0]) * used / total
    # Late, a setting is tried only if all its seeds could still be paid for: it may turn out to stand on the frontier.
    room = left - owed if used < _LATE * total else 0 if again else max(1, left // len(plan.seeds))
    settings = space.fresh(_near(space, parents, rng, width), names, min(batch, room))
    return [*again, *((values, plan.seeds[0]) for values in settings)]


def _near(space: Space, parents: Sequence[Known], rng: np.random.Generator, width: float) -> Iterator[Values]:
    while True:
        yield space.moved(parents[int(rng.integers(len(parents)))].values, rng, width)


def _draws(space: Space, rng: np.random.Generator) -> Iterator[Values]:
    while True:
        yield space.drawn(rng)


def _rng(plan: Plan, step: int) -> np.random.Generator:
    return SeededEntropy(plan.seed).stream("study", step).generator()


_SEARCHES: Mapping[SearchName, Callable[[Plan, Space, Sequence[Known]], list[Trial]]] = {
    "grid": _grid,
    "random": _random,
    "adaptive": _adaptive,
}
