"""Frontier: the settings that no other one beats in both ε and score, and what can be read off them.

A score is larger where a setting is better: a metric, or its negative where less is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_LEVEL = 0.975  # of a two-sided interval of 95 %


@dataclass(frozen=True, slots=True)
class Band:
    """A mean over seeds with its 95 % interval, ±∞ under a single seed: mean ± t·s/√n (Student 1908)."""

    mean: float
    low: float
    high: float
    count: int


def band(values: Sequence[float]) -> Band:
    """The band of at least one value."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Band(mean, -math.inf, math.inf, 1)
    from scipy.stats import t  # half a second to import

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(t.ppf(_LEVEL, count - 1)) * deviation / math.sqrt(count)
    return Band(mean, mean - half, mean + half, count)


def frontier_of(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (ε, score) that no other point beats, by rising ε: each is better than all that cost no more.

    Points without a number, or with an infinite ε, are never on it.
    """
    order = sorted(
        (index for index, (epsilon, score) in enumerate(points) if math.isfinite(epsilon) and math.isfinite(score)),
        key=lambda index: (points[index][0], -points[index][1], index),
    )
    found: list[int] = []
    for index in order:
        if not found or points[index][1] > points[found[-1]][1]:
            found.append(index)
    return found


def best_within(points: Sequence[tuple[float, float]], epsilon: float) -> int | None:
    """The point of the best score whose ε is at most `epsilon`; None where none is."""
    fitting = [index for index in frontier_of(points) if points[index][0] <= epsilon]
    return fitting[-1] if fitting else None


def cheapest_reaching(points: Sequence[tuple[float, float]], score: float) -> int | None:
    """The point of the least ε whose score is at least `score`; None where none is."""
    return next((index for index in frontier_of(points) if points[index][1] >= score), None)


@dataclass(frozen=True, slots=True)
class Step:
    """What it brought to raise one key from `low` to `high`, everything else alike, as a mean over `pairs` such pairs.

    `gain`: change of the score, with `error`, the half-width of its 95 % interval over pairs and seeds (∞ with one);
    `cost`: change of ε.
    """

    key: str
    low: float
    high: float
    pairs: int
    gain: float
    error: float
    cost: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting as `steps` compares it: plain values, ε, and a score by seed."""

    values: Mapping[str, object]
    epsilon: float
    scores: Mapping[int, float]


def steps(points: Sequence[Measured], keys: Sequence[str]) -> list[Step]:
    """For every key of numbers and every two neighbouring values: the mean change over pairs that differ in it alone.

    Scores are compared seed by seed, under which both settings have the same owners and the same first model. Pairs of
    which one has no finite ε are left out.
    """
    found: list[Step] = []
    for key in keys:
        groups: dict[str, list[tuple[float, Measured]]] = {}
        for point in points:
            value = point.values.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(point.epsilon):
                rest = repr(sorted((name, repr(other)) for name, other in point.values.items() if name != key))
                groups.setdefault(rest, []).append((float(value), point))
        pairs: dict[tuple[float, float], list[tuple[Measured, Measured]]] = {}
        for members in groups.values():
            members.sort(key=lambda member: member[0])
            for (low, first), (high, second) in pairwise(members):
                pairs.setdefault((low, high), []).append((first, second))
        for (low, high), both in sorted(pairs.items()):
            gains = [
                second.scores[seed] - first.scores[seed]
                for first, second in both
                for seed in first.scores
                if seed in second.scores
            ]
            if gains:
                spread = band(gains)
                cost = math.fsum(second.epsilon - first.epsilon for first, second in both) / len(both)
                found.append(Step(key, low, high, len(both), spread.mean, spread.high - spread.mean, cost))
    return found
