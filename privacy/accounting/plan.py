"""A forecast: what a schedule will cost, before any data is touched. Behind `tacit plan`.

A schedule is a function from a number of rounds to an event, so that a configuration's Schedule and plain numbers
take the same path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from ..event import Event, FixedCohort, Gaussian, Poisson, Repeated
from ..signal import Relation, Unit
from . import calibrate, loss
from .accountant import Accountant, account, epsilon_of
from .multiset import multiset
from .relation import AccountingError, checked_delta, checked_relation
from .risk import Risk, risk

Sampling: TypeAlias = Literal["none", "poisson", "fixed"]
OfRounds: TypeAlias = Callable[[int], Event]
_POINTS = 20


@dataclass(frozen=True, slots=True)
class Forecast:
    """What `rounds` rounds cost one `unit` under `relation` at `delta`.

    `epsilon` is `epsilon_upper`, the upper end where only an interval is known; `epsilon_unamplified` is for whoever
    knows each draw; `curve` holds (rounds, ε); `noise_multiplier` is `None` where the event has no single one.
    """

    epsilon: float
    epsilon_rdp: float
    epsilon_lower: float
    epsilon_upper: float
    epsilon_unamplified: float
    noise_multiplier: float | None
    delta: float
    relation: Relation
    unit: Unit
    rounds: int
    accountant: Accountant
    curve: tuple[tuple[int, float], ...]
    risk: Risk

    def to_json(self) -> dict[str, Any]:
        """The object that `tacit plan --json` prints; an infinite ε is the string "inf", which JSON cannot say."""
        return {
            "epsilon": _number(self.epsilon),
            "epsilon_rdp": _number(self.epsilon_rdp),
            "epsilon_lower": _number(self.epsilon_lower),
            "epsilon_upper": _number(self.epsilon_upper),
            "epsilon_unamplified": _number(self.epsilon_unamplified),
            "noise_multiplier": self.noise_multiplier,
            "delta": self.delta,
            "relation": self.relation,
            "unit": self.unit,
            "rounds": self.rounds,
            "accountant": self.accountant,
            "curve": [{"rounds": rounds, "epsilon": _number(value)} for rounds, value in self.curve],
            "risk": self.risk.to_json(),
        }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"


def forecast(
    event: OfRounds,
    unamplified: OfRounds,
    rounds: int,
    relation: Relation,
    delta: float,
    unit: Unit,
    noise_multiplier: float | None = None,
) -> Forecast:
    """The forecast of the schedule `event(rounds)`; `unamplified` is the same as its draws' knower sees it."""
    relation, delta = checked_relation(relation), checked_delta(delta)
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
        raise AccountingError(f"rounds = {rounds!r}; it must be an integer of at least 0")
    whole = account(event(rounds), relation, delta)
    plain = whole if unamplified is event else account(unamplified(rounds), relation, delta)
    curve = [
        (count, min(epsilon_of(multiset(event(count)), relation, delta, loss.COARSE), whole.epsilon))
        for count in _points(rounds)
    ]
    # Coarse points lie up to 1e-3 above the fine ones; rounding must not bend a curve that only rises.
    risen = accumulate((value for _, value in curve), max)
    return Forecast(
        whole.epsilon,
        whole.epsilon_rdp,
        whole.lower,
        whole.upper,
        plain.epsilon,
        noise_multiplier,
        delta,
        relation,
        unit,
        rounds,
        whole.accountant,
        (*((count, value) for (count, _), value in zip(curve, risen, strict=True)), (rounds, whole.epsilon)),
        risk(event(rounds), relation),
    )


def _points(rounds: int) -> list[int]:
    """About 20 numbers of rounds up to `rounds`, which itself is left out."""
    return (
        sorted({max(1, round(rounds * step / _POINTS)) for step in range(1, _POINTS)} - {rounds}) if rounds > 1 else []
    )


def plan(
    *,
    rounds: int,
    delta: float,
    noise_multiplier: float | None = None,
    target_epsilon: float | None = None,
    sampling: Sampling = "none",
    rate: float | None = None,
    cohort: int | None = None,
    population: int | None = None,
    relation: Relation | None = None,
    unit: Unit = "owner",
) -> Forecast:
    """The forecast of `rounds` Gaussian releases from numbers alone: exactly one of noise and target is given.

    `relation` defaults to add-remove, to replace-one for fixed cohorts (nothing else is amplified there).
    """
    chosen: Relation = relation or ("replace-one" if sampling == "fixed" else "add-remove")
    sampled = _sampled(sampling, rate, cohort, population)

    def of(noise: float) -> OfRounds:
        return lambda count: Repeated(sampled(Gaussian(noise)), count)

    if (noise_multiplier is None) == (target_epsilon is None):
        raise AccountingError("give either a noise multiplier or a target epsilon, and not both")
    if noise_multiplier is None:
        target = float("nan") if target_epsilon is None else target_epsilon
        noise_multiplier = calibrate.noise_multiplier(lambda noise: of(noise)(rounds), chosen, delta, target)
    noise = float(noise_multiplier)
    amplified = of(noise)
    plain: OfRounds = amplified if sampling == "none" else lambda count: Repeated(Gaussian(noise), count)
    return forecast(amplified, plain, rounds, chosen, delta, unit, noise)


def _sampled(
    sampling: Sampling, rate: float | None, cohort: int | None, population: int | None
) -> Callable[[Event], Event]:
    if sampling == "none":
        _refuse_given("none", rate=rate, cohort=cohort)
        return lambda event: event
    if sampling == "poisson":
        if rate is None and cohort is not None and population is not None:
            rate = cohort / population
        if rate is None:
            raise AccountingError("Poisson sampling needs a rate (or a cohort's mean size and the population)")
        given = rate
        return lambda event: Poisson(given, event)
    if sampling == "fixed":
        _refuse_given("fixed", rate=rate)
        if cohort is None or population is None:
            raise AccountingError("a fixed cohort needs its size and the population: cohort of population")
        size, whole = cohort, population
        return lambda event: FixedCohort(size, whole, event)
    raise AccountingError(f"sampling = {sampling!r} is unknown; use none, poisson or fixed")


def _refuse_given(sampling: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise AccountingError(f"{name} = {value!r} means nothing with sampling = {sampling}; leave it out")
