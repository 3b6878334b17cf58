"""Creation: how a ledger comes to be: its anchor first, then the file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .anchor import Anchor, AnchorFile, anchored
from .chain import Chain
from .entry import Heading
from .errors import DiskError, LedgerError, MissingError, fault_of
from .layout import APPLICATION, INSERT, TABLE, VERSION, row_of

Clock: TypeAlias = Callable[[], float]


def create(
    path: Path, asset: str, clock: Clock = time.time, key: Ed25519PrivateKey | None = None, anchor: Path | None = None
) -> None:
    """Make the empty ledger of `asset` at `path`, readable by its owner only: whole or not at all.

    `key` signs it, now and ever. The anchor is made first, so a ledger without one is never taken for new. Raises
    `LedgerError` where anything stands there already, and where an anchor knows of a ledger that was written to: a ledger is
    never made anew over an old one.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    now = int(clock())
    named = "" if key is None else key.public_key().public_bytes_raw().hex()
    heading = Heading(asset, secrets.token_hex(16), now, named)
    line = Chain(path).draft(heading, key)
    if path.exists():
        raise LedgerError(f"{path}: something is there already; open it, or give another place")
    if anchor is not None:
        _anchor_first(path, AnchorFile(anchor), anchored(asset, heading.identity, 0, line.digest, now, key), named)
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with contextlib.closing(sqlite3.connect(beside, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(TABLE)
            connection.execute(INSERT, row_of(line))
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


def _anchor_first(path: Path, file: AnchorFile, anchor: Anchor, key: str) -> None:
    """Anchor a ledger that is about to be made, unless its anchor knows of one that was written to."""
    known = file.read(key)
    if known is not None and known.number > 0:
        raise MissingError(
            f"{path}: no ledger, but its anchor {file.path} knows of one with {known.number} lines and more; restore it"
        )
    file.create(anchor)
