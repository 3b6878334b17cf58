"""Chain: the lines of one ledger, each checked against the one before it, its signature, and what this version knows.

    signatureₙ = Ed25519(key, tag | digestₙ)

A digest stands for all lines up to its own, so each signature vouches for all of them. The heading names the key. Who knows
the key from elsewhere (an owner knows its own) gives it, and another owner's ledger is then refused too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .entry import START, Entry, EntryError, Heading, body_of, chained, entry_from
from .errors import CorruptError, ReadOnlyError, SignatureError, VersionError, asking

_TAG = b"tacit ledger line 2\0"
Row: TypeAlias = tuple[object, object, object, object]
Fault: TypeAlias = Callable[[str], CorruptError]


@dataclass(frozen=True, slots=True)
class Line:
    """A line as the file holds it, and what it says. `signature` is None in a ledger that nobody signs."""

    number: int
    body: bytes = field(repr=False)
    digest: bytes
    signature: bytes | None = field(repr=False)
    entry: Entry


class Chain:
    """The end of a chain that lines are put to, in order. `key` is the one that must have signed, where that is known."""

    def __init__(self, path: Path, key: Ed25519PublicKey | None = None) -> None:
        self._path = path
        self._expected = None if key is None else key.public_bytes_raw().hex()
        self._key: Ed25519PublicKey | None = None
        self.heading: Heading | None = None
        self.number = -1
        self.digest = START

    def read(self, row: Row) -> Line:
        """The line in a row (number, body, digest, signature) of the file, the next one of the chain.

        Raises `CorruptError`, `SignatureError` or `VersionError`, naming the line, and stays where it was.
        """
        number, body, digest, signature = row
        if number != self.number + 1 or not isinstance(number, int):
            raise CorruptError(damaged(self._path, f"line {number} follows line {self.number}"))
        if not isinstance(body, bytes) or digest != chained(self.digest, number, body):
            raise CorruptError(damaged(self._path, f"line {number} does not continue the chain"))
        try:
            entry = entry_from(body)
        except EntryError as error:
            raise unknown(self._path, number, error) from error
        if number == 0 and not isinstance(entry, Heading):
            raise CorruptError(damaged(self._path, "it has no heading"))
        if number == 0 and isinstance(entry, Heading):
            self._open(entry)
        if not isinstance(signature, bytes | None):
            raise SignatureError(damaged(self._path, f"line {number} is not signed by {self._named()}"))
        self._check(number, digest, signature)
        line = Line(number, body, digest, signature, entry)
        self.advance(line)
        return line

    def draft(self, entry: Entry, key: Ed25519PrivateKey | None) -> Line:
        """The line that `entry` would be at the end, signed with `key`; the chain stays where it is.

        Raises `ReadOnlyError` unless `key` is the one that the heading names.
        """
        number, body = self.number + 1, body_of(entry)
        if number == 0 and isinstance(entry, Heading):
            self._open(entry)
        own = "" if key is None else key.public_key().public_bytes_raw().hex()
        if self.heading is None or own != self.heading.key:
            raise ReadOnlyError(f"{self._path}: its lines are signed by {self._named()}; write to it with that key")
        digest = chained(self.digest, number, body)
        return Line(number, body, digest, None if key is None else key.sign(_TAG + digest), entry)

    def advance(self, line: Line) -> None:
        """Go on from `line`."""
        self.number, self.digest = line.number, line.digest

    def _open(self, heading: Heading) -> None:
        if self._expected is not None and heading.key != self._expected:
            raise SignatureError(
                f"{self._path}: signed by {_short(heading.key)}, not by {_short(self._expected)}, whose ledger is asked for; "
                f"restore the ledger, or the key, from a backup; {asking(self._path)}"
            )
        try:
            self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(heading.key)) if heading.key else None
        except ValueError as error:
            raise CorruptError(damaged(self._path, "its heading names no key")) from error
        self.heading = heading

    def _check(self, number: int, digest: bytes, signature: bytes | None) -> None:
        if self._key is None and signature is None:
            return
        try:
            if self._key is not None and signature is not None:
                self._key.verify(signature, _TAG + digest)
                return
        except InvalidSignature:
            pass
        raise SignatureError(damaged(self._path, f"line {number} is not signed by {self._named()}"))

    def _named(self) -> str:
        return "nobody" if self.heading is None or not self.heading.key else _short(self.heading.key)


def damaged(path: Path, what: str) -> str:
    """The words for a ledger that is not what was written."""
    return f"{path}: damaged ({what}); restore it with its -wal file from a copy made since its last charge; {asking(path)}"


def unknown(path: Path, number: object, error: EntryError) -> VersionError:
    """The error for a line that another version wrote."""
    return VersionError(f"{path}: line {number}: {error}; go on with the version that wrote it; {asking(path)}")


def _short(key: str) -> str:
    return f"key {key[:16]}…" if key else "nobody"
