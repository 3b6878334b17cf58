"""Audit: what happened on this machine that someone may ask about later, as a chain that nobody can quietly change.

One JSON object a line: `n` from 0, `time` (UTC, informative: order comes from `n`), `event`, `facts`, `previous`, and

    hash = SHA-256("tacit-audit-1\\n" ‖ canonical JSON of the others),    previous = the hash of line n − 1 (64 zeros at first)

A changed, missing, added or reordered line breaks the chain. Lines cut off the *end* do not: compare with a `Head` that was
written down elsewhere. Several processes may write one log; each append takes the file's lock. What a crash left half-written
was never acknowledged: the next append cuts it off and says so in an entry of its own.

A full file is turned over: `audit.jsonl.N` holds the entries before entry N, and the chain goes on in a new `audit.jsonl`. Of
these the youngest are kept; that older ones were dropped, and the hash that they ended with, is an entry of the chain itself
(`oldest-dropped`), without which a chain may begin nowhere but at entry 0.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TAG = b"tacit-audit-1\n"
_FIRST = "0" * 64
_LONGEST = 500  # characters of a text: what a stranger sent must not fill the disk
_LARGEST = 1 << 16  # bytes of a line
_FILE, _KEPT = 8 << 20, 7  # bytes of a file, and how many full ones are kept
_DROPPED = "oldest-dropped"


class AuditError(RuntimeError):
    """The audit log cannot be written, or what it holds is not what was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log has come: the number of entries and the hash of the last. Written down elsewhere, it is an anchor."""

    count: int = 0
    hash: str = _FIRST


@dataclass(frozen=True, slots=True)
class Audit:
    """The log at `path`, of files of about `largest` bytes, `kept` of them full. `clock` gives seconds since 1970."""

    path: Path
    clock: Callable[[], float] = time.time
    largest: int = _FILE
    kept: int = _KEPT

    def note(self, event: str, **facts: Any) -> Head:
        """Append an entry; it survives a crash of this process, not always one of the machine."""
        return self._append(event, facts, durable=False)

    def secure(self, event: str, **facts: Any) -> Head:
        """Append an entry of weight for security: on disk when this returns. Raises `AuditError` where it cannot be."""
        return self._append(event, facts, durable=True)

    def _append(self, event: str, facts: Mapping[str, Any], durable: bool) -> Head:
        try:
            with _locked(self.path) as file:
                head, torn = _last(self.path, file)
                if torn:
                    os.ftruncate(file, os.fstat(file).st_size - len(torn))
                    cut = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
                    head = self._write(file, head, "torn-entry-removed", cut)
                if os.fstat(file).st_size < self.largest:
                    return self._last_of(file, head, event, facts, durable)
                with _turned(self.path, file, head) as fresh:
                    for old in _full(self.path)[: -self.kept]:
                        head = self._write(fresh, head, _DROPPED, dataclasses.asdict(_ending(old)))
                        os.fsync(fresh)
                        old.unlink()
                    return self._last_of(fresh, head, event, facts, durable)
        except OSError as error:
            raise AuditError(
                f"{self.path}: {event} cannot be recorded ({error.strerror or error}); free some space, or mend its permissions"
            ) from error

    def _last_of(self, file: int, head: Head, event: str, facts: Mapping[str, Any], durable: bool) -> Head:
        head = self._write(file, head, event, facts)
        if durable:
            os.fsync(file)
        return head

    def _write(self, file: int, head: Head, event: str, facts: Mapping[str, Any]) -> Head:
        stamp = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        entry = {"n": head.count, "time": stamp, "event": event, "facts": _bounded(facts), "previous": head.hash}
        digest = _digest(entry)
        line = _canonical({**entry, "hash": digest}) + b"\n"
        if len(line) > _LARGEST:
            raise AuditError(f"{self.path}: the facts of {event} take {len(line)} bytes; at most {_LARGEST}")
        if os.write(file, line) != len(line):
            raise AuditError(f"{self.path}: {event} was written in part only; free some space")
        return Head(head.count + 1, digest)


def verify(path: Path, anchor: Head | None = None) -> Head:
    """Check the whole chain; its head. With an `anchor`, the log must contain that entry, so that nothing was cut off.

    Raises `AuditError` with the first line that is wrong.
    """
    head, met = Head(), anchor is None or anchor == Head()
    for _, head in _entries(path):
        met = met or head == anchor
    if not met and anchor is not None:
        raise AuditError(
            f"{path}: {head.count} entries, but entry {anchor.count} with hash {anchor.hash[:12]}… that was written down is "
            f"not among them; the log was cut off or replaced"
        )
    return head


def entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """The entries, each checked before it is given; raises `AuditError` at the first that is wrong."""
    for entry, _ in _entries(path):
        yield entry


def _entries(path: Path) -> Iterator[tuple[Mapping[str, Any], Head]]:
    """Every entry that is kept, checked; raises `AuditError` at the end where none says that those before them were dropped."""
    first, said = Head(), set[Head]()
    full = _full(path)
    head = None if full else Head()  # only full files are ever dropped, and never all of them
    try:
        for each in [*full, path]:
            with each.open("rb") as file:
                for line in file:
                    if head is None:
                        head = first = _before(each, line)
                    entry, head = _checked(each, line, head)
                    if entry["event"] == _DROPPED:
                        said.add(Head(entry["facts"].get("count"), entry["facts"].get("hash")))
                    yield entry, head
    except OSError as error:
        raise AuditError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error
    if first != Head() and first not in said:
        raise AuditError(
            f"{path}: begins with entry {first.count}, and no entry says that those before it were dropped"
        )


def _full(path: Path) -> list[Path]:
    """The files that were turned over, oldest first."""
    found = {
        int(each.name.removeprefix(f"{path.name}.")): each
        for each in path.parent.glob(f"{path.name}.*")
        if each.name.removeprefix(f"{path.name}.").isdecimal()
    }
    # A crash may have left the file that is written under its other name, too.
    return [found[at] for at in sorted(found) if not (path.exists() and found[at].samefile(path))]


def _ending(path: Path) -> Head:
    """The head at the end of a full file."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _last(path, file)[0]
    finally:
        os.close(file)


