"""Store: the durable ledger of one data asset, in one SQLite file.

    reserve (on disk) → touch data → commit (on disk) → only then let bytes leave

Every change is one transaction in a write-ahead log that is synced to the disk before the call returns. A reservation
reads what others wrote, lets the caller decide and writes, all under one lock: two processes cannot overspend together.
Opening checks every line of the chain, and its signature where the ledger has a key, and refuses what it cannot vouch for;
nothing is ever mended, skipped or made anew.

Order comes from the line numbers. Time is told by the clock that was handed in, is informative, and may go backwards.
An older copy of the whole file, or lines lost at the end with the `-wal` file, shows by the anchor (PRIVACY.md 22): with one,
each line is anchored before it counts as written, and opening refuses what the anchor contradicts (`anchor` has the proof).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..event import Event
from .account import Account, Record
from .allowance import Allowed
from .anchor import Anchor, AnchorFile, anchored
from .chain import Chain, Line, damaged, unknown
from .creation import Clock
from .creation import create as create
from .entry import Address, Anchored, Committed, Entry, EntryError, Heading, Price, Reserved, Survived
from .errors import (
    AssetError,
    CorruptError,
    LedgerError,
    ReadOnlyError,
    RollbackError,
    SignatureError,
    TakenError,
    VersionError,
    asking,
    code_of,
    fault_of,
)
from .layout import APPLICATION, INSERT, LINES, TABLE, VERSION, look, row_of
from .notice import Notice, held

Decide: TypeAlias = Callable[[Account], Price]
Step: TypeAlias = Callable[[str], None]


def _nowhere(step: str) -> None:
    return


class Store:
    """The ledger of `asset` at `path`, open for charges. Threads may share it; a forked process may not.

    | argument   | is                                                                                              |
    |------------|-------------------------------------------------------------------------------------------------|
    | `key`      | who signs: a ledger of another key, or of none, is refused; without it a signed one is read only |
    | `anchor`   | where the newest anchor lies (`create` made it); without it nobody notices an older ledger        |
    | `server`   | for whom charges are made: noted with each of them                                              |
    | `patience` | seconds to wait for another process's lock                                                      |
    | `step`     | called with the name of each step of a charge, before the next one: the place to stop a test    |
    """

    def __init__(
        self, path: Path, asset: str, clock: Clock = time.time, patience: float = 5.0, step: Step = _nowhere,
        key: Ed25519PrivateKey | None = None, anchor: Path | None = None, server: str = "",
    ) -> None:  # fmt: skip
        self.path = path
        self._key = key
        self._anchor = None if anchor is None else AnchorFile(anchor)
        self.server = server
        self._anchored = -1  # the anchor is at least as far
        self._clock = clock
        self._step = step
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._broken: LedgerError | None = None
        self._account = Account()
        self._chain = Chain(path, None if key is None else key.public_key())
        look(path)
        with self._translated():
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=patience, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
        try:
            with self._translated():
                self._verify(asset)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; every charge is on the disk already."""
        with self._lock:
            self._broken = self._broken or LedgerError(f"{self.path}: closed; open it again")
            if os.getpid() == self._process:  # closing it in a fork would drop the parent's locks
                self._connection.close()

    @property
    def head(self) -> tuple[int, bytes]:
        """Number and digest of the last line: what an anchor elsewhere keeps (PRIVACY.md 22)."""
        with self._reading():
            return self._chain.number, self._chain.digest

    @property
    def heading(self) -> Heading:
        """Whose ledger it is."""
        return self._heading()

    @property
    def key(self) -> Ed25519PublicKey | None:
        """Who signs it; None where nobody does."""
        named = self._heading().key
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(named)) if named else None

    def anchor(self) -> Anchor:
        """The newest line as a signed statement, for others to keep. Raises `LedgerError` without the key."""
        with self._reading():
            return self._statement()

    def notice(self, alias: str) -> Notice:
        """The newest line as a signed statement for somebody who is told `alias` only. Raises `LedgerError` without the key."""
        with self._reading():
            if self._key is None:
                raise LedgerError(f"{self.path}: opened without its key; open it with the key to have it anchored")
            number, digest, renewals = self._chain.number, self._chain.digest.hex(), self._account.renewals
            return Notice(alias, renewals, number, digest, int(self._clock())).signed(self._key)

    def confirm(self, where: str, notice: Notice) -> bool:
        """Whether a notice that this ledger's key has signed, kept by `where`, says anything of the ledger as it is.

        Raises `RollbackError` where it contradicts it: nothing is charged any more then.
        """
        with self._reading():
            return held(self.path, where, notice, self._account.renewals, self._chain.number, self._digest)

    def spent(self) -> Account:
        """What was charged so far, open reservations in full; the same object goes on growing."""
        with self._reading():
            return self._account

    def find(self, address: Address) -> Record | None:
        """The charge of one attempt, by whichever process."""
        with self._reading():
            return self._account.find(address)

    def record(self, number: int) -> Record | None:
        """The charge in line `number`."""
        with self._reading():
            return self._account.record(number)

    def reserve(self, address: Address, request: str, decide: Decide) -> int:
        """Charge one attempt what `decide` says, and return the number of its line once that is on the disk.

        `decide` sees everything charged so far, by other processes too, while nobody else can charge; what it raises goes
        through, and nothing is charged then. Raises `TakenError` for an attempt that was charged before. After any other
        error nothing was granted, though the charge may stand: do not touch the data.
        """
        with self._writing("reserve") as write:
            if self._account.find(address) is not None:
                raise TakenError(f"{address} was charged before; a second contribution needs a new attempt")
            return write(Reserved(address, request, decide(self._account), int(self._clock()), self.server))

    def commit(self, number: int, reply: str) -> None:
        """Note what the charge in line `number` led to; when this returns, the reply may leave. Twice is harmless."""
        with self._writing("commit") as write:
            record = self._account.record(number)
            if record is None:
                raise LedgerError(f"{self.path}: line {number} is no charge; commit what `reserve` returned")
            if record.reply is None:
                write(Committed(number, reply, int(self._clock())))
            elif record.reply != reply:
                raise LedgerError(f"{self.path}: line {number} has led to another reply; each charge pays for one")

    def survived(self, number: int, survivors: int, event: Event) -> None:
        """Note how many shared the noise of the committed charge in line `number`, and what that made of it.

        Changes nothing of what is charged. Said once: what was noted before stands.
        """
        with self._writing("survived") as write:
            record = self._account.record(number)
            if record is None or record.reply is None:
                raise LedgerError(f"{self.path}: line {number} is no committed charge; note survivors after `commit`")
            if record.realised is None:
                write(Survived(number, survivors, event, int(self._clock())))

    def allow(self, decide: Callable[[Account], Allowed | None]) -> int | None:
        """Note what `decide` says may be spent from now on; the number of its line, or None where it says nothing.

        As `reserve`: nobody else charges meanwhile, and what `decide` raises goes through.
        """
        with self._writing("allow") as write:
            allowed = decide(self._account)
            return None if allowed is None else write(allowed)

    def fold(self) -> None:
        """Bring the write-ahead log back into the file, as far as others that read let it: a copy of the file is whole then."""
        with self._reading():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def anchor_anew(self, anchor: Path, by: str) -> Anchor:
        """Make the anchor of a ledger that was opened without one, whatever lies there, and note that `by` had it done.

        What may have been lost before, nobody can know then; the line in the ledger says so for ever.
        """
        with self._writing("anchor") as write:
            write(Anchored(by, int(self._clock())))
        made = self.anchor()
        AnchorFile(anchor).create(made)
        return made

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, self._translated():
            self._usable()
            self._catch_up()
            yield

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Callable[[Entry], int]]:
        """A transaction, and what writes one line in it; the account moves on only when it is on the disk."""
        written: list[Line] = []

        def write(entry: Entry) -> int:
            line = self._chain.draft(entry, self._key)
            self._step(f"{name}: decided")
            self._connection.execute(INSERT, row_of(line))
            written.append(line)
            return line.number

        with self._lock, self._translated():
            self._usable()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._step(f"{name}: begun")
                self._catch_up()
                self._move_anchor()  # of a line by another process, or one whose anchor could not be written then
                self._step(f"{name}: caught up")
                yield write
                self._step(f"{name}: written")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            for line in written:
                self._account.take(line.number, line.entry)
                self._chain.advance(line)
            self._step(f"{name}: kept")
            self._move_anchor()
            self._step(f"{name}: done")

    def _catch_up(self) -> None:
        """Take the lines that came since, checking each."""
        for row in self._connection.execute(LINES, (self._chain.number,)):
            line = self._chain.read(row)
            try:
                self._account.take(line.number, line.entry)
            except EntryError as error:
                raise unknown(self.path, line.number, error) from error

    def _statement(self) -> Anchor:
        heading, now = self._heading(), int(self._clock())
        if self._key is None and heading.key:
            raise LedgerError(f"{self.path}: opened without its key; open it with the key to have it anchored")
        return anchored(heading.asset, heading.identity, self._chain.number, self._chain.digest, now, self._key)

    def _move_anchor(self) -> None:
        """Bring the anchor to the last line; after an error nothing is granted, and the next write begins here."""
        if self._anchor is not None and self._anchored < self._chain.number:
            anchor = self._statement()
            self._anchor.move(anchor, self._heading().key)
            self._anchored = anchor.number

    def _digest(self, number: int) -> bytes | None:
        row = self._connection.execute("SELECT digest FROM entries WHERE number = ?", (number,)).fetchone()
        return None if row is None else bytes(row[0])

    def _verify(self, asset: str) -> None:
        """Read everything once, and make sure that it can be written to."""
        connection = self._connection
        (kind,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if kind != APPLICATION:
            raise CorruptError(self._damaged("not a ledger"))
        if version != VERSION:
            raise VersionError(
                f"{self.path}: ledger version {version}, this program reads {VERSION}; use the version that wrote it; "
                f"{asking(self.path)}"
            )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # only macOS knows the difference
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ReadOnlyError(
                f"{self.path}: its disk allows no write-ahead log; put the ledger on a local disk; {asking(self.path)}"
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            schema = connection.execute("SELECT sql FROM sqlite_master").fetchall()
            if schema != [(TABLE,)]:
                raise CorruptError(self._damaged("its tables are not those of a ledger"))
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != ("ok",):
                raise CorruptError(self._damaged("the database contradicts itself"))
            self._catch_up()
            heading = self._heading()
            if self._anchor is not None:
                self._anchor.confirm(self.path, heading.key, self._chain.number, self._digest)
            if heading.asset != asset:
                raise AssetError(
                    f"{self.path}: the ledger of asset {heading.asset!r}, not of {asset!r}; give each asset its own; "
                    f"{asking(self.path)}"
                )
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        # Lines whose sync once failed may be in memory only: written again, into the file itself. While another process
        # reads, this does nothing; that process has synced its own.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if self._key is not None or not heading.key:
            self._move_anchor()

    def _heading(self) -> Heading:
        if self._chain.heading is None:
            raise CorruptError(self._damaged("it has no heading"))
        return self._chain.heading

    def _usable(self) -> None:
        if os.getpid() != self._process:
            raise LedgerError(f"{self.path}: opened by another process; open it again after a fork")
        if self._broken is not None:
            raise type(self._broken)(str(self._broken)) from self._broken

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the database's errors as those of a ledger. After a failed read or write nothing is trusted any more."""
        try:
            yield
        except sqlite3.Error as error:
            fault = fault_of(self.path, error)
            if isinstance(fault, CorruptError) or code_of(error) == sqlite3.SQLITE_IOERR:
                self._broken = fault
            raise fault from error
        except (CorruptError, RollbackError, SignatureError) as error:
            self._broken = error
            raise

    def _damaged(self, what: str) -> str:
        return damaged(self.path, what)
