"""Heads: what the coordinator shows its owners of its own ledger, and what they show it of what it once was (PRIVACY.md 22).

The ledger is glanced at beside the process that writes it; whether its chain holds, that process says when it opens it. The
newest notice that any owner showed, signed by the coordinator's own key, is kept for it: an older ledger is refused by that.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..privacy.ledger.field import EntryError
from ..privacy.ledger.notice import Notice, notice_from
from ..privacy.ledger.store import Store
from ..strategies import keyfile
from ..strategies.heading import ASSET, Heads

_WHERE = "an owner's copy of the anchor"
_RENEWALS = 'SELECT COUNT(*) FROM entries WHERE number <= ? AND instr(CAST(body AS TEXT), \'"kind":"anchored"\') > 0'


@dataclass(frozen=True, slots=True)
class Desk:
    """The ledger at `ledger`, signed by `key`; what owners showed of it is kept at `shown`."""

    ledger: Path
    shown: Path
    key: Ed25519PrivateKey = field(repr=False)

    def heads(self, kept: Notice | None, now: float) -> Heads:
        """The newest line, and the one that has the number of `kept`, which an owner shows; none where there is no ledger."""
        self._note(kept)
        if not self.ledger.exists():
            return Heads(None, None)
        with _glance(self.ledger) as file:
            last = file.execute("SELECT number, digest FROM entries ORDER BY number DESC LIMIT 1").fetchone()
            same = None
            if kept is not None:
                same = file.execute("SELECT number, digest FROM entries WHERE number = ?", (kept.number,)).fetchone()
            return Heads(*(self._notice(file, row, now) for row in (last, same)))

    def _notice(self, file: sqlite3.Connection, row: tuple[int, bytes] | None, now: float) -> Notice | None:
        if row is None:
            return None
        (renewals,) = file.execute(_RENEWALS, (row[0],)).fetchone()
        return Notice(ASSET, renewals, row[0], bytes(row[1]).hex(), int(now)).signed(self.key)

    def _note(self, kept: Notice | None) -> None:
        """Keep what an owner shows, if it is this key's and newer than what is kept."""
        public = self.key.public_key()
        if kept is None or kept.asset != ASSET or not kept.signed_by(public):
            return
        known = shown_in(self.shown, public)
        if known is None or known.place < kept.place:
            keyfile.folder(self.shown.parent)
            keyfile.replace(self.shown, kept.text().encode())


def shown_in(path: Path, key: Ed25519PublicKey) -> Notice | None:
    """The newest notice that owners showed; None where there is none that `key` has signed."""
    try:
        found = notice_from(path.read_text(encoding="utf-8"))
    except (OSError, EntryError, UnicodeDecodeError):
        return None
    return found if found.asset == ASSET and found.signed_by(key) else None


def confirm(store: Store, path: Path, key: Ed25519PublicKey) -> None:
    """Hold the coordinator's ledger against what owners showed. Raises `RollbackError`; nothing is charged any more then."""
    found = shown_in(path, key)
    if found is not None:
        store.confirm(_WHERE, found)


@contextlib.contextmanager
def _glance(path: Path) -> Iterator[sqlite3.Connection]:
    # As `ledger.reader`: nobody has it open where there is no log beside it.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    with contextlib.closing(
        sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=5.0, isolation_level=None)
    ) as file:
        file.execute("PRAGMA trusted_schema = OFF")
        file.execute("BEGIN")
        yield file
