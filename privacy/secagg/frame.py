"""Frame: the head of every message, and the reader and writer of what follows it.

    "TSA1" ‖ u8 kind ‖ binding[32] ‖ body

Integers are big-endian. A list is a u32 count and that many rows of one size; rows begin with a roster index and ascend
strictly by it, so that every value has one encoding and no index comes twice.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from itertools import pairwise
from typing import Any, TypeVar

from .errors import MessageError
from .keys import KEY

MAGIC = b"TSA1"
HEAD = len(MAGIC) + 1 + KEY

Value = TypeVar("Value")
Word = TypeVar("Word", bound=IntEnum)


def head(kind: int, binding: bytes) -> bytes:
    """The 37 bytes that begin a message."""
    return MAGIC + bytes([kind]) + binding


def u32(value: int) -> bytes:
    """Four bytes, big-endian."""
    return value.to_bytes(4)


def members(indices: Iterable[int]) -> bytes:
    """A list of bare indices, which the caller gives ascending."""
    listed = tuple(indices)
    return u32(len(listed)) + struct.pack(f">{len(listed)}I", *listed)


def rows(shape: struct.Struct, values: Mapping[int, tuple[Any, ...]]) -> bytes:
    """One row for each index of `values`, in the order that the caller gives (ascending)."""
    return b"".join(shape.pack(index, *row) for index, row in values.items())


class Reader:
    """Reads one message from its beginning to its very end. Every method raises `MessageError`."""

    def __init__(self, message: bytes, kind: int, binding: bytes) -> None:
        self._message, self._at = message, HEAD
        if len(message) < HEAD or message[: len(MAGIC)] != MAGIC:
            raise MessageError(f"{len(message)} bytes that are no message of this version of secure aggregation")
        if message[len(MAGIC)] != kind:
            raise MessageError(f"a message of kind {message[len(MAGIC)]} where kind {kind} is due")
        if message[len(MAGIC) + 1 : HEAD] != binding:
            raise MessageError("a message of another run, round, attempt or session")

    def whole(self, body: Callable[[Reader], Value]) -> Value:
        """What `body` reads; nothing may be left over."""
        value = body(self)
        if self._at != len(self._message):
            raise MessageError(f"{len(self._message) - self._at} bytes after the end of a message")
        return value

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._at + size
        if end > len(self._message):
            raise MessageError(f"a message ends {end - len(self._message)} bytes too early")
        taken = self._message[self._at : end]
        self._at = end
        return taken

    def u32(self) -> int:
        """The next integer."""
        return int.from_bytes(self.take(4))

    def count(self, size: int) -> int:
        """The length of a list whose rows have at least `size` bytes each, which have to be there."""
        count = self.u32()
        if count * size > len(self._message) - self._at:
            raise MessageError(f"a list of {count} rows in a message that has no room for them")
        return count

    def rows(self, shape: struct.Struct) -> list[tuple[Any, ...]]:
        """A list of rows that begin with an ascending index."""
        found = list(shape.iter_unpack(self.take(self.count(shape.size) * shape.size)))
        ascending(row[0] for row in found)
        return found

    def members(self) -> tuple[int, ...]:
        """A list of bare indices."""
        count = self.count(4)
        found = struct.unpack(f">{count}I", self.take(4 * count))
        ascending(found)
        return found


def ascending(indices: Iterable[int]) -> None:
    """Raise `MessageError` unless each index is larger than the one before it."""
    for one, other in pairwise(indices):
        if one >= other:
            raise MessageError(f"index {other} after {one}: a list names each member once, in order")


def one_of(words: type[Word], value: int) -> Word:
    """The word with this number."""
    for word in words:
        if word == value:
            return word
    raise MessageError(f"{value} is none of the numbers of a {words.__name__.lower()}")
