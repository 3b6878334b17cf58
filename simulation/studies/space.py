"""Space: the settings that a study may try, and the ways to pick some of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from ...config import ConfigError
from .axis import Axis, axes_of

Values: TypeAlias = tuple[tuple[str, Any], ...]  # (key, value), in the order of the axes

_MOST = 100_000  # combinations of a grid
_TRIES = 200  # draws of a new setting before the space counts as used up


@dataclass(frozen=True, slots=True)
class Space:
    """The product of some axes."""

    axes: tuple[Axis, ...]

    def grid(self) -> tuple[Values, ...]:
        """Every combination; raises `ConfigError` where there are too many to be meant."""
        size = math.prod(len(axis.grid()) for axis in self.axes)
        if size > _MOST:
            raise ConfigError(
                f"study.vary: a grid of {size:,} settings; give fewer values, or --search adaptive with --points"
            )
        return tuple(
            tuple(zip((axis.key for axis in self.axes), values, strict=True))
            for values in product(*(axis.grid() for axis in self.axes))
        )

    def drawn(self, rng: np.random.Generator) -> Values:
        """A setting at random."""
        return tuple((axis.key, axis.at(float(rng.random()))) for axis in self.axes)

    def moved(self, start: Values, rng: np.random.Generator, width: float) -> Values:
        """A setting near `start`: one or two keys moved by about `width` of their axes, the others as they are."""
        count = min(len(self.axes), 1 + int(rng.random() < 0.5))
        chosen = set(rng.choice(len(self.axes), count, replace=False).tolist())
        return tuple(
            (axis.key, axis.at(_near(axis.place(value), max(width, axis.step), rng)) if index in chosen else value)
            for index, (axis, (_, value)) in enumerate(zip(self.axes, start, strict=True))
        )

    def fresh(self, draw: Iterator[Values], known: set[str], count: int) -> list[Values]:
        """Up to `count` settings of `draw` that are not in `known`; fewer where new ones do not come up any more."""
        found: list[Values] = []
        seen = set(known)
        for _ in range(_TRIES * max(1, count)):
            if len(found) == count:
                break
            values = next(draw)
            if name_of(values) not in seen:
                seen.add(name_of(values))
                found.append(values)
        return found


def _near(place: float, width: float, rng: np.random.Generator) -> float:
    """A place in [0, 1) about `width` away, turned back at the ends."""
    moved = place + float(rng.normal()) * width
    return abs(moved) % 2 if abs(moved) % 2 < 1 else max(0.0, 2 - abs(moved) % 2 - 1e-9)


def name_of(values: Values) -> str:
    """The identity of a setting."""
    return json.dumps(dict(values), sort_keys=True)


def space_of(vary: Mapping[str, Any]) -> Space:
    """The space that a table `vary` describes; raises `ConfigError`."""
    return Space(axes_of(vary))
