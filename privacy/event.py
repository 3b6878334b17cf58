"""Privacy events: what a mechanism did to the data, as plain values that anyone can account again.

An event describes one mechanism or a composition of mechanisms and says nothing of ε; the accountants in
`accounting/` interpret it. A noise multiplier is always the noise's standard deviation over the largest L2 norm of
ONE unit's contribution; what the neighbouring relation does to that norm (replace-one doubles it) belongs to the
accountant. Events travel and are stored as JSON in the closed schema of this file: `from_json` looks names up in one
table and never imports anything by a name from the wire.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


class EventError(ValueError):
    """An event's parameters are impossible, or its JSON is not of this schema."""


def _need(holds: bool, event: str, field: str, found: object, want: str) -> None:
    if not holds:
        raise EventError(f"{event}: {field} = {found!r}; it must be {want}")


def _finite(value: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Nothing:
    """No data was touched: costs nothing."""


@dataclass(frozen=True, slots=True)
class NonPrivate:
    """Something readable left without noise: ε = ∞, δ = 1."""

    reason: str = "no noise was added"


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian mechanism, x + N(0, (noise_multiplier · C)² I) with ‖x‖₂ ≤ C per unit; continuous or fine-lattice."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _need(_finite(self.noise_multiplier) and self.noise_multiplier >= 0, "gaussian", "noise_multiplier",
              self.noise_multiplier, "a finite number of at least 0")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Laplace:
    """Laplace mechanism with scale = noise_multiplier · (L1 norm of one unit's contribution)."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _need(_finite(self.noise_multiplier) and self.noise_multiplier >= 0, "laplace", "noise_multiplier",
              self.noise_multiplier, "a finite number of at least 0")  # fmt: skip


@dataclass(frozen=True, slots=True)
class RandomizedResponse:
    """k-ary randomised response: with probability `noise` a uniform bucket out of `buckets`, else the true one."""

    noise: float
    buckets: int = 2

    def __post_init__(self) -> None:
        _need(_finite(self.noise) and 0 <= self.noise <= 1, "randomized-response", "noise", self.noise, "in [0, 1]")
        _need(self.buckets >= 1, "randomized-response", "buckets", self.buckets, "at least 1")


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
    """`shares` independent discrete Gaussians on Z^dim, each of variance `variance`, added to an integer contribution.

    `l1`, `l2`: largest norms of one unit's integer contribution. `shares = 1` is the central mechanism (Canonne,
    Kamath, Steinke 2020, Theorem 14); more are the distributed one (Kairouz, Liu, Steinke 2021, Proposition 14).
    """

    variance: float
    l2: float
    l1: float
    dim: int
    shares: int = 1

    def __post_init__(self) -> None:
        _need(_finite(self.variance) and self.variance >= 0, "discrete-gaussian", "variance", self.variance, "≥ 0")
        _need(_finite(self.l2) and self.l2 >= 0, "discrete-gaussian", "l2", self.l2, "≥ 0")
        _need(_finite(self.l1) and self.l1 >= 0, "discrete-gaussian", "l1", self.l1, "≥ 0")
        _need(self.dim >= 1, "discrete-gaussian", "dim", self.dim, "at least 1")
        _need(self.shares >= 1, "discrete-gaussian", "shares", self.shares, "at least 1")


@dataclass(frozen=True, slots=True)
class Skellam:
    """Skellam noise of total central variance `variance` on an integer contribution (Agarwal, Kairouz, Liu 2021)."""

    variance: float
    l2: float
    l1: float

    def __post_init__(self) -> None:
        _need(_finite(self.variance) and self.variance >= 0, "skellam", "variance", self.variance, "≥ 0")
        _need(_finite(self.l2) and self.l2 >= 0, "skellam", "l2", self.l2, "≥ 0")
        _need(_finite(self.l1) and self.l1 >= 0, "skellam", "l1", self.l1, "≥ 0")


@dataclass(frozen=True, slots=True)
class Poisson:
    """`of`, run on a subset that holds each unit independently with probability `rate`, drawn in secret."""

    rate: float
    of: Event

    def __post_init__(self) -> None:
        _need(_finite(self.rate) and 0 <= self.rate <= 1, "poisson", "rate", self.rate, "in [0, 1]")


@dataclass(frozen=True, slots=True)
class TruncatedPoisson:
    """Poisson sampling of `population` units, the draw cut to a random subset of at most `cap` (arXiv 2508.15089)."""

    rate: float
    cap: int
    population: int
    of: Gaussian

    def __post_init__(self) -> None:
        _need(_finite(self.rate) and 0 <= self.rate <= 1, "truncated-poisson", "rate", self.rate, "in [0, 1]")
        _need(1 <= self.cap <= self.population, "truncated-poisson", "cap", self.cap, f"in 1..{self.population}")


@dataclass(frozen=True, slots=True)
class FixedCohort:
    """`of`, run on `cohort` of `population` units, drawn uniformly without replacement, in secret."""

    cohort: int
    population: int
    of: Event

    def __post_init__(self) -> None:
        _need(1 <= self.cohort <= self.population, "fixed-cohort", "cohort", self.cohort, f"in 1..{self.population}")


@dataclass(frozen=True, slots=True)
class Tree:
    """Binary-tree aggregation of `steps` sums, noise per node, each unit in at most one step (Honaker 2015)."""

    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        _need(_finite(self.noise_multiplier) and self.noise_multiplier >= 0, "tree", "noise_multiplier",
              self.noise_multiplier, "a finite number of at least 0")  # fmt: skip
        _need(self.steps >= 1, "tree", "steps", self.steps, "at least 1")


@dataclass(frozen=True, slots=True)
class BandedMatrix:
    """Correlated noise C⁻¹z over `rounds` rounds with a lower-triangular Toeplitz C of `coefficients` (first column).

    A unit takes part at most `participations` times, at least `separation` rounds apart; the owner enforces both.
    One event for the whole schedule (Choquette-Choo et al. 2023, arXiv 2306.08153).
    """

    noise_multiplier: float
    coefficients: tuple[float, ...]
    rounds: int
    separation: int
    participations: int


@dataclass(frozen=True, slots=True)
class BufferedLinearToeplitz:
    """Correlated noise with a BLT matrix: c₀ = 1, cₜ = Σ scale·decay^(t−1) (McMahan et al. 2024, arXiv 2408.08868)."""

    noise_multiplier: float
    decay: tuple[float, ...]
    scale: tuple[float, ...]
    rounds: int
    separation: int
    participations: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """`of`, `count` times over, adaptively composed."""

    of: Event
    count: int

    def __post_init__(self) -> None:
        _need(isinstance(self.count, int) and self.count >= 0, "repeated", "count", self.count, "an integer ≥ 0")


@dataclass(frozen=True, slots=True)
class Composed:
    """All of `parts`, adaptively composed."""

    parts: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best of a random number of runs of `of` (Papernot and Steinke 2022, arXiv 2110.03620).

    The number of runs has this `mean` and is truncated negative binomial with `shape` η > −1 (0: logarithmic,
    1: geometric) or, for an infinite shape, Poisson.
    """

    of: Event
    mean: float
    shape: float


