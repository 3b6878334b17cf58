"""Budget: the rounds of one schedule, fixed in advance, that its ledger may open; and not one more, and nothing else."""

from __future__ import annotations

from ..privacy.accounting.relation import AccountingError
from ..privacy.event import Event, Nothing
from ..privacy.ledger.memory import Budget
from .federation import Federation


class RoundBudget:
    """`rounds` releases of `event`.

    Sound because both were derived before the first round, from the schedule alone: where noise, rate or number of rounds
    could react to what was released, a filter (`privacy.accounting.spend.Filter`) would have to stand here.
    """

    def __init__(self, event: Event, rounds: int) -> None:
        self.event = event
        self.rounds = rounds
        self.charged = 0

    def affords(self, event: Event) -> bool:
        """Whether one more release fits; never for another event than the schedule's own."""
        return event == self.event and self.charged < self.rounds

    def charge(self, event: Event) -> None:
        """Count one release; raises `AccountingError` for an event that the schedule does not have."""
        if event != self.event:
            raise AccountingError(
                f"the ledger holds a release of {event}, this schedule releases {self.event}; it is another run's ledger: "
                f"start again without --resume"
            )
        self.charged += 1


class UpfrontBudget:
    """One `event` for a whole schedule of `rounds` releases: all of it for the first, nothing for the others."""

    def __init__(self, event: Event, rounds: int) -> None:
        self.event = event
        self.rounds = rounds
        self.charged = 0

    def affords(self, event: Event) -> bool:
        """Whether one more release fits: the first at the schedule's price, no other at any."""
        return event == self._next() and self.charged < self.rounds

    def charge(self, event: Event) -> None:
        """Count one release; raises `AccountingError` for a price out of turn."""
        if event != self._next():
            raise AccountingError(
                f"release {self.charged + 1} of this schedule costs {self._next()}, the ledger holds {event}; it is another "
                f"run's ledger: start again without --resume"
            )
        self.charged += 1

    def _next(self) -> Event:
        return Nothing() if self.charged else self.event


def budget_for(federation: Federation, rounds: int) -> Budget:
    """The budget of `rounds` rounds of this federation, as `affordable_rounds` found them."""
    event = federation.round_event(federation.pipeline)
    return UpfrontBudget(event, rounds) if federation.schedule.upfront else RoundBudget(event, rounds)
