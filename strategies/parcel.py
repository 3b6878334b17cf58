"""Parcel: a frame as it travels: one letter, and pieces that several letters may share and that go another way.

    "TACITPL2" | u32 number of pieces n | n × 32-byte names | the frame's head
    frame = head | piece 0 | piece 1 | …

A small frame lies in the letter whole. Of a large frame the letter holds only the head (what differs between owners) and the
names of the pieces of the body, so that a model sent to n owners is written once. A piece is named by its SHA-256 hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from .codec import MAGIC, CodecError

PIECE = 5 << 20
PIECES = "/tacit/v1/pieces/"
"""Where a gateway has pieces, each by its name in 64 hex digits: GET one of a request, POST one of a reply."""
_MAGIC = b"TACITPL2"
_NAME = 32


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter, and the pieces of the body that it names, in order."""

    letter: bytes = field(repr=False)
    pieces: tuple[memoryview, ...] = field(repr=False)
    names: tuple[bytes, ...] = ()


def wrap(frame: bytes, whole: int) -> Parcel:
    """The parcel of `frame`; a frame of at most `whole` bytes has no pieces."""
    view = memoryview(frame)
    if len(frame) <= whole:
        return Parcel(_letter((), view), ())
    start = _body(frame)
    body = tuple(view[at : at + PIECE] for at in range(start, len(frame), PIECE))
    names = tuple(_name(piece) for piece in body)
    return Parcel(_letter(names, view[:start]), body, names)


def gathered(head: bytes | memoryview, arrays: Sequence[bytes | memoryview], whole: int) -> Parcel:
    """The parcel of the frame head | arrays as `wrap` makes it, but not put together: pieces are views on a single array."""
    if len(head) + sum(map(len, arrays)) <= whole:
        return wrap(b"".join([head, *arrays]), whole)
    filled = [array for array in arrays if len(array)]
    body = memoryview(filled[0] if len(filled) == 1 else b"".join(filled))
    found = tuple(body[at : at + PIECE] for at in range(0, len(body), PIECE))
    names = tuple(_name(piece) for piece in found)
    return Parcel(_letter(names, head), found, names)


def addressed(parcel: Parcel, head: bytes | memoryview) -> Parcel:
    """The parcel of a frame with another head and the pieces of `parcel`."""
    return Parcel(_letter(parcel.names, head), parcel.pieces, parcel.names)


def sharing(parcel: Parcel, other: Parcel | None) -> Parcel:
    """`parcel`, holding the pieces of `other` where they are the same, so that one copy of a shared body is kept."""
    if other is None or not parcel.names or parcel.names != other.names:
        return parcel
    return Parcel(parcel.letter, other.pieces, other.names)


def opened(letter: bytes, largest: int) -> tuple[tuple[bytes, ...], bytes]:
    """The names of the pieces, and the head. Raises `CodecError` where the frame would exceed `largest` bytes."""
    start = len(_MAGIC) + 4
    if len(letter) < start or letter[: len(_MAGIC)] != _MAGIC:
        raise CodecError("not a letter of this protocol version")
    (count,) = struct.unpack_from("<I", letter, len(_MAGIC))
    head = start + _NAME * count
    if head > len(letter):
        raise CodecError(f"a letter of {len(letter)} bytes that names {count} pieces")
    if len(letter) - head + max(0, count - 1) * PIECE > largest:
        raise CodecError(f"a letter that names {count} pieces; at most {largest} bytes are taken")
    return tuple(letter[at : at + _NAME] for at in range(start, head, _NAME)), letter[head:]


def pieces(letter: bytes) -> int:
    """How many pieces a letter names; 0 for bytes that are no letter."""
    start = len(_MAGIC) + 4
    return int.from_bytes(letter[len(_MAGIC) : start], "little") if letter.startswith(_MAGIC) else 0


def joined(head: bytes, found: Sequence[bytes | memoryview]) -> bytes:
    """The frame."""
    return b"".join([head, *found]) if found else head


def _name(piece: memoryview) -> bytes:
    return hashlib.sha256(piece).digest()


def _letter(names: tuple[bytes, ...], head: bytes | memoryview) -> bytes:
    return b"".join([_MAGIC, struct.pack("<I", len(names)), *names, head])


def _body(frame: bytes) -> int:
    """Where the arrays of a frame begin; 0 for bytes that are no frame of the codec, which are all body."""
    start = len(MAGIC) + 4
    if len(frame) < start or frame[: len(MAGIC)] != MAGIC:
        return 0
    (size,) = struct.unpack_from("<I", frame, len(MAGIC))
    return min(start + size, len(frame)) if size <= 1 << 20 else 0
