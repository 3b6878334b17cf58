"""Budget: the rounds of one schedule, fixed in advance, that its ledger may open; and not one more, and nothing else."""

from __future__ import annotations

from ..privacy.accounting.relation import AccountingError
from ..privacy.event import Event
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


def budget_for(federation: Federation, rounds: int) -> RoundBudget:
    """The budget of `rounds` rounds of this federation, as `affordable_rounds` found them."""
    return RoundBudget(federation.round_event(federation.pipeline), rounds)
