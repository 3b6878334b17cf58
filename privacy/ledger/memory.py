"""Ledger: no aggregate is readable unpaid. This one lives in memory and is saved inside the checkpoint.

`open(release)` charges first and reveals then. What was charged is a list of entries that anyone can account again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..event import Event, from_json, to_json

if TYPE_CHECKING:  # the pipeline loads torch; whoever only reads a ledger does without
    from ..pipeline import Opened, Release


class BudgetError(RuntimeError):
    """The next release does not fit the budget; nothing was opened or charged."""


class Budget(Protocol):
    """Says what fits. Budgets are made by the accounting room and handed in."""

    def charge(self, event: Event) -> None:
        """Count one release of `event` as spent."""
        ...

    def affords(self, event: Event) -> bool:
        """Whether one more release of `event` stays within the budget."""
        ...


class Ledger(Protocol):
    """What every ledger does."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All charges of the run, oldest first."""
        ...

    def affords(self, event: Event) -> bool:
        """Whether a release of `event` could be opened now."""
        ...

    def open(self, release: Release) -> Opened:
        """Charge the release, then reveal it. Raises `BudgetError` and reveals nothing where it does not fit."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One charge."""

    round: int
    attempt: int
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The entry as a checkpoint holds it."""
        return {"round": self.round, "attempt": self.attempt, "event": to_json(self.event)}


def entry_from(row: Any) -> Entry:
    """The entry that `to_json` wrote; raises `EventError`, `KeyError` or `TypeError` for anything else."""
    return Entry(int(row["round"]), int(row["attempt"]), from_json(row["event"]))


class MemoryLedger:
    """Entries in memory under one budget."""

    def __init__(self, budget: Budget, entries: Iterable[Entry] = ()) -> None:
        self._budget = budget
        self._entries: list[Entry] = []
        for entry in entries:
            self._charge(entry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All charges, oldest first."""
        return tuple(self._entries)

    def affords(self, event: Event) -> bool:
        return self._budget.affords(event)

    def open(self, release: Release) -> Opened:
        if not self._budget.affords(release.event):
            raise BudgetError(
                f"round {release.round}: one more release exceeds the budget; raise budget.epsilon, add noise, or stop here"
            )
        self._charge(Entry(release.round, release.attempt, release.event))
        return release._reveal()

    def _charge(self, entry: Entry) -> None:
        self._budget.charge(entry.event)
        self._entries.append(entry)
