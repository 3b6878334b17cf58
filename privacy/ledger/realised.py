"""Realised: what charges cost by who really answered, where that is known. No guarantee (PRIVACY.md 14).

Only noise that owners share gets more with every survivor above the schedule's floor; of all other noise a charge is what
came to pass. Nothing here changes what is charged: it is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..event import (
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Nothing,
    Poisson,
    Repeated,
    Skellam,
    TruncatedPoisson,
    Tuned,
)
from .account import Record


@dataclass(frozen=True, slots=True)
class Realised:
    """Some charges as one event: by their survivors where these are `known`, at the floor where they are not (`unknown`).

    Charges that do not depend on survivors are counted in neither.
    """

    event: Event
    known: int
    unknown: int


def realised(records: Iterable[Record]) -> Realised:
    """What became of `records`."""
    counts: dict[Event, int] = {}
    known = unknown = 0
    for each in records:
        event = each.reserved.price.event
        if each.realised is not None:
            event, known = each.realised.event, known + 1
        elif shared(event):
            unknown += 1
        counts[event] = counts.get(event, 0) + 1
    parts = tuple(Repeated(event, count) for event, count in counts.items())
    return Realised(Composed(parts) if parts else Nothing(), known, unknown)


def shared(event: Event) -> bool:
    """Whether `event` has noise that owners share, so that survivors matter."""
    match event:
        case Skellam() | DiscreteGaussian():
            return True
        case Composed(parts):
            return any(map(shared, parts))
        case Repeated(of, _) | Poisson(_, of) | FixedCohort(_, _, of) | TruncatedPoisson(_, _, _, of) | Tuned(of, _, _):
            return shared(of)
        case _:
            return False
