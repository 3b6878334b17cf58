"""Codec: messages as bytes. One frame: magic, header length, JSON header, then raw little-endian arrays.

    "TACIT1\\0\\0" | u32 header length | header (UTF-8 JSON) | array 0 | array 1 | …

The header lists each array's name, type and length in order. Ring elements are packed to b bits each. Nothing in a frame is
ever executed or looked up by name; whatever does not parse exactly raises `CodecError`. Nothing is allocated by a length that
was announced: arrays are views on bytes that came. Numbers are finite, because a NaN is neither above a limit nor below it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shown import shown

MAGIC = b"TACIT1\0\0"
_HEADER_LIMIT = 1 << 20
_WORD = 8  # bytes
_BLOCK = 1 << 16  # ring elements
_TYPES: dict[str, np.dtype[Any]] = {
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
    "i8": np.dtype("<i8"),
    "u1": np.dtype("u1"),
}


class CodecError(ValueError):
    """Bytes that are no frame of this codec. Its text may quote a stranger: one printable line, and a short one."""

    def __init__(self, text: str) -> None:
        super().__init__(shown(text))


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A frame of `header` (JSON values) and one-dimensional `arrays`."""
    return b"".join(parts(header, arrays))


def parts(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """The frame that `encode` makes, not yet put together: its head, then the arrays as views on them.

    The head is padded with spaces to a multiple of 8 bytes, so that the first array can be read in place.
    """
    rows: list[list[object]] = []
    bodies: list[bytes | memoryview] = []
    for name, array in arrays.items():
        kind = next((key for key, dtype in _TYPES.items() if array.dtype == dtype), None)
        if kind is None or array.ndim != 1:
            raise CodecError(
                f"array {name!r}: {array.dtype}[{array.ndim}d] does not travel; use 1-d {', '.join(_TYPES)}"
            )
        rows.append([name, kind, len(array)])
        bodies.append(np.ascontiguousarray(array).data.cast("B") if len(array) else b"")
    try:
        text = json.dumps({"header": dict(header), "arrays": rows}, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise CodecError(f"a header that is no JSON ({error}); only finite numbers travel") from error
    if len(text) > _HEADER_LIMIT:
        raise CodecError(f"header of {len(text)} bytes; at most {_HEADER_LIMIT}")
    text += b" " * (-(len(MAGIC) + 4 + len(text)) % 8)
    return [b"".join([MAGIC, struct.pack("<I", len(text)), text]), *bodies]


def decode(frame: bytes | memoryview) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays (views on `frame`) of a frame. Raises `CodecError`."""
    start = len(MAGIC) + 4
    if len(frame) < start or frame[: len(MAGIC)] != MAGIC:
        raise CodecError("not a frame of this protocol version")
    (size,) = struct.unpack_from("<I", frame, len(MAGIC))
    if size > _HEADER_LIMIT or start + size > len(frame):
        raise CodecError(f"header of {size} bytes in a frame of {len(frame)}")
    try:
        text = json.loads(bytes(frame[start : start + size]), parse_constant=_number, parse_float=_number)
        header, rows = text["header"], text["arrays"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CodecError("the header is not the JSON of this protocol") from error
    if not isinstance(header, dict) or not isinstance(rows, list) or set(text) != {"header", "arrays"}:
        raise CodecError("the header is not the JSON of this protocol")
    arrays: dict[str, NDArray[Any]] = {}
    offset = start + size
    for row in rows:
        name, dtype, count = _row(row)
        end = offset + dtype.itemsize * count
        if end > len(frame) or name in arrays:
            raise CodecError(f"array {name!r} of {count} elements does not fit the frame, or comes twice")
        arrays[name] = np.frombuffer(frame, dtype=dtype, count=count, offset=offset)
        offset = end
    if offset != len(frame):
        raise CodecError(f"{len(frame) - offset} bytes after the last array")
    return header, arrays


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text} is no finite number")
    return found


def _row(row: object) -> tuple[str, np.dtype[Any], int]:
    if not isinstance(row, list) or len(row) != 3:
        raise CodecError("an array is listed as [name, type, length]")
    name, kind, count = row
    if not isinstance(name, str) or not isinstance(kind, str) or kind not in _TYPES:
        raise CodecError(f"array {name!r} has the unknown type {kind!r}")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise CodecError(f"array {name!r} has a length that is none")
    return name, _TYPES[kind], count


def pack(elements: NDArray[np.integer[Any]], bits: int) -> NDArray[np.uint8]:
    """Ring elements in [0, 2^bits) packed to `bits` bits each, little-endian: ⌈bits · n / 8⌉ bytes.

    >>> pack(np.array([1, 2, 3, 1023]), bits=10).tobytes().hex()
    '010830c0ff'
    """
    _check_bits(bits)
    if len(elements) and (int(elements.min()) < 0 or int(elements.max()) >> bits):
        raise CodecError(f"an element lies outside the ring of {bits} bits")
    size = (bits * len(elements) + 7) // 8
    octets = np.zeros(size + _WORD, dtype=np.uint8)
    for where, words, shift, low, width in _fields(octets, bits, len(elements)):
        piece = elements[where].astype(np.uint64)
        piece >>= np.uint64(low)
        piece &= np.uint64((1 << width) - 1)
        piece <<= np.uint64(shift)
        words |= piece
    return octets[:size]


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int64]:
    """The `count` ring elements that `pack` wrote. Raises `CodecError` where the length is not exactly theirs."""
    return _unpacked(packed, bits, count, np.dtype(np.int64))


def unpack_narrow(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.unsignedinteger[Any]]:
    """The same in the narrowest unsigned type that holds `bits` bits: a masked vector, which is only added, needs no more."""
    _check_bits(bits)
    width = next(each for each in (8, 16, 32, 64) if bits <= each)
    return _unpacked(packed, bits, count, np.dtype(f"<u{width // 8}"))


def _unpacked(packed: NDArray[np.uint8], bits: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    _check_bits(bits)
    _check_length(packed, bits, count)  # before anything is allocated by a number that came with the bytes
    elements = np.empty(count, dtype=dtype)
    unpack_into(packed, bits, elements)
    return elements


def unpack_into(packed: NDArray[np.uint8], bits: int, elements: NDArray[np.integer[Any]]) -> None:
    """Write the ring elements that `pack` wrote into `elements`, integers of any type that holds `bits` bits."""
    _check_bits(bits)
    _check_length(packed, bits, len(elements))
    if elements.dtype.kind not in "iu" or np.iinfo(elements.dtype).max < (1 << bits) - 1:
        raise CodecError(f"{elements.dtype} does not hold {bits} bits")
    last = max(0, len(elements) - 8 * _WORD) // 8 * 8  # whole bytes before it, and more than a word behind
    tail = np.zeros(len(packed) - last * bits // 8 + _WORD, dtype=np.uint8)  # words are read beyond the end
    tail[:-_WORD] = packed[last * bits // 8 :]
    _unpack_words(np.ascontiguousarray(packed), bits, elements[:last])
    _unpack_words(tail, bits, elements[last:])


def _unpack_words(octets: NDArray[np.uint8], bits: int, elements: NDArray[np.integer[Any]]) -> None:
    for where, words, shift, low, width in _fields(octets, bits, len(elements)):
        piece = words >> np.uint64(shift)
        piece &= np.uint64((1 << width) - 1)
        if low:
            piece <<= np.uint64(low)
            elements[where] |= piece.astype(elements.dtype)
        else:
            elements[where] = piece


def _fields(
    octets: NDArray[np.uint8], bits: int, count: int
) -> Iterator[tuple[slice, NDArray[np.uint64], int, int, int]]:
    """All packed elements, a lane at a time: (which elements, their words, shift, low, width).

    Bits `low` to `low + width` of element number i of `where` are bits `shift` to `shift + width` of word i. The elements of a
    lane begin at the same bit of a byte and lie 8 bytes apart or more, so that the words of a lane, unaligned as they are, do
    not overlap. Beyond 57 bits an element and its shift may not fit a word: it is taken in two parts.
    """
    lanes = 8 // math.gcd(bits, 8)
    while lanes * bits < 8 * _WORD:
        lanes *= 2
    parts = [(0, bits)] if bits <= 57 else [(0, 32), (32, bits - 32)]
    block = _BLOCK // lanes * lanes  # all lanes of a block pass over it while it lies in the cache
    for start in range(0, count, block):
        stop = min(count, start + block)
        for first in range(start, min(start + lanes, stop)):
            where = slice(first, stop, lanes)
            for low, width in parts:
                bit = first * bits + low
                words: NDArray[np.uint64] = np.ndarray(
                    len(range(first, stop, lanes)), "<u8", octets.data, bit // 8, lanes * bits // 8
                )
                yield where, words, bit % 8, low, width


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 62:
        raise CodecError(f"bits = {bits}; a ring has 1 to 62")


def _check_length(packed: NDArray[np.uint8], bits: int, count: int) -> None:
    if len(packed) != (bits * count + 7) // 8:
        raise CodecError(f"{len(packed)} bytes for {count} elements of {bits} bits")
