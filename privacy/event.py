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
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

_LARGEST = sys.float_info.max
_LARGEST_COUNT = 2**53  # beyond it a count is no longer exact in float64


class EventError(ValueError):
    """An event's parameters are impossible, or its JSON is not of this schema."""


def _need(holds: bool, event: str, field: str, found: object, want: str) -> None:
    if not holds:
        raise EventError(f"{event}: {field} = {_shown(found)}; it must be {want}")


def _shown(value: object) -> str:
    """A value in an error message: bounded, whatever a hostile message put there (Python refuses to print huge ints)."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str | int | float | None) or (isinstance(value, tuple) and len(value) < 8):
        return repr(value)[:80] if not isinstance(value, tuple) else f"({', '.join(_shown(item) for item in value)})"
    return f"a {type(value).__name__}"


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nonnegative(value: object) -> TypeGuard[float]:
    """A finite float64 of at least 0: integers beyond float64 would overflow inside an accountant."""
    return _real(value) and 0 <= value <= _LARGEST


def _natural(value: object, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST_COUNT


def _need_noise(value: object, event: str) -> None:
    _need(_nonnegative(value), event, "noise_multiplier", value, "a finite number of at least 0")


def _need_rate(value: object, event: str) -> None:
    _need(_real(value) and 0 <= value <= 1, event, "rate", value, "in [0, 1]")


def _need_cohort(value: int, population: int, event: str, field: str) -> None:
    _need(_natural(population, 1), event, "population", population, "an integer of at least 1")
    _need(_natural(value, 1) and value <= population, event, field, value, f"an integer in 1..{population}")


def _need_reals(values: object, event: str, field: str) -> None:
    holds = isinstance(values, tuple) and all(_real(value) and abs(value) <= _LARGEST for value in values)
    _need(holds, event, field, values, "a tuple of finite numbers")


def _need_participation(schedule: BandedMatrix | BufferedLinearToeplitz, event: str) -> None:
    for field in ("rounds", "separation", "participations"):
        value = getattr(schedule, field)
        _need(_natural(value, 1), event, field, value, "an integer of at least 1")


def _need_event(of: object, event: str, field: str = "of") -> None:
    _need(type(of) in _NAME_OF, event, field, of, "an event")


@dataclass(frozen=True, slots=True)
class Nothing:
    """No data was touched: costs nothing."""


@dataclass(frozen=True, slots=True)
class NonPrivate:
    """Something readable left without noise: ε = ∞, δ = 1."""

    reason: str = "no noise was added"

    def __post_init__(self) -> None:
        _need(isinstance(self.reason, str), "non-private", "reason", self.reason, "a sentence")


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian mechanism, x + N(0, (noise_multiplier · C)² I) with ‖x‖₂ ≤ C per unit; continuous or fine-lattice."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _need_noise(self.noise_multiplier, "gaussian")


@dataclass(frozen=True, slots=True)
class Laplace:
    """Laplace mechanism with scale = noise_multiplier · (L1 norm of one unit's contribution)."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _need_noise(self.noise_multiplier, "laplace")


@dataclass(frozen=True, slots=True)
class RandomizedResponse:
    """k-ary randomised response: with probability `noise` a uniform bucket out of `buckets`, else the true one."""

    noise: float
    buckets: int = 2

    def __post_init__(self) -> None:
        _need(_real(self.noise) and 0 <= self.noise <= 1, "randomized-response", "noise", self.noise, "in [0, 1]")
        _need(_natural(self.buckets, 1), "randomized-response", "buckets", self.buckets, "an integer of at least 1")


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
        _need(
            _nonnegative(self.variance), "discrete-gaussian", "variance", self.variance, "a finite number of at least 0"
        )
        _need(_nonnegative(self.l2), "discrete-gaussian", "l2", self.l2, "a finite number of at least 0")
        _need(_nonnegative(self.l1), "discrete-gaussian", "l1", self.l1, "a finite number of at least 0")
        _need(_natural(self.dim, 1), "discrete-gaussian", "dim", self.dim, "an integer of at least 1")
        _need(_natural(self.shares, 1), "discrete-gaussian", "shares", self.shares, "an integer of at least 1")


@dataclass(frozen=True, slots=True)
class Skellam:
    """Skellam noise of total central variance `variance` on an integer contribution (Agarwal, Kairouz, Liu 2021)."""

    variance: float
    l2: float
    l1: float

    def __post_init__(self) -> None:
        _need(_nonnegative(self.variance), "skellam", "variance", self.variance, "a finite number of at least 0")
        _need(_nonnegative(self.l2), "skellam", "l2", self.l2, "a finite number of at least 0")
        _need(_nonnegative(self.l1), "skellam", "l1", self.l1, "a finite number of at least 0")


@dataclass(frozen=True, slots=True)
class Poisson:
    """`of`, run on a subset that holds each unit independently with probability `rate`, drawn in secret."""

    rate: float
    of: Event

    def __post_init__(self) -> None:
        _need_rate(self.rate, "poisson")
        _need_event(self.of, "poisson")


@dataclass(frozen=True, slots=True)
class TruncatedPoisson:
    """Poisson sampling of `population` units, the draw cut to a random subset of at most `cap` (arXiv 2508.15089)."""

    rate: float
    cap: int
    population: int
    of: Gaussian

    def __post_init__(self) -> None:
        _need_rate(self.rate, "truncated-poisson")
        _need_cohort(self.cap, self.population, "truncated-poisson", "cap")
        _need(type(self.of) is Gaussian, "truncated-poisson", "of", self.of, "a gaussian event")


@dataclass(frozen=True, slots=True)
class FixedCohort:
    """`of`, run on `cohort` of `population` units, drawn uniformly without replacement, in secret."""

    cohort: int
    population: int
    of: Event

    def __post_init__(self) -> None:
        _need_cohort(self.cohort, self.population, "fixed-cohort", "cohort")
        _need_event(self.of, "fixed-cohort")


@dataclass(frozen=True, slots=True)
class Tree:
    """Binary-tree aggregation of `steps` sums, noise per node, each unit in at most one step (Honaker 2015)."""

    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        _need_noise(self.noise_multiplier, "tree")
        _need(_natural(self.steps, 1), "tree", "steps", self.steps, "an integer of at least 1")


@dataclass(frozen=True, slots=True)
class BandedMatrix:
    """Correlated noise C⁻¹z over `rounds` rounds with a lower-triangular Toeplitz C of `coefficients` (first column).

    A unit takes part at most `participations` times, at least `separation` rounds apart; the owner enforces both.
    One event for the whole schedule (Choquette-Choo et al. 2023, arXiv 2306.08153). Coefficients beyond the last
    one given are 0; the first is positive, because C must be invertible.
    """

    noise_multiplier: float
    coefficients: tuple[float, ...]
    rounds: int
    separation: int
    participations: int

    def __post_init__(self) -> None:
        _need_noise(self.noise_multiplier, "banded-matrix")
        _need_reals(self.coefficients, "banded-matrix", "coefficients")
        _need(len(self.coefficients) > 0 and self.coefficients[0] > 0, "banded-matrix", "coefficients",
              self.coefficients, "at least one number, the first of them positive")  # fmt: skip
        _need_participation(self, "banded-matrix")


@dataclass(frozen=True, slots=True)
class BufferedLinearToeplitz:
    """Correlated noise with a BLT matrix: c₀ = 1, cₜ = Σ scale·decay^(t−1) (McMahan et al. 2024, arXiv 2408.08868)."""

    noise_multiplier: float
    decay: tuple[float, ...]
    scale: tuple[float, ...]
    rounds: int
    separation: int
    participations: int

    def __post_init__(self) -> None:
        _need_noise(self.noise_multiplier, "buffered-linear-toeplitz")
        _need_reals(self.decay, "buffered-linear-toeplitz", "decay")
        _need_reals(self.scale, "buffered-linear-toeplitz", "scale")
        _need(all(0 <= value <= 1 for value in self.decay), "buffered-linear-toeplitz", "decay", self.decay,
              "numbers in [0, 1]")  # fmt: skip
        _need(len(self.scale) == len(self.decay), "buffered-linear-toeplitz", "scale", self.scale,
              f"as many numbers as decay ({len(self.decay)})")  # fmt: skip
        _need_participation(self, "buffered-linear-toeplitz")


@dataclass(frozen=True, slots=True)
class Repeated:
    """`of`, `count` times over, adaptively composed."""

    of: Event
    count: int

    def __post_init__(self) -> None:
        _need_event(self.of, "repeated")
        _need(_natural(self.count, 0), "repeated", "count", self.count, "an integer of at least 0")


@dataclass(frozen=True, slots=True)
class Composed:
    """All of `parts`, adaptively composed."""

    parts: tuple[Event, ...]

    def __post_init__(self) -> None:
        _need(isinstance(self.parts, tuple), "composed", "parts", self.parts, "a tuple of events")
        for part in self.parts:
            _need_event(part, "composed", "parts")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best of a random number of runs of `of` (Papernot and Steinke 2022, arXiv 2110.03620).

    The number of runs has this `mean` and is truncated negative binomial with `shape` η > −1 (0: logarithmic,
    1: geometric) or, for an infinite shape, Poisson.
    """

    of: Event
    mean: float
    shape: float

    def __post_init__(self) -> None:
        _need_event(self.of, "tuned")
        _need(_real(self.shape) and self.shape > -1, "tuned", "shape", self.shape, "a number above -1, or inf")
        # A truncated negative binomial number of runs is at least 1, so its mean is too.
        least = 0.0 if self.shape == math.inf else 1.0
        _need(_nonnegative(self.mean) and self.mean >= least and self.mean > 0, "tuned", "mean", self.mean,
              f"a finite number of at least {least:g} and above 0")  # fmt: skip


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
_INFINITY = "inf"


def to_json(event: Event) -> dict[str, Any]:
    """Canonical JSON value of an event: `{"event": name, field: value, …}`, nested events in place.

    >>> to_json(Poisson(0.5, Gaussian(3.74)))
    {'event': 'poisson', 'rate': 0.5, 'of': {'event': 'gaussian', 'noise_multiplier': 3.74}}
    """
    row: dict[str, Any] = {"event": _NAME_OF[type(event)]}
    for field in dataclasses.fields(event):
        row[field.name] = _encode(getattr(event, field.name))
    return row


def _encode(value: Any) -> Any:
    if value == math.inf:
        return _INFINITY  # JSON has no infinity; only the shape of `Tuned` may be infinite
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return to_json(value) if type(value) in _NAME_OF else value


def from_json(row: Any, depth: int = 0) -> Event:
    """The event that `to_json` wrote; raises `EventError`, and nothing else, for whatever it did not write."""
    if depth > _DEPTH:
        raise EventError(f"event nested deeper than {_DEPTH}; no pipeline writes that")
    name = row.get("event") if isinstance(row, Mapping) else row
    if not isinstance(row, Mapping) or not isinstance(name, str) or name not in NAMES:
        raise EventError(f"unknown event {_shown(name)}; known to this version: {', '.join(NAMES)}")
    kind = NAMES[name]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {key: value for key, value in row.items() if key != "event"}
    unknown = sorted(_shown(key) for key in set(given) - set(fields))
    missing = sorted(
        name for name, field in fields.items() if name not in given and field.default is dataclasses.MISSING
    )
    if unknown or missing:
        raise EventError(f"event {name!r}: unknown fields {unknown}, missing fields {missing}")
    if name == "tuned" and given["shape"] == _INFINITY:
        given["shape"] = math.inf
    event: Event = kind(**{key: _decode(value, depth) for key, value in given.items()})
    return event


def _decode(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return from_json(value, depth + 1)
    if isinstance(value, list):
        if depth > _DEPTH:
            raise EventError(f"event nested deeper than {_DEPTH}; no pipeline writes that")
        return tuple(_decode(item, depth + 1) for item in value)
    return value
