"""Statement: what a ledger says was spent, worked out again from its lines.

| number     | is                                                                                                     |
|------------|--------------------------------------------------------------------------------------------------------|
| spent      | ε of everything that was charged, at the floor of each schedule, as if all of it had been fixed before |
| guaranteed | what is enforced, whatever servers and runs made of what came out (PRIVACY.md 14)                      |
| realised   | spent, by who really answered where that was noted, and at the floor where not; no guarantee           |

All of them are by the accountant of reports and certificates: one number for one thing, whoever is asked.
Only the second is a guarantee where anything reacted to what was released. Charges of different currencies never add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .accounting.accountant import epsilon_by_rdp
from .accounting.figures import epsilon_within
from .accounting.multiset import multiset
from .accounting.relation import AccountingError
from .event import Event, EventError, to_json
from .ledger.account import Account, Standing
from .ledger.allowance import Allowed, Limit, Scope
from .ledger.currency import Currency
from .ledger.entry import Reserved
from .ledger.reader import Book
from .ledger.realised import realised

USUAL = 1e-5  # δ where nobody has said one
_KEPT = 15 / 16  # of δ for the events; the rest is for what the noise's samplers err by
_POINTS, _FEWEST = 100, 12


@dataclass(frozen=True, slots=True)
class Sum:
    """What charges of one currency add up to; `open` of them without a known outcome, which count in full all the same.

    `epsilon` is at `delta`, ∞ where nothing is private or nothing can be said; `limit` is what was allowed. `realised` is ε
    by the survivors, where owners share the noise: of `known` charges these were noted, `unknown` ones count at the floor.
    """

    currency: Currency
    event: Event
    charges: int
    open: int
    epsilon: float
    delta: float
    limit: Limit | None
    since: int
    until: int
    realised: float
    known: int
    unknown: int

    @property
    def unsaid(self) -> bool:
        """Whether it matters who survived, and nothing is known of that."""
        return self.unknown > 0 and self.known == 0

    @property
    def over(self) -> bool:
        """Whether more was spent than was allowed."""
        return self.limit is not None and self.epsilon > self.limit.epsilon

    def to_json(self) -> dict[str, Any]:
        """The sum as `--json` shows it."""
        return {
            "unit": self.currency.unit, "relation": self.currency.relation, "observer": self.currency.observer.who,
            "colluders": self.currency.observer.colluders, "event": to_json(self.event), "charges": self.charges,
            "open": self.open, "spent": _plain(self.epsilon), "delta": self.delta,
            "guaranteed": None if self.limit is None else _plain(self.limit.epsilon),
            "realised": None if self.unsaid else _plain(self.realised), "survivors_known": self.known,
            "survivors_unknown": self.unknown, "rule": None if self.limit is None else self.limit.rule,
            "since": self.since, "until": self.until,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One run, or one server, or all of an asset: `name` is empty for all."""

    name: str
    sums: tuple[Sum, ...]

    def to_json(self) -> dict[str, Any]:
        """The part as `--json` shows it."""
        return {"name": self.name, "sums": [each.to_json() for each in self.sums]}


@dataclass(frozen=True, slots=True)
class Statement:
    """What the ledger in `book` says."""

    book: Book
    asset: Part
    servers: tuple[Part, ...]
    runs: tuple[Part, ...]

    @property
    def over(self) -> tuple[str, ...]:
        """In words, where more was spent than was allowed."""
        parts = [("the asset", self.asset), *((f"server {each.name[:16]}", each) for each in self.servers)]
        parts += [(f"run {each.name}", each) for each in self.runs]
        return tuple(
            f"{what}: ε = {each.epsilon:.4g} at δ = {each.delta:g}, allowed are {each.limit.epsilon:g}"
            for what, part in parts
            for each in part.sums
            if each.over and each.limit is not None
        )

    def to_json(self) -> dict[str, Any]:
        """The statement as `--json` shows it."""
        heading, head = self.book.heading, self.book.head
        return {
            "asset": heading.asset, "ledger": heading.identity, "key": heading.key, "lines": head.number + 1,
            "digest": head.digest.hex(), "total": self.asset.to_json()["sums"],
            "servers": [each.to_json() for each in self.servers], "runs": [each.to_json() for each in self.runs],
            "allowed": [_allowed_row(each) for each in self._allowances()],
        }  # fmt: skip

    def _allowances(self) -> Iterator[Standing]:
        account = self.book.account
        for run in ("", *account.runs):
            yield from account.history(run)


def statement(book: Book) -> Statement:
    """The statement of a ledger; nothing in it is taken from anywhere else."""
    account = book.account
    return Statement(
        book,
        Part("", _sums(account, "asset")),
        tuple(Part(each, _sums(account, "server", server=each)) for each in account.servers),
        tuple(Part(each, _sums(account, "run", run=each)) for each in account.runs),
    )


