"""DurableLedger: the server's ledger of one run. A release is charged on the disk first, and revealed then."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ..event import Event, Nothing
from .account import Account
from .allowance import Allowed
from .entry import Address, Price
from .errors import AllowanceError
from .memory import Budget, BudgetError, Entry
from .store import Store

if TYPE_CHECKING:
    from ..pipeline import Opened, Release


class DurableLedger:
    """The charges of `run` in `store` under one budget, those of an earlier process included.

    `allowed` is what the run may cost, as the ledger notes it before the first charge; where it says something else already,
    that stands and this is refused with `AllowanceError`.

    `price` says in what the run's events are charged (its own event is not read); `config` is the SHA-256 of the
    configuration, in hexadecimal. A release of a round and attempt that were charged before is refused: it would be a
    second release at one price. A run that goes on after a crash asks `next_attempt`.

    Where the first release pays for a whole schedule, the others cost `Nothing`: one such release a round, once it is
    committed, and no other. One that was lost before (reserved, never committed) may be made anew, and does not count twice.
    """

    def __init__(
        self, store: Store, run: str, config: str, price: Price, budget: Budget, allowed: Allowed | None = None
    ) -> None:
        self._store = store
        self._run = run
        self._config = config
        self._price = price
        self._budget = budget
        if allowed is not None:
            _allow(store, replace(allowed, run=run))
        rounds: set[int] = set()
        for each in self._store.spent().records(self._run):
            event, round = each.reserved.price.event, each.reserved.address.round
            if not (isinstance(event, Nothing) and (each.reply is None or round in rounds)):
                budget.charge(event)
            rounds.add(round)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All charges of the run, oldest first."""
        charges = (each.reserved for each in self._store.spent().records(self._run))
        return tuple(Entry(each.address.round, each.address.attempt, each.price.event) for each in charges)

    def next_attempt(self, round: int) -> int:
        """The lowest attempt number of a round above all that were charged."""
        return self._store.spent().next_attempt(self._run, round)

    def affords(self, event: Event) -> bool:
        return self._budget.affords(event)

    def open(self, release: Release) -> Opened:
        """Charge durably, then reveal. Raises `BudgetError` or `LedgerError` and reveals nothing."""

        free, again = isinstance(release.event, Nothing), False

        def decide(account: Account) -> Price:
            nonlocal again
            before = [each for each in account.records(self._run) if each.reserved.address.round == release.round]
            again = free and bool(before)
            if again and any(each.reply is not None for each in before):
                raise BudgetError(
                    f"round {release.round} was released before, and the schedule pays for one release of it; start a new run"
                )
            if not again and not self._budget.affords(release.event):
                raise BudgetError(
                    f"round {release.round}: one more release exceeds the budget; raise budget.epsilon, add noise, or stop here"
                )
            return replace(self._price, event=release.event, delta_extra=0.0 if free else self._price.delta_extra)

        number = self._store.reserve(Address(self._run, release.round, release.attempt), self._config, decide)
        if not again:
            self._budget.charge(release.event)
        opened = release._reveal()
        self._store.commit(number, digest_of(opened))
        if release.outcome is not None:
            self._store.survived(number, release.outcome.survivors, release.outcome.event)
        return opened


def digest_of(opened: Opened) -> str:
    """What a charge is committed with: SHA-256 of the numbers that were revealed, hexadecimal."""
    return hashlib.sha256(opened.total.contiguous().numpy().tobytes()).hexdigest()


def _allow(store: Store, allowed: Allowed) -> None:
    def decide(account: Account) -> Allowed | None:
        standing = account.standing(allowed.run)
        if standing is None:
            return allowed
        if not standing.allowed.same(allowed):
            raise AllowanceError(
                f"{store.path}: line {standing.number} allows run {allowed.run} another budget; start a new run for this one"
            )
        return None

    store.allow(decide)
