"""Mask: a uniform vector of the ring mod 2^b, expanded from a seed, added to a contribution and taken off a sum.

    PRG(seed) = AES-256-CTR keystream under `seed`, initial counter block 0¹²⁸ (NIST SP 800-38A),
                read as little-endian unsigned integers of w bits:  w = 16 for b ≤ 16,  32 for b ≤ 32,  64 for b ≤ 62

A seed is used for one mask only, so the counter may start at zero every time. Arithmetic is mod 2^w and `reduce` takes it
mod 2^b once, at the end: 2^b divides 2^w, so the low b bits of a sum mod 2^w are the sum mod 2^b, and b of the w uniform bits
of an element are uniform.

A working vector is a contiguous one-dimensional array of `element(bits)`; it is changed in place, in blocks that stay in the
processor's cache, with one block of extra memory whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..keystream import KEY, ROOM, Keystream

SEED = KEY  # bytes
NARROWEST, WIDEST = 2, 62

Sign = Literal[1, -1]
Vector = NDArray[np.unsignedinteger[Any]]

_BLOCK = 1 << 17  # bytes: keystream, and the part of the vector that it meets, fit the second-level cache together


class MaskError(ValueError):
    """A seed, a width or a vector that cannot be masked."""


def element(bits: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The type of a working vector's elements: the narrowest little-endian unsigned integer that holds `bits` bits.

    >>> element(20)
    dtype('uint32')
    """
    if not NARROWEST <= bits <= WIDEST:
        raise MaskError(f"bits = {bits}; give {NARROWEST} to {WIDEST}")
    return np.dtype("<u2" if bits <= 16 else "<u4" if bits <= 32 else "<u8")


def working(values: NDArray[np.integer[Any]], bits: int) -> Vector:
    """A fresh working vector that is congruent to `values` (any integers, `[d]`) mod 2^b."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise MaskError(f"{values.dtype} of {values.ndim} dimensions; give a vector of integers")
    return values.astype(element(bits))


def zeros(dim: int, bits: int) -> Vector:
    """The working vector of `dim` zeros, to which a collector adds."""
    return np.zeros(dim, dtype=element(bits))


def add_mask(vector: Vector, seed: bytes, sign: Sign, bits: int) -> None:
    """vector ← vector ± PRG(seed) mod 2^w, in place."""
    add_masks(vector, [(seed, sign)], bits)


def add_masks(vector: Vector, masks: Iterable[tuple[bytes, Sign]], bits: int) -> None:
    """vector ← vector + Σ sign·PRG(seed) mod 2^w over the (seed, sign) pairs of `masks`, in place.

    All of them meet a block of the vector while it lies in the cache, then the next block: one pass over memory instead of one
    for each mask.
    """
    _check(vector, bits)
    streams = [(_keystream(seed), _operation(sign)) for seed, sign in masks]
    scratch = memoryview(bytearray(_BLOCK + ROOM))
    step = _BLOCK // vector.itemsize
    for start in range(0, len(vector), step):
        block = vector[start : start + step]
        keystream = np.frombuffer(scratch, dtype=vector.dtype, count=len(block))
        for stream, operation in streams:
            stream.fill(scratch, block.nbytes, start * vector.itemsize)
            operation(block, keystream, out=block)


def reduce(vector: Vector, bits: int) -> None:
    """vector ← vector mod 2^b, in place: what may leave an owner, and what a sum is."""
    _check(vector, bits)
    np.bitwise_and(vector, vector.dtype.type((1 << bits) - 1), out=vector)


def _keystream(seed: bytes) -> Keystream:
    if len(seed) != SEED:
        raise MaskError(f"a seed has {SEED} bytes; found {len(seed)}")
    return Keystream(seed)


def _operation(sign: int) -> np.ufunc:
    if sign not in (1, -1):
        raise MaskError(f"sign = {sign}; a mask is added (1) or taken off (-1)")
    return np.add if sign == 1 else np.subtract


def _check(vector: Vector, bits: int) -> None:
    flags = vector.flags
    if vector.ndim != 1 or vector.dtype != element(bits) or not (flags.c_contiguous and flags.writeable):
        raise MaskError(
            f"{vector.dtype} of {vector.ndim} dimensions; in a ring of {bits} bits use a contiguous writable vector of "
            f"{element(bits)}, which `working` makes"
        )
