"""Correlated noise over rounds: schedules of tree, banded and BLT matrix mechanisms, forecast as a whole.

The noise of all rounds belongs to one event, charged up front: stopping early gives nothing back. The curve of such a
forecast shows what shorter schedules of the same kind would cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

from ..correlation import square_root as first_coefficients
from ..event import BandedMatrix, BufferedLinearToeplitz, Event, EventError, Repeated, Tree
from ..signal import Relation, Unit
from . import calibrate
from .plan import Forecast, forecast
from .relation import AccountingError

Correlation: TypeAlias = Literal["tree", "banded", "blt"]


def square_root(bands: int) -> tuple[float, ...]:
    """The first `bands` coefficients of (1 − x)^(−½): c₀ = 1, cₖ = cₖ₋₁ · (2k − 1) / 2k.

    The square root of the matrix of prefix sums (Fichtenberger, Henzinger, Upadhyay 2023, arXiv 2202.11205), cut to its
    first bands (Kalinin and Lampert 2024, arXiv 2405.13763); they are positive and fall, so its sensitivity is exact.
    """
    if bands < 1:
        raise AccountingError(f"bands = {bands}; give at least 1 (1 is plain, uncorrelated noise)")
    return first_coefficients(bands)


def plan_correlated(
    correlation: Correlation,
    *,
    rounds: int,
    delta: float,
    noise_multiplier: float | None = None,
    target_epsilon: float | None = None,
    separation: int | None = None,
    participations: int | None = None,
    bands: int | None = None,
    decay: tuple[float, ...] = (),
    scale: tuple[float, ...] = (),
    relation: Relation = "add-remove",
    unit: Unit = "owner",
) -> Forecast:
    """The forecast of `rounds` rounds under correlated noise: exactly one of noise and target is given.

    A unit is in at most `participations` rounds, any two at least `separation` apart (defaults: 1 round, or as many as the
    separation allows); owners enforce both. A tree restarts after every `separation` rounds and holds a unit once each.
    """
    if (noise_multiplier is None) == (target_epsilon is None):
        raise AccountingError("give either a noise multiplier or a target epsilon, and not both")
    gap = rounds if separation is None else separation
    if rounds < 1 or not 1 <= gap <= rounds:
        raise AccountingError(f"separation = {gap} of {rounds} rounds; give a number of rounds from 1 to {rounds}")
    times = math.ceil(rounds / gap) if participations is None else participations
    if not 1 <= times <= math.ceil(rounds / gap):
        raise AccountingError(
            f"participations = {times}; {rounds} rounds, {gap} apart, hold 1 to {math.ceil(rounds / gap)} of them"
        )
    make = _maker(correlation, gap, times, bands, decay, scale)

    def of(noise: float) -> Callable[[int], Event]:
        return lambda count: make(noise, count)

    try:
        if noise_multiplier is None:
            target = math.nan if target_epsilon is None else target_epsilon
            noise_multiplier = calibrate.noise_multiplier(lambda noise: make(noise, rounds), relation, delta, target)
        event = of(float(noise_multiplier))
        return forecast(event, event, rounds, relation, delta, unit, float(noise_multiplier))
    except EventError as error:
        raise AccountingError(str(error)) from error


def _maker(
    correlation: Correlation,
    gap: int,
    times: int,
    bands: int | None,
    decay: tuple[float, ...],
    scale: tuple[float, ...],
) -> Callable[[float, int], Event]:
    if correlation == "tree":
        _refuse("tree", bands=bands, decay=decay or None, scale=scale or None)
        return lambda noise, count: Repeated(Tree(noise, min(gap, count)), min(times, math.ceil(count / gap)))
    if correlation == "banded":
        _refuse("banded", decay=decay or None, scale=scale or None)
        column = square_root(gap if bands is None else bands)
        return lambda noise, count: BandedMatrix(noise, column, count, min(gap, count), times)
    if correlation == "blt":
        _refuse("blt", bands=bands)
        if not decay or len(decay) != len(scale):
            raise AccountingError(
                f"blt: {len(decay)} decays and {len(scale)} scales; give at least one pair, as many of one as of the other"
            )
        return lambda noise, count: BufferedLinearToeplitz(noise, decay, scale, count, min(gap, count), times)
    raise AccountingError(f"correlation = {correlation!r} is unknown; use tree, banded or blt")


def _refuse(correlation: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise AccountingError(f"{name} = {value!r} means nothing with correlation = {correlation}; leave it out")
