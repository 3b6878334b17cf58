"""Anchors: how far owners' ledgers came, as the owners told the coordinator; kept in its registry (PRIVACY.md 22).

Of each ledger the newest notice, which only moves forward. Two signed notices of one line with two digests show that an owner
goes on with two ledgers: both are kept for the operator, and the one that was there stays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..privacy.ledger.notice import Notice, notice_from
from ..strategies.admission import AdmissionError
from .registry import Owner, Registry

log = logging.getLogger(__name__)

MOST = 256  # ledgers of one owner


@dataclass(frozen=True, slots=True)
class Fork:
    """Two notices of one line of one ledger of `owner`, with different digests; the first that were seen, at `seen`."""

    owner: str
    first: Notice
    second: Notice
    seen: float


def kept(registry: Registry, owner: Owner, asset: str) -> Notice | None:
    """The newest notice of the owner's ledger `asset`."""
    row = registry.one("SELECT notice FROM anchors WHERE owner = ? AND asset = ?", owner.number, asset)
    return None if row is None else notice_from(row[0])


def keep(registry: Registry, owner: Owner, notice: Notice, now: float) -> Notice | None:
    """Keep a notice that the owner has signed if it is newer; the newest that was kept before, or None.

    Raises `AdmissionError` for one ledger too many.
    """
    where, forked = (owner.number, notice.asset), False
    with registry.changing() as file:
        row = file.execute("SELECT notice FROM anchors WHERE owner = ? AND asset = ?", where).fetchone()
        before = None if row is None else notice_from(row[0])
        if before is None:
            (count,) = file.execute("SELECT COUNT(*) FROM anchors WHERE owner = ?", (owner.number,)).fetchone()
            if count >= MOST:
                raise AdmissionError(
                    f"anchors of {count} ledgers are kept for this owner, and no more; ask the operator"
                )
        if before is None or before.place < notice.place:
            file.execute("INSERT OR REPLACE INTO anchors VALUES (?, ?, ?)", (*where, notice.text()))
        elif before.place == notice.place and before.digest != notice.digest:
            values = (*where, before.text(), notice.text(), now)
            forked = file.execute("INSERT OR IGNORE INTO forks VALUES (?, ?, ?, ?, ?)", values).rowcount > 0
    if forked:
        log.error(
            "owner %s signed two different lines %d of one ledger: it goes on with two copies of it, one of them older; "
            "ask its administrator. `tacit server owners` shows it", owner.name, notice.number,
        )  # fmt: skip
    return before


def forks(registry: Registry) -> tuple[Fork, ...]:
    """All that was seen, oldest first."""
    query = "SELECT name, first, second, seen FROM forks JOIN owners ON owners.number = forks.owner ORDER BY seen, name, asset"
    return tuple(Fork(name, notice_from(a), notice_from(b), seen) for name, a, b, seen in registry.all(query))