def spent(
    account: Account, currency: Currency, delta: float, run: str | None = None, server: str | None = None
) -> float:
    """ε of what was charged, by Rényi divergences: a cheap upper bound; ∞ where nothing can be said.

    The accounted law is (ε, δ')-private and the drawn one within η of it, that is (ε, δ' + (1 + e^ε)·η)-private.
    """
    if not account.events(currency, run, server):
        return 0.0
    event, extra = account.event(currency, run, server), account.delta_extra(currency, run, server)
    try:
        found = epsilon_by_rdp(multiset(event), currency.relation, delta * _KEPT)
    except (AccountingError, EventError):
        return math.inf
    beside = (1 + math.exp(min(found, 700.0))) * extra
    return found if beside <= delta * (1 - _KEPT) else math.inf


def spending(book: Book, currency: Currency, delta: float) -> tuple[tuple[int, int, float], ...]:
    """How ε grew: (charges, seconds since 1970, ε) after some of the asset's charges in `currency`, the last among them, and
    before any. Up to 100 of them; fewer, and 12 at least, the more kinds of events there are, which cost time each."""
    charges = [
        line for line in book.lines if isinstance(line.entry, Reserved) and line.entry.price.currency == currency
    ]
    if not charges:
        return ()
    count = max(_FEWEST, _POINTS // _kinds(book.account.event(currency)))
    wanted = {round(place * (len(charges) - 1) / (count - 1)) for place in range(count)}
    grown, points = Account(), [(0, charges[0].entry.time, 0.0)]
    for index, line in enumerate(charges):
        grown.take(line.number, line.entry)
        if index in wanted:
            found = _epsilon(grown.event(currency), currency, delta, grown.delta_extra(currency))
            points.append((index + 1, line.entry.time, found))
    return tuple(points)


def _kinds(event: Event) -> int:
    try:
        leaves = multiset(event)
    except (AccountingError, EventError):
        return 1
    return max(1, len(leaves.leaves))


def _epsilon(event: Event, currency: Currency, delta: float, extra: float) -> float:
    """ε as reports and certificates have it; ∞ where nothing can be said."""
    try:
        return epsilon_within(event, currency.relation, delta, extra)
    except (AccountingError, EventError):
        return math.inf


def _sums(account: Account, scope: Scope, run: str | None = None, server: str | None = None) -> tuple[Sum, ...]:
    found = [each for each in account.records(run) if server in (None, each.reserved.server)]
    sums = []
    for currency in dict.fromkeys(each.reserved.price.currency for each in found):
        mine = [each for each in found if each.reserved.price.currency == currency]
        allowed = _allowed(account, currency, run)
        delta, limit = (_delta(account, currency), None) if allowed is None else (allowed.delta, allowed.limit(scope))
        event, extra = account.event(currency, run, server), account.delta_extra(currency, run, server)
        epsilon, became = _epsilon(event, currency, delta, extra), realised(mine)
        by_survivors = min(_epsilon(became.event, currency, delta, extra), epsilon) if became.known else epsilon
        times = [each.reserved.time for each in mine]
        sums.append(
            Sum(
                currency, event, len(mine), sum(each.reply is None for each in mine), epsilon,
                delta, limit, min(times), max(times), by_survivors, became.known, became.unknown,
            )
        )  # fmt: skip
    return tuple(sums)


def _allowed(account: Account, currency: Currency, run: str | None) -> Allowed | None:
    """What stands for these charges: what was allowed the run by name, else the asset; in this currency only."""
    for name in dict.fromkeys((run or "", "")):
        standing = account.standing(name)
        if standing is not None and standing.allowed.currency == currency:
            return standing.allowed
    return None


def _delta(account: Account, currency: Currency) -> float:
    """The δ that all runs in `currency` agree on, where nothing was allowed for the whole; else the usual one."""
    charges = (each.reserved for each in account.records())
    runs = {each.address.run for each in charges if each.price.currency == currency}
    found = {_allowed(account, currency, run) for run in runs}
    deltas = {USUAL if each is None else each.delta for each in found}
    return deltas.pop() if len(deltas) == 1 else USUAL


def _allowed_row(standing: Standing) -> dict[str, Any]:
    allowed = standing.allowed
    limits = {each.scope: {"epsilon": _plain(each.epsilon), "rule": each.rule} for each in allowed.limits}
    return {
        "line": standing.number, "run": allowed.run, "by": allowed.by, "time": allowed.time, "delta": allowed.delta,
        "limits": limits, "replaces": allowed.replaces,
    }  # fmt: skip


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"