Event: TypeAlias = (
    Nothing
    | NonPrivate
    | Gaussian
    | Laplace
    | RandomizedResponse
    | DiscreteGaussian
    | Skellam
    | Poisson
    | TruncatedPoisson
    | FixedCohort
    | Tree
    | BandedMatrix
    | BufferedLinearToeplitz
    | Repeated
    | Composed
    | Tuned
)

NAMES: Mapping[str, type[Any]] = {
    "nothing": Nothing,
    "non-private": NonPrivate,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "randomized-response": RandomizedResponse,
    "discrete-gaussian": DiscreteGaussian,
    "skellam": Skellam,
    "poisson": Poisson,
    "truncated-poisson": TruncatedPoisson,
    "fixed-cohort": FixedCohort,
    "tree": Tree,
    "banded-matrix": BandedMatrix,
    "buffered-linear-toeplitz": BufferedLinearToeplitz,
    "repeated": Repeated,
    "composed": Composed,
    "tuned": Tuned,
}
_NAME_OF = {kind: name for name, kind in NAMES.items()}
_DEPTH = 16


def to_json(event: Event) -> dict[str, Any]:
    """Canonical JSON value of an event: `{"event": name, field: value, …}`, nested events in place."""
    row: dict[str, Any] = {"event": _NAME_OF[type(event)]}
    for field in dataclasses.fields(event):
        row[field.name] = _encode(getattr(event, field.name))
    return row


def _encode(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return to_json(value) if type(value) in _NAME_OF else value


def from_json(row: Any, depth: int = 0) -> Event:
    """The event that `to_json` wrote; raises `EventError` for an unknown name or field, or deep nesting."""
    if depth > _DEPTH:
        raise EventError(f"event nested deeper than {_DEPTH}; no pipeline writes that")
    if not isinstance(row, Mapping) or row.get("event") not in NAMES:
        found = row.get("event") if isinstance(row, Mapping) else row
        raise EventError(f"unknown event {found!r}; this version knows {', '.join(NAMES)}")
    kind = NAMES[row["event"]]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {key: value for key, value in row.items() if key != "event"}
    unknown = sorted(set(given) - set(fields))
    missing = sorted(
        name for name, field in fields.items() if name not in given and field.default is dataclasses.MISSING
    )
    if unknown or missing:
        raise EventError(f"event {row['event']!r}: unknown fields {unknown}, missing fields {missing}")
    try:
        event: Event = kind(**{key: _decode(value, depth) for key, value in given.items()})
    except TypeError as error:
        raise EventError(f"event {row['event']!r}: a field has the wrong type ({error})") from error
    return event


def _decode(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return from_json(value, depth + 1)
    if isinstance(value, list):
        return tuple(_decode(item, depth) for item in value)
    return value
