"""Alias table: draws from a fixed law on integers with one 64-bit word a draw, exact to 2⁻¹²⁸.

Walker's method (Walker 1977; exact construction of Vose 1991) in integer arithmetic. The law is 2¹²⁸ equal tickets dealt
to K = 2^k columns, each holding at most two values. A word picks the column with its top k bits and a ticket with the
rest; where those bits equal the threshold's top bits, a second word decides the tie. So every probability is an exact
multiple of 2⁻¹²⁸ whatever the machine's floating point does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISION = 128
CHUNK = 1 << 13  # 64 KiB an array: it stays in the cache, and below the size from which every array is mapped afresh


class Words(Protocol):
    """A source of uniform 64-bit words, such as `Stream`."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Alias:
    """The table of a law on `first, first + 1, …`.

    `first + c`, `other[c]`: the two values of column c; `high[c]`, `low[c]`: the number of its tickets that `first + c`
    holds, split into its top 64 − k bits and its low 64 bits.
    """

    first: int
    other: NDArray[np.int64]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    column_bits: int

    def draw(self, words: Words, count: int) -> NDArray[np.int64]:
        """`count` independent draws `[count]`."""
        out = np.empty(count, dtype=np.int64)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            out[start : start + size] = self.rows([words], size)[0]
        return out

    def rows(self, sources: Sequence[Words], count: int) -> NDArray[np.int64]:
        """`count` draws from each source `[k, count]`, all at once; fast while k·count is about `CHUNK`."""
        word = np.empty((len(sources), count), dtype=np.uint64)
        for row, source in zip(word, sources, strict=True):
            row[:] = source.words(count)
        rest = np.uint64(64 - self.column_bits)
        column = (word >> rest).view(np.int64)
        word &= (np.uint64(1) << rest) - np.uint64(1)
        high = self.high.take(column)
        keep = word < high
        tied = word == high
        if tied.any():
            for at in np.flatnonzero(tied.any(axis=1)).tolist():
                ties = np.flatnonzero(tied[at])
                keep[at, ties] = sources[at].words(len(ties)) < self.low[column[at, ties]]
        other = self.other.take(column)
        column += self.first
        np.copyto(other, column, where=keep)
        return other


def alias(weights: Sequence[int], first: int) -> Alias:
    """The table of P[X = first + i] = weights[i] · 2⁻¹²⁸; raises `ValueError` unless the weights sum to 2¹²⁸."""
    if sum(weights) != 1 << PRECISION or min(weights) < 0:
        raise ValueError(f"alias weights must be at least 0 and sum to 2^{PRECISION}; they sum to {sum(weights)}")
    bits = max(1, (len(weights) - 1).bit_length())
    columns, capacity = 1 << bits, 1 << (PRECISION - bits)
    left = [*weights, *([0] * (columns - len(weights)))]
    kept = [0] * columns
    other = list(range(columns))
    small = [i for i, weight in enumerate(left) if weight < capacity]
    large = [i for i, weight in enumerate(left) if weight > capacity]
    while small:
        poor, rich = small.pop(), large[-1]
        kept[poor], other[poor] = left[poor], rich
        left[rich] -= capacity - left[poor]
        if left[rich] <= capacity:
            large.pop()
            if left[rich] < capacity:
                small.append(rich)
    # A column that its own value fills keeps 0 tickets and has itself as the other value: the same law, no overflow.
    return Alias(
        first=first,
        other=np.array(other, dtype=np.int64) + first,
        high=np.array([tickets >> 64 for tickets in kept], dtype=np.uint64),
        low=np.array([tickets & ((1 << 64) - 1) for tickets in kept], dtype=np.uint64),
        column_bits=bits,
    )
