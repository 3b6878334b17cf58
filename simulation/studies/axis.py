"""Axis: one key of the configuration and the values that a study gives it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

from ...config import ConfigError

Scale: TypeAlias = Literal["linear", "log"]

_STEPS = 5  # of a range in a grid, where nothing else is said
_MOST = 10_000
_SMALLEST = 0.02  # least move of `moved`, as a share of the axis
# Keys that would make the points of a study incomparable or mean nothing in it, longest first; why, and what to do.
_REFUSED: Mapping[str, str] = {
    "task": "changes what is learned or the data it is learned from; make a study of its own for each and compare these",
    "population.partition": "deals the task's data otherwise; make a study of its own for each way and compare these",
    "privacy.unit": "ε of different units cannot be held against one another; make a study of its own for each",
    "privacy.relation": "ε of different relations cannot be held against one another; make a study of its own for each",
    "privacy.delta": "ε at different δ cannot be held against one another; set it for the whole study with --set",
    "budget.observer": "ε for different observers cannot be held against one another; make a study of its own for each",
    "budget.colluders": "ε for different observers cannot be held against one another; make a study of its own for each",
    "evaluation": "changes what is measured, not what is trained; set it for the whole study with --set",
    "study": "is no part of a federation; leave it out",
    "server": "has no part in a simulation; leave it out",
    "name": "changes nothing; leave it out",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, each as likely as the others. Numbers are neighbours in the order of their size."""

    key: str
    values: tuple[Any, ...]

    @property
    def numeric(self) -> bool:
        """Whether the values have an order and differences."""
        return all(_real(value) for value in self.values)

    def grid(self) -> tuple[Any, ...]:
        """The values of a grid."""
        return self.values

    def at(self, place: float) -> Any:
        """The value at a place in [0, 1)."""
        return self.values[min(len(self.values) - 1, int(place * len(self.values)))]

    def place(self, value: Any) -> float:
        """A place in [0, 1) of one of the values."""
        return (self.values.index(value) + 0.5) / len(self.values)

    @property
    def step(self) -> float:
        """The least difference of places that changes the value."""
        return 1 / len(self.values)

    def to_json(self) -> dict[str, Any]:
        """The axis as a study's file holds it."""
        return {"key": self.key, "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included, even in themselves or in their logarithm; whole where both ends are."""

    key: str
    low: float
    high: float
    steps: int = _STEPS
    scale: Scale = "linear"
    whole: bool = False

    @property
    def numeric(self) -> bool:
        return True

    def grid(self) -> tuple[Any, ...]:
        """`steps` even values, each once."""
        last = max(1, self.steps - 1)
        return tuple(dict.fromkeys(self.at(step / last) for step in range(self.steps)))

    def at(self, place: float) -> Any:
        place = min(1.0, max(0.0, place))
        if self.scale == "log":
            found = math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        else:
            found = self.low + place * (self.high - self.low)
        # Four digits: what is printed is what was run.
        return round(found) if self.whole else min(self.high, max(self.low, float(f"{found:.4g}")))

    def place(self, value: Any) -> float:
        if self.high == self.low:
            return 0.0
        if self.scale == "log":
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return float((value - self.low) / (self.high - self.low))

    @property
    def step(self) -> float:
        return _SMALLEST

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "from": self.low, "to": self.high, "steps": self.steps, "scale": self.scale}


Axis: TypeAlias = Choices | Range


def axes_of(vary: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of a table `vary`, whose dotted keys may be nested tables; raises `ConfigError` for what cannot be swept."""
    found = tuple(_axis(key, value) for key, value in _flat(vary))
    if not found:
        raise ConfigError(
            "study.vary: nothing is varied; name a key and its values, for example "
            "--vary rounds.total=10,20,40, or a table [study.vary] in the configuration"
        )
    return found


def with_more(table: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`table` with the keys of `more` added, or in the place of its own, in dotted keys whichever way either writes them."""
    return {**dict(_flat(table)), **dict(_flat(more))}


def _flat(table: Mapping[str, Any], at: str = "") -> list[tuple[str, Any]]:
    """Dotted keys down to a list, or to a table that has `from`."""
    rows: list[tuple[str, Any]] = []
    for key, value in table.items():
        path = f"{at}.{key}" if at else str(key)
        if isinstance(value, Mapping) and "from" not in value and "to" not in value:
            rows += _flat(value, path)
        else:
            rows.append((path, value))
    return rows


def _axis(key: str, value: Any) -> Axis:
    for prefix, why in _REFUSED.items():
        if key == prefix or key.startswith(f"{prefix}."):
            raise ConfigError(f"study.vary: {key}: {why}")
    if isinstance(value, Mapping):
        return _range(key, value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(
            f"study.vary: {key} = {value!r}: is one value; give a list of several, or use --set for one that stays"
        )
    if not value:
        raise ConfigError(f"study.vary: {key} = []: no value to try; give at least one")
    texts = [json.dumps(each, sort_keys=True) for each in value]
    twice = next((each for index, each in enumerate(texts) if each in texts[:index]), None)
    if twice is not None:
        raise ConfigError(f"study.vary: {key}: holds {twice} twice; give each value once")
    ordered = sorted(value) if all(_real(each) for each in value) else value
    return Choices(key, tuple(ordered))


def _range(key: str, row: Mapping[str, Any]) -> Range:
    where = f"study.vary: {key}"
    unknown = [name for name in row if name not in ("from", "to", "steps", "scale")]
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]}: unknown; a range has from, to, steps and scale")
    low, high, steps, scale = row.get("from"), row.get("to"), row.get("steps", _STEPS), row.get("scale", "linear")
    if not _real(low) or not _real(high) or not low < high:
        raise ConfigError(f"{where}: from {low!r} to {high!r}: give two numbers, the smaller one first")
    if not isinstance(steps, int) or isinstance(steps, bool) or not 2 <= steps <= _MOST:
        raise ConfigError(f"{where}: steps = {steps!r}: give a whole number from 2 to {_MOST:,}")
    if scale not in get_args(Scale):
        raise ConfigError(f'{where}: scale = {scale!r}: give "linear" or "log"')
    if scale == "log" and low <= 0:
        raise ConfigError(f"{where}: from {low!r} on a logarithmic scale: begin above 0")
    return Range(key, low, high, steps, scale, isinstance(low, int) and isinstance(high, int))


def _real(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