def _before(path: Path, line: bytes) -> Head:
    """What the entry of a line says that it follows; for the first line there is."""
    try:
        entry = json.loads(line)
        return Head(int(entry["n"]), str(entry["previous"]))
    except (ValueError, KeyError, TypeError):
        raise AuditError(f"{path}: line 1 is damaged (it is no entry); the 0 before it are whole") from None


@contextlib.contextmanager
def _turned(path: Path, file: int, head: Head) -> Iterator[int]:
    """A new, locked file at `path`; the one that was there keeps its entries under its other name.

    At every instant there is a file at `path`, so that nobody begins another chain; who waits for the old one's lock finds
    that it is no longer the log.
    """
    full, beside = path.with_name(f"{path.name}.{head.count}"), path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileExistsError):  # a crash came between the two names
        os.link(path, full)
    beside.unlink(missing_ok=True)
    with _opened(beside) as fresh:
        os.fsync(file)
        beside.rename(path)
        yield fresh


def _checked(path: Path, line: bytes, head: Head) -> tuple[Mapping[str, Any], Head]:
    """The entry of a line that must follow `head`."""
    try:
        entry = json.loads(line)
        found = entry.pop("hash")
        number, previous = entry["n"], entry["previous"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cut = "it ends in the middle" if not line.endswith(b"\n") else "it is no entry"
        raise AuditError(
            f"{path}: line {head.count + 1} is damaged ({cut}); the {head.count} before it are whole"
        ) from error
    exact = line == _canonical({**entry, "hash": found}) + b"\n"
    if not exact or number != head.count or previous != head.hash or found != _digest(entry):
        raise AuditError(
            f"{path}: line {head.count + 1} was changed, moved, or removed; the {head.count} before it are whole"
        )
    return entry, Head(head.count + 1, found)


def _last(path: Path, file: int) -> tuple[Head, bytes]:
    """The head by the last whole line, which is checked by itself, and the bytes of a torn line after it."""
    size = os.fstat(file).st_size
    ending = os.pread(file, 2 * _LARGEST, max(0, size - 2 * _LARGEST))
    whole, newline, torn = ending.rpartition(b"\n")
    if not newline:
        if size > _LARGEST:
            raise AuditError(f"{path}: its last line is no entry; move the file away and keep it: it was damaged")
        full = _full(path)
        return (_ending(full[-1]) if full else Head()), torn
    line = whole.rpartition(b"\n")[2]
    try:
        entry = json.loads(line)
        before = Head(int(entry["n"]), str(entry["previous"]))
    except (ValueError, KeyError, TypeError) as error:
        raise AuditError(
            f"{path}: its last line is no entry; move the file away and keep it: it was damaged"
        ) from error
    return _checked(path, line + b"\n", before)[1], torn


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file at `path`, locked: the one that is there once the lock is held."""
    while True:
        with _opened(path) as file:
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file)):
                yield file
                return


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_TAG + _canonical(entry)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _bounded(value: Any) -> Any:
    """`value` as JSON with every text cut to a bounded length."""
    if isinstance(value, Mapping):
        return {str(key)[:_LONGEST]: _bounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value]
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}… ({len(value)} characters)"
    return value
