"""Layout: what the SQLite file of a ledger looks like: one table, one row a line."""

from __future__ import annotations

from pathlib import Path

from .chain import Line
from .errors import CorruptError, MissingError, ReadOnlyError, asking

VERSION = 2
APPLICATION = 0x54_43_4C_31  # "TCL1"
TABLE = "CREATE TABLE entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL, digest BLOB NOT NULL, signature BLOB)"
LINES = "SELECT number, body, digest, signature FROM entries WHERE number > ? ORDER BY number"
INSERT = "INSERT INTO entries (number, body, digest, signature) VALUES (?, ?, ?, ?)"


def row_of(line: Line) -> tuple[int, bytes, bytes, bytes | None]:
    """The row that a line is kept as."""
    return line.number, line.body, line.digest, line.signature


def look(path: Path) -> None:
    """Raise `MissingError` or `CorruptError` for what SQLite would take for a new database."""
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no ledger there; restore the newest copy with its -wal file") from error
    except OSError as error:
        raise ReadOnlyError(
            f"{path}: cannot be reached ({error.strerror or error}); change its permissions; {asking(path)}"
        ) from error
    if not path.is_file() or size == 0:
        raise CorruptError(
            f"{path}: damaged (empty, or no file); restore it from a copy made since its last charge; {asking(path)}"
        )
