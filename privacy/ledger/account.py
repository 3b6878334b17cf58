"""Account: what the lines of a ledger add up to. A charge counts in full from its reservation on, whatever became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ..event import Composed, Event, Nothing, Repeated
from .allowance import Allowed
from .entry import Address, Anchored, Committed, Currency, Entry, EntryError, Heading, Reserved, Survived

_Sum = TypeVar("_Sum")


@dataclass(frozen=True, slots=True)
class Record:
    """One charge: its line, the digest of its reply, and who survived; None while that is not known."""

    number: int
    reserved: Reserved
    reply: str | None = None
    realised: Survived | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is allowed, and the number of the line that says so."""

    number: int
    allowed: Allowed


class Account:
    """The sum of a ledger, fed line by line in order.

    Open reservations count as spent: after a crash nobody knows whether the data was touched.
    """

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._numbers: dict[Address, int] = {}
        self._attempts: dict[tuple[str, int], set[int]] = {}
        self._counts: dict[tuple[str, str], dict[Currency, dict[Event, int]]] = {}  # by run and server
        self._extras: dict[tuple[str, str], dict[Currency, float]] = {}
        self._allowed: dict[str, list[Standing]] = {}
        self._renewals = 0

    def take(self, number: int, entry: Entry) -> None:
        """Add line `number`. Raises `EntryError`, and adds nothing, for a line that cannot follow the earlier ones."""
        match entry:
            case Heading():
                if number != 0:
                    raise EntryError(f"line {number} is a heading; only line 0 is one")
            case Allowed(run=run, replaces=replaces):
                before = self.standing(run)
                if replaces != (None if before is None else before.number):
                    raise EntryError(f"line {number} allows instead of line {replaces}, which does not stand")
                self._allowed.setdefault(run, []).append(Standing(number, entry))
            case Anchored():
                self._renewals += 1
            case Reserved(address):
                if address in self._numbers:
                    raise EntryError(f"line {number} charges {address} again")
                self._reserve(number, entry)
            case Committed(of, reply):
                record = self._records.get(of)
                if record is None or record.reply is not None:
                    raise EntryError(f"line {number} commits line {of}, which is no open charge")
                self._records[of] = replace(record, reply=reply)
            case Survived(of):
                record = self._records.get(of)
                if record is None or record.reply is None or record.realised is not None:
                    raise EntryError(f"line {number} says who survived line {of}, which is no committed charge without")
                self._records[of] = replace(record, realised=entry)

    def _reserve(self, number: int, entry: Reserved) -> None:
        address, price = entry.address, entry.price
        self._records[number] = Record(number, entry)
        self._numbers[address] = number
        self._attempts.setdefault((address.run, address.round), set()).add(address.attempt)
        where = address.run, entry.server
        events = self._counts.setdefault(where, {}).setdefault(price.currency, {})
        events[price.event] = events.get(price.event, 0) + 1
        extras = self._extras.setdefault(where, {})
        extras[price.currency] = extras.get(price.currency, 0.0) + price.delta_extra

    def record(self, number: int) -> Record | None:
        """The charge in line `number`."""
        return self._records.get(number)

    def find(self, address: Address) -> Record | None:
        """The charge of one attempt."""
        number = self._numbers.get(address)
        return None if number is None else self._records[number]

    def records(self, run: str | None = None) -> tuple[Record, ...]:
        """All charges, or those of one run, oldest first."""
        return tuple(each for each in self._records.values() if run is None or each.reserved.address.run == run)

    def attempts(self, run: str, round: int) -> int:
        """How many attempts of a round were charged."""
        return len(self._attempts.get((run, round), ()))

    def next_attempt(self, run: str, round: int) -> int:
        """The lowest attempt number of a round above all that were charged."""
        return max(self._attempts.get((run, round), {-1})) + 1

    @property
    def renewals(self) -> int:
        """How often somebody said that the anchor was lost and had it made anew."""
        return self._renewals

    @property
    def runs(self) -> tuple[str, ...]:
        """Every run that was charged, oldest first."""
        return tuple(dict.fromkeys(run for run, _ in self._counts))

    @property
    def servers(self) -> tuple[str, ...]:
        """Every server that a charge was made for, oldest first."""
        return tuple(dict.fromkeys(server for _, server in self._counts))

    def standing(self, run: str = "") -> Standing | None:
        """What may be spent of the asset, or, given a run, what that run alone may spend; None where nobody said."""
        return next(reversed(self._allowed.get(run, [])), None)

    def history(self, run: str = "") -> tuple[Standing, ...]:
        """All that was ever said of it, oldest first."""
        return tuple(self._allowed.get(run, ()))

    def currencies(self, run: str | None = None) -> frozenset[Currency]:
        """What anything was charged in; whoever budgets in one must refuse where others stand here."""
        return frozenset(currency for sums in _of(self._counts, run) for currency in sums)

    def events(self, currency: Currency, run: str | None = None, server: str | None = None) -> Mapping[Event, int]:
        """How often each event was charged in `currency`, over the asset's life, in one run, for one server."""
        total: dict[Event, int] = {}
        for sums in _of(self._counts, run, server):
            for event, count in sums.get(currency, {}).items():
                total[event] = total.get(event, 0) + count
        return total

    def event(self, currency: Currency, run: str | None = None, server: str | None = None) -> Event:
        """All of it as one event, for an accountant."""
        parts = tuple(Repeated(event, count) for event, count in self.events(currency, run, server).items())
        return Composed(parts) if parts else Nothing()

    def delta_extra(self, currency: Currency, run: str | None = None, server: str | None = None) -> float:
        """Total variation that the charges in `currency` add up to."""
        return sum(extras.get(currency, 0.0) for extras in _of(self._extras, run, server))


def _of(sums: Mapping[tuple[str, str], _Sum], run: str | None, server: str | None = None) -> list[_Sum]:
    if run is None and server is None:
        return list(sums.values())
    return [each for (of, by), each in sums.items() if run in (None, of) and server in (None, by)]
