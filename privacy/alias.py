"""Alias table: draws from a fixed law on integers with one 32-bit word a draw, exact to 2⁻¹²⁸.

Walker's method (Walker 1977; exact construction of Vose 1991) in integer arithmetic. The law is 2¹²⁸ equal tickets dealt
to K = 2^k columns, each holding at most two values. A word picks the column with its low k bits and the top bits of a
ticket with the rest; where these equal the threshold's top bits, 96 further bits decide the tie. So every probability is
an exact multiple of 2⁻¹²⁸ whatever the machine's floating point does.

A column is one number: its threshold's top 32 − k bits above the k bits of the other value. A word has its own column
where that has the other value, so the smaller of the two numbers holds the value, save for ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .compiled import Loops, loops_for
from .keystream import ROOM

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISION = 128
WORD = 32
CHUNK = 1 << 15  # words settled at once: they, their gather and a table of 2^16 columns stay in the second-level cache
_USUAL = CHUNK + (1 << 7)  # draws that a desk which is kept has room for: up to 1 MB
_MOST_KEPT = 4
_MOST_BITS = 20  # of a column: then one draw in 2^12 is a tie


class Words(Protocol):
    """A source of uniform bits, such as `Stream`."""

    def fill(self, view: memoryview, count: int) -> None:
        """Write the next `count` bytes to the front of `view`, of bytes, which has room for `ROOM` more."""
        ...

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words of 64 bits."""
        ...


@dataclass(slots=True, eq=False)
class Desk:
    """Room for the draws of one block and what they are made with, `with Desk.of(size, draws) as desk`.

    It is kept for the next who asks: fresh memory costs as much as the draws that are made in it.
    """

    size: int
    words: NDArray[np.uint32]
    view: memoryview
    places: NDArray[np.intp]
    values: NDArray[np.int64]
    entry: NDArray[np.uint32]
    tied: NDArray[np.uint32]
    loops: Loops | None

    @staticmethod
    def of(size: int, draws: int) -> Desk:
        """Room for `size` draws at once, of `draws` in all, with up to 64 bits each."""
        loops = loops_for(draws)
        try:
            desk = _kept.pop() if size <= _USUAL else _made(size)
        except IndexError:
            desk = _made(_USUAL)
        desk.loops = loops
        return desk

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        if self.size == _USUAL and len(_kept) < _MOST_KEPT:
            _kept.append(self)


_kept: list[Desk] = []  # of `_USUAL` size; pop and append are one step each, so that threads may ask at once


def _made(size: int) -> Desk:
    words = np.empty(2 * size + ROOM // 4 + 1, dtype="<u4")
    places, values = np.empty((2, size), dtype=np.int64)
    entry, tied = np.empty((2, size), dtype=np.uint32)
    return Desk(size, words, words.data.cast("B"), places, values, entry, tied, None)


@dataclass(frozen=True, slots=True, eq=False)
class Alias:
    """The table of a law on `first, first + 1, …`.

    Column c holds `first + c` and one other value `first + o`. `columns[c]`: the top 32 − k bits of the number of tickets
    that `first + c` holds, times 2^k, plus o; `middle[c]`, `low[c]`: the next 64 and the last 32 bits of that number.
    """

    first: int
    columns: NDArray[np.uint32]
    middle: NDArray[np.uint64]
    low: NDArray[np.uint64]
    column_bits: int

    def draw(self, words: Words, count: int) -> NDArray[np.int64]:
        """`count` independent draws `[count]`."""
        out = np.empty(count, dtype=np.int64)
        with Desk.of(min(count, CHUNK), count) as desk:
            for start in range(0, count, CHUNK):
                size = min(CHUNK, count - start)
                out[start : start + size] = self.rows([words], size, desk)[0]
        return out

    def rows(self, sources: Sequence[Words], count: int, desk: Desk) -> NDArray[np.int32]:
        """`count` draws from each source `[k, count]`, all at once, in the desk's `entry`: good until it is next used."""
        size = len(sources) * count
        words, view = desk.words[:size], desk.view
        for source in sources:
            source.fill(view, 4 * count)
            view = view[4 * count :]
        mask = np.uint32((1 << self.column_bits) - 1)
        column, entry, tied = desk.places[:size], desk.entry[:size], desk.tied[:size]
        if desk.loops is not None:
            draws = entry.view(np.int32)
            found = desk.loops.coarse(words, self.columns, self.column_bits, self.first, draws, column)
            if found:
                self._settle(draws, column[:found], words[column[:found]] & mask, sources)
            return draws.reshape(len(sources), count)
        np.bitwise_and(words, mask, out=tied)
        np.copyto(column, tied)
        self.columns.take(column, out=entry, mode="wrap")  # every column is there: no looking whether it is
        np.bitwise_xor(words, entry, out=tied)
        # The smaller of the two numbers holds the value: the word its own column, or the entry the other value.
        np.minimum(words, entry, out=entry)
        np.bitwise_and(entry, mask, out=entry)
        draws = entry.view(np.int32)
        draws += np.int32(self.first)
        if size and tied.min() <= mask:
            places = np.flatnonzero(tied <= mask)
            self._settle(draws, places, column[places], sources)
        return draws.reshape(len(sources), count)

    def _settle(
        self, draws: NDArray[np.int32], places: NDArray[np.intp], columns: NDArray[Any], sources: Sequence[Words]
    ) -> None:
        """Draw the values at places where a word is a tie in its column, each with further words of its own source."""
        count = len(draws) // len(sources)
        for place, column in zip(places.tolist(), columns.tolist(), strict=True):
            own = self._below(column, sources[place // count])
            draws[place] = self.first + (column if own else int(self.columns[column]) & (1 << self.column_bits) - 1)

    def _below(self, column: int, source: Words) -> bool:
        """Whether a ticket with the top bits of a column's threshold is below it: two words are its last 96 bits."""
        middle, low = source.words(2).tolist()
        return (middle, low >> 32) < (int(self.middle[column]), int(self.low[column]))


def alias(weights: Sequence[int], first: int) -> Alias:
    """The table of P[X = first + i] = weights[i] · 2⁻¹²⁸.

    Raises `ValueError` unless the weights sum to 2¹²⁸, for more than 2²⁰ of them, and for a `first` beyond ±2³⁰.
    """
    if sum(weights) != 1 << PRECISION or min(weights) < 0:
        raise ValueError(f"alias weights must be at least 0 and sum to 2^{PRECISION}; they sum to {sum(weights)}")
    bits = max(1, (len(weights) - 1).bit_length())
    if bits > _MOST_BITS or abs(first) > 1 << 30:
        raise ValueError(f"an alias table of {len(weights)} values from {first}; give up to 2^{_MOST_BITS} near zero")
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
    rest = PRECISION - WORD
    tops = [tickets >> rest << bits | o for tickets, o in zip(kept, other, strict=True)]
    return Alias(
        first=first,
        columns=np.array(tops, dtype=np.uint32),
        middle=np.array([tickets >> 32 & ((1 << 64) - 1) for tickets in kept], dtype=np.uint64),
        low=np.array([tickets & ((1 << 32) - 1) for tickets in kept], dtype=np.uint64),
        column_bits=bits,
    )
