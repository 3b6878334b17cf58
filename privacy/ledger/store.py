"""Store: the durable ledger of one data asset, in one SQLite file.

    reserve (on disk) → touch data → commit (on disk) → only then let bytes leave

Every change is one transaction in a write-ahead log that is synced to the disk before the call returns. A reservation
reads what others wrote, lets the caller decide and writes, all under one lock: two processes cannot overspend together.
Opening checks every line of the chain and refuses what it cannot vouch for; nothing is ever mended, skipped or made anew.

Order comes from the line numbers. Time is told by the clock that was handed in, is informative, and may go backwards.
Not detected here: an older copy of the whole file, or lines lost at the end with the `-wal` file (PRIVACY.md 22); `head`
is what an anchor elsewhere would keep.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeAlias

from .account import Account, Record
from .entry import START, Address, Committed, Entry, EntryError, Heading, Price, Reserved, body_of, chained, entry_from
from .errors import (
    AssetError,
    CorruptError,
    DiskError,
    LedgerError,
    MissingError,
    ReadOnlyError,
    TakenError,
    VersionError,
    code_of,
    fault_of,
)

VERSION = 1
_APPLICATION = 0x54_43_4C_31  # "TCL1"
_TABLE = "CREATE TABLE entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL, signature BLOB)"
_INSERT = "INSERT INTO entries (number, body, digest) VALUES (?, ?, ?)"

Clock: TypeAlias = Callable[[], float]
Decide: TypeAlias = Callable[[Account], Price]
Step: TypeAlias = Callable[[str], None]


def create(path: Path, asset: str, clock: Clock = time.time) -> None:
    """Make the empty ledger of `asset` at `path`, readable by its owner only: whole or not at all.

    Raises `LedgerError` where anything stands there already: a ledger is never made anew over an old one.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    body = body_of(Heading(asset, secrets.token_hex(16), int(clock())))
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with contextlib.closing(sqlite3.connect(beside, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(_INSERT, (0, body, chained(START, 0, body)))
            connection.execute("COMMIT")
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.link(beside, path)  # unlike a rename, it never replaces what is there
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise LedgerError(f"{path}: something is there already; open it, or give another place") from error
    except sqlite3.Error as error:
        raise fault_of(path, error) from error
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be made ({error.strerror or error}); choose a place that can be written"
        ) from error
    finally:
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{beside}{tail}").unlink(missing_ok=True)


def _nowhere(step: str) -> None:
    return


class Store:
    """The ledger of `asset` at `path`, open for charges. Threads may share it; a forked process may not.

    `patience`: seconds to wait for another process's lock. `step` is called with the name of each step of a charge, before
    the next one: the place to stop a process in a test.
    """

    def __init__(
        self, path: Path, asset: str, clock: Clock = time.time, patience: float = 5.0, step: Step = _nowhere
    ) -> None:
        self.path = path
        self._clock = clock
        self._step = step
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._broken: LedgerError | None = None
        self._account = Account()
        self._number = -1
        self._digest = START
        _look(path)
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
            return self._number, self._digest

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
            return write(Reserved(address, request, decide(self._account), int(self._clock())))

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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, self._translated():
            self._usable()
            self._catch_up()
            yield

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Callable[[Entry], int]]:
        """A transaction, and what writes one line in it; the account moves on only when it is on the disk."""
        written: list[tuple[int, bytes, Entry]] = []

        def write(entry: Entry) -> int:
            number, body = self._number + 1, body_of(entry)
            digest = chained(self._digest, number, body)
            self._step(f"{name}: decided")
            self._connection.execute(_INSERT, (number, body, digest))
            written.append((number, digest, entry))
            return number

        with self._lock, self._translated():
            self._usable()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._step(f"{name}: begun")
                self._catch_up()
                yield write
                self._step(f"{name}: written")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            for number, digest, entry in written:
                self._account.take(number, entry)
                self._number, self._digest = number, digest
            self._step(f"{name}: done")

    def _catch_up(self) -> None:
        """Take the lines that came since, checking each."""
        rows = self._connection.execute(
            "SELECT number, body, digest FROM entries WHERE number > ? ORDER BY number", (self._number,)
        )
        for number, body, digest in rows:
            if number != self._number + 1:
                raise CorruptError(self._damaged(f"line {number} follows line {self._number}"))
            if not isinstance(body, bytes) or digest != chained(self._digest, number, body):
                raise CorruptError(self._damaged(f"line {number} does not continue the chain"))
            try:
                entry = entry_from(body)
                self._account.take(number, entry)
            except EntryError as error:
                raise VersionError(
                    f"{self.path}: line {number}: {error}; go on with the version that wrote it"
                ) from error
            self._number, self._digest = number, digest

    def _verify(self, asset: str) -> None:
        """Read everything once, and make sure that it can be written to."""
        connection = self._connection
        (kind,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if kind != _APPLICATION:
            raise CorruptError(self._damaged("not a ledger"))
        if version != VERSION:
            raise VersionError(
                f"{self.path}: ledger version {version}, this program reads {VERSION}; use the version that wrote it"
            )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # only macOS knows the difference
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ReadOnlyError(f"{self.path}: its disk allows no write-ahead log; put the ledger on a local disk")
        connection.execute("BEGIN IMMEDIATE")
        try:
            schema = connection.execute("SELECT sql FROM sqlite_master").fetchall()
            if schema != [(_TABLE,)]:
                raise CorruptError(self._damaged("its tables are not those of a ledger"))
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != ("ok",):
                raise CorruptError(self._damaged("the database contradicts itself"))
            self._catch_up()
            heading = self._heading()
            if heading.asset != asset:
                raise AssetError(
                    f"{self.path}: the ledger of asset {heading.asset!r}, not of {asset!r}; give each asset its own"
                )
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        # Lines whose sync once failed may be in memory only: written again, into the file itself. While another process
        # reads, this does nothing; that process has synced its own.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _heading(self) -> Heading:
        row = self._connection.execute("SELECT body FROM entries WHERE number = 0").fetchone()
        entry = entry_from(row[0]) if row else None
        if not isinstance(entry, Heading):
            raise CorruptError(self._damaged("it has no heading"))
        return entry

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
        except CorruptError as error:
            self._broken = error
            raise

    def _damaged(self, what: str) -> str:
        return f"{self.path}: damaged ({what}); restore it with its -wal file from a copy made since its last charge"


def _look(path: Path) -> None:
    """Raise `MissingError` or `CorruptError` for what SQLite would take for a new database."""
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MissingError(
            f"{path}: no ledger; restore it, or make one with `create` if this asset was never used"
        ) from error
    except OSError as error:
        raise ReadOnlyError(f"{path}: cannot be reached ({error.strerror or error}); change its permissions") from error
    if not path.is_file() or size == 0:
        raise CorruptError(f"{path}: damaged (empty, or no file); restore it from a copy made since its last charge")
