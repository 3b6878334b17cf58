"""Errors of a durable ledger. Whoever meets one may spend nothing: the ledger cannot vouch for what was spent."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path


class LedgerError(RuntimeError):
    """The ledger cannot vouch for what was spent, so nothing may be spent."""


class MissingError(LedgerError):
    """There is no ledger at this place."""


class CorruptError(LedgerError):
    """The file is not what was written: bytes changed, cut off, or another kind of file."""


class VersionError(LedgerError):
    """A ledger, or a line in it, that this version cannot read."""


class AssetError(LedgerError):
    """The ledger of another asset."""


class LockedError(LedgerError):
    """Another process holds the ledger's lock for too long."""


class ReadOnlyError(LedgerError):
    """The ledger cannot be written to."""


class DiskError(LedgerError):
    """The disk is full or refuses to write."""


class SignatureError(LedgerError):
    """A line that the ledger's key has not signed, or a ledger of another key."""


class RollbackError(LedgerError):
    """The ledger is not the newest that there was: an anchor knows of more, or of another one."""


class AnchorError(LedgerError):
    """The anchor is gone, damaged, or cannot be written, so that nobody could notice an older ledger."""


class AllowanceError(LedgerError):
    """More would be spent, or allowed, than the ledger says somebody allowed."""


class TakenError(LedgerError):
    """This attempt was charged before."""


_KINDS: Mapping[int, tuple[type[LedgerError], str]] = {
    sqlite3.SQLITE_BUSY: (LockedError, "another process holds it; end that process or wait"),
    sqlite3.SQLITE_LOCKED: (LockedError, "another process holds it; end that process or wait"),
    sqlite3.SQLITE_PROTOCOL: (LockedError, "another process holds it; end that process or wait"),
    sqlite3.SQLITE_READONLY: (ReadOnlyError, "it cannot be written to; change its permissions or its folder's"),
    sqlite3.SQLITE_CANTOPEN: (ReadOnlyError, "it cannot be opened; change its permissions or its folder's"),
    sqlite3.SQLITE_PERM: (ReadOnlyError, "it cannot be opened; change its permissions or its folder's"),
    sqlite3.SQLITE_AUTH: (ReadOnlyError, "it cannot be opened; change its permissions or its folder's"),
    sqlite3.SQLITE_FULL: (DiskError, "the disk is full; free some space"),
    sqlite3.SQLITE_IOERR: (
        DiskError,
        "the disk cannot be read or written; free some space or check it, then open again",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CorruptError,
        "damaged; restore it with its -wal file from a copy made since its last charge",
    ),
    sqlite3.SQLITE_NOTADB: (
        CorruptError,
        "damaged; restore it with its -wal file from a copy made since its last charge",
    ),
}


def asking(path: Path, anchor: str = "") -> str:
    """The command that tells what is wrong with the ledger at `path`; it only reads, and waits for nobody."""
    return f"`tacit ledger verify {path}{f' --anchor {anchor}' if anchor else ''}` says what holds"


def fault_of(path: Path, error: sqlite3.Error, last: int = -1) -> LedgerError:
    """The ledger's error for the database's at `path`; `last` is the last line that was read and held, where some were."""
    kind, remedy = _KINDS.get(code_of(error), (LedgerError, "open it again; report this if it stays"))
    far = f"; lines 0 to {last} hold" if last >= 0 else ""
    return kind(f"{path}: {remedy} ({error}{far}); {asking(path)}")


def code_of(error: sqlite3.Error) -> int:
    """The primary result code; 0 for an error that the database did not raise."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
