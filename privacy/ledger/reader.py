"""Reader: a whole ledger, read without touching it: the file that a program writes to, a copy of it, or an export.

An export is text, one line of JSON for each line of the ledger, and holds all that its proof needs:

    {"body":"…","digest":"<hex>","number":0,"signature":"<hex>" or null}

`body` is the text that was hashed, byte for byte, so whoever checks it needs no JSON of our making.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .account import Account
from .chain import Chain, Line, Row, damaged, unknown
from .entry import EntryError, Heading
from .errors import CorruptError, VersionError, asking, code_of, fault_of
from .layout import APPLICATION, LINES, TABLE, VERSION, look

_PATIENCE = 5.0
_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)


@dataclass(frozen=True, slots=True)
class Book:
    """A ledger whose every line was checked: chain, signatures, and that it can follow the earlier ones."""

    path: Path
    heading: Heading
    lines: tuple[Line, ...] = field(repr=False)
    account: Account = field(repr=False)

    @property
    def head(self) -> Line:
        """The last line."""
        return self.lines[-1]

    def digest(self, number: int) -> bytes | None:
        """The digest of line `number`; None where there is no such line."""
        return self.lines[number].digest if 0 <= number < len(self.lines) else None


def read(path: Path, key: Ed25519PublicKey | None = None) -> Book:
    """The ledger or export at `path`; with `key`, only one that this key has signed.

    Raises `LedgerError` naming the first line that fails.
    """
    chain, account, lines = Chain(path, key), Account(), []
    try:
        for row in _rows(path):
            line = chain.read(row)
            try:
                account.take(line.number, line.entry)
            except EntryError as error:
                raise unknown(path, line.number, error) from error
            lines.append(line)
    except sqlite3.Error as error:
        raise fault_of(path, error, chain.number) from error
    if chain.heading is None:
        raise CorruptError(damaged(path, "it has no heading"))
    return Book(path, chain.heading, tuple(lines), account)


def exported(line: Line) -> str:
    """A line of an export, without its end of line."""
    row = {
        "number": line.number, "body": line.body.decode(), "digest": line.digest.hex(),
        "signature": None if line.signature is None else line.signature.hex(),
    }  # fmt: skip
    return json.dumps(row, sort_keys=True, separators=(",", ":"))


def _rows(path: Path) -> Iterator[Row]:
    look(path)
    with path.open("rb") as file:
        text = file.read(1) == b"{"
    return _of_export(path) if text else _of_database(path)


def _of_export(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for place, text in enumerate(file):
            try:
                row = json.loads(text)
                found = _of_text(row)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise CorruptError(damaged(path, f"line {place} is no line of an export")) from error
            yield found


def _of_text(row: Any) -> Row:
    signature = row["signature"]
    known = row["number"], row["body"].encode(), bytes.fromhex(row["digest"])
    return *known, None if signature is None else bytes.fromhex(signature)


def _of_database(path: Path) -> Iterator[Row]:
    with _connected(path) as connection:
        (kind,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if kind != APPLICATION or connection.execute("SELECT sql FROM sqlite_master").fetchall() != [(TABLE,)]:
            raise CorruptError(damaged(path, "not a ledger"))
        if version != VERSION:
            raise VersionError(
                f"{path}: ledger version {version}, this program reads {VERSION}; use the version that wrote it; "
                f"{asking(path)}"
            )
        yield from connection.execute(LINES, (-1,))


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """The database with its log, at one instant, read only."""
    log = path.with_name(f"{path.name}-wal")
    with contextlib.ExitStack() as stack:
        # Nobody has it open where there is no log beside it; then it may lie where nothing can be written.
        if not log.exists():
            yield stack.enter_context(_begun(path, "immutable=1"))
            return
        try:
            connection = stack.enter_context(_begun(path, "mode=ro"))
        except sqlite3.OperationalError as error:
            if code_of(error) not in _UNWRITABLE:
                raise
            # The index of the log cannot be made here: the disk is full, or the folder is read-only.
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tacit-ledger-"))) / path.name
            try:
                shutil.copyfile(log, copy.with_name(log.name))
                shutil.copyfile(path, copy)
            except OSError:
                raise error from None
            connection = stack.enter_context(_begun(copy, "mode=ro"))
        yield connection


@contextlib.contextmanager
def _begun(file: Path, how: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(f"{file.resolve().as_uri()}?{how}", uri=True, timeout=_PATIENCE, isolation_level=None)
    ) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # what is read stays as it is from here on
        yield connection
