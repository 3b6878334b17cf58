"""Gaussian: how one discrete Gaussian is drawn, exactly, whatever its width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .alias import Alias, Desk, Words
from .compiled import Loops
from .decimals import DIGITS, NEGLIGIBLE, symmetric, two_sided

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDEST = 2270.0  # σ of the widest table: 2^16 columns of 4 bytes, which stay in the second-level cache
SHORT = 26  # fine bits that one 32-bit word holds beside those of the filter
_FILTER = 6  # bits: no proposal is refused with a probability above 2^-6
_LARGEST = 2.0**50  # σ beyond which sums of draws could leave int64
_CLOSE = 2.0**-46  # floating point decides beyond this distance


class NoiseError(ValueError):
    """A law that these samplers cannot draw; names the limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Draws as they are made, coarse and fine apart, `[k, n]` each: 2^bits·coarse + (fine mod 2^bits).

    They are put together where they are used, which spares a pass over them. Without bits there is nothing fine.
    """

    coarse: NDArray[np.int32]
    fine: NDArray[Any]  # words of 32 or 64 bits
    bits: int
    loops: Loops | None

    def at(self, places: NDArray[np.intp]) -> NDArray[np.int64]:
        """Those at some places in `[k·n]`."""
        found = self.coarse.reshape(-1)[places].astype(np.int64)
        if self.bits:
            found <<= self.bits
            found += (self.fine.reshape(-1)[places] & ((1 << self.bits) - 1)).astype(np.int64)
        return found

    def put(self, row: int, columns: list[int], draws: NDArray[np.int64]) -> None:
        """Put others in the place of some of a row's."""
        self.coarse[row, columns] = draws >> self.bits
        if self.bits:
            self.fine[row, columns] = draws & ((1 << self.bits) - 1)

    def add(self, into: NDArray[Any]) -> None:
        """Add the first w of each row to whole numbers `[k, w]`, int64, or int32 where they fit."""
        width = into.shape[1]
        if self.bits == 0:
            into += self.coarse[:, :width]
        elif self.loops is not None and into.flags.c_contiguous:
            self.loops.added(self.coarse, self.fine, self.bits, into)
        else:
            into += self.coarse[:, :width].astype(into.dtype) << self.bits
            fine = self.fine[:, :width] & self.fine.dtype.type((1 << self.bits) - 1)
            into += fine.view("<i4" if fine.itemsize == 4 else "<i8")


@dataclass(frozen=True, slots=True)
class Gaussian:
    """How a discrete Gaussian is drawn: X = 2^bits · A + B, coarse A from a table, fine B uniform on [0, 2^bits).

    With bits = 0 the table's law is that of X. Otherwise, with m(a) the smallest |2^bits·a + b|, A has P[a] ∝ exp(−m(a)²/2σ²)
    and X is accepted with probability exp(−(X² − m(A)²)/2σ²), else proposed anew: P[x] ∝ exp(−x²/2σ²), exactly (rejection;
    Karney 2016 draws coarse and fine parts so, too). A refusal has a probability of at most (|a| + 1)/σ'² < 2^-6, σ' = σ/2^bits
    above 1135 and |a| ≤ 14.4σ' + 1: only a word whose first six bits are zero may refuse.
    """

    sigma: float
    bits: int
    table: Alias

    @property
    def reach(self) -> int:
        """Bits of |X|, at most: |A| is below 2^15 in every table here."""
        return 15 + self.bits

    def proposed(self, sources: Sequence[Words], count: int, desk: Desk) -> tuple[Drawn, NDArray[np.intp]]:
        """`count` proposals from each source, on the desk; places in `[k·count]` of those that are refused."""
        coarse = self.table.rows(sources, count, desk)
        if self.bits == 0:
            return Drawn(coarse, desk.words[:0].reshape(len(sources), 0), 0, desk.loops), np.empty(0, dtype=np.intp)
        word = np.dtype("<u4" if self.bits <= SHORT else "<u8")
        fine = desk.words[: coarse.size * (word.itemsize // 4)].view(word)
        view, size = desk.view, count * word.itemsize
        for source in sources:
            source.fill(view, size)
            view = view[size:]
        drawn = Drawn(coarse, fine.reshape(coarse.shape), self.bits, desk.loops)
        limit = 1 << (8 * word.itemsize - _FILTER)
        if desk.loops is not None:
            found = desk.loops.below(coarse.reshape(-1), fine, self.bits, limit, desk.places, desk.values)
            doubtful, values = desk.places[:found], desk.values[:found]
        else:
            doubtful = np.flatnonzero(fine < word.type(limit))
            values = drawn.at(doubtful)
        return drawn, self.refused(values, doubtful, count, sources, desk.loops)

    def refused(
        self,
        values: NDArray[np.int64],
        places: NDArray[np.intp],
        count: int,
        sources: Sequence[Words],
        loops: Loops | None = None,
    ) -> NDArray[np.intp]:
        """Those of the `places`, in `[k·count]` and ascending, whose proposals x, the `values` there, are refused: each with
        2^6·(1 − exp(−(x² − m²)/2σ²)).

        A word of its source decides: R < that, R uniform on [0, 1); where they are too close for float64, a further word and
        decimal arithmetic, so that a decision is right to 2^-127.
        """
        if not len(places):
            return places
        words = _words(sources, places // count if len(sources) > 1 else places)
        rate = -0.5 / self.sigma**2
        if loops is not None:
            gone = np.empty_like(places)
            found = loops.refused(values, places, words, self.bits, rate, 2 * _CLOSE, gone)
            if found >= 0:
                return gone[:found]
        # |x| − m: a negative x is nearest to zero where its fine bits are ones.
        near = (values ^ (values >> 63)) & ((1 << self.bits) - 1)
        far = 2 * np.abs(values) - near  # |x| + m
        # Four roundings and expm1: a relative error below 2^-48 of a number of at most 1.
        limits = np.multiply(near, far, dtype=np.float64)
        limits *= rate
        np.expm1(limits, out=limits)
        apart = (words >> np.uint64(11)) * 2.0**-53
        apart += limits * 2.0**_FILTER  # drawn less limit
        below = apart < 0
        if np.abs(apart).min() <= _CLOSE:
            for at in np.flatnonzero(np.abs(apart) <= _CLOSE).tolist():
                (further,) = sources[int(places[at]) // count].words(1).tolist()
                below[at] = self._below((int(words[at]) << 64) + further, int(near[at]) * int(far[at]))
        refused: NDArray[np.intp] = places[below]
        return refused

    def _below(self, drawn: int, difference: int) -> bool:
        """Whether drawn·2⁻¹²⁸ < 2^6·(1 − exp(−difference/2σ²))."""
        with localcontext(DIGITS):
            kept = (-Decimal(difference) / (2 * Decimal(self.sigma) ** 2)).exp()
            return Decimal(drawn) / (1 << 128) < (1 - kept) * (1 << _FILTER)


def _words(sources: Sequence[Words], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """A word for each of these rows, in ascending order, from the source of that number."""
    if len(sources) == 1:
        return sources[0].words(len(rows))
    each = np.bincount(rows, minlength=len(sources)).tolist()
    return np.concatenate([source.words(many) for source, many in zip(sources, each, strict=True) if many])


def fine_bits(sigma: float) -> int:
    """The fewest for which a table reaches σ; raises `NoiseError` for σ outside (0, 2^50]."""
    if not (math.isfinite(sigma) and 0 < sigma <= _LARGEST):
        raise NoiseError(f"discrete Gaussian: sigma = {sigma}; give a number above 0 and up to 2^50")
    bits = 0
    while math.ldexp(WIDEST, bits) < sigma:
        bits += 1
    return bits


@lru_cache(maxsize=32)
def gaussian(sigma: float) -> Gaussian:
    """How to draw the discrete Gaussian of σ; raises `NoiseError` for σ outside (0, 2^50]."""
    bits = fine_bits(sigma)
    with localcontext(DIGITS):
        right = _half(sigma, bits, 0)
        if bits == 0:
            return Gaussian(sigma, bits, symmetric(right))
        left = _half(sigma, bits, 1)  # −1, −2, …: one nearer to zero than their opposites
        return Gaussian(sigma, bits, two_sided(left, right))


def _half(sigma: float, bits: int, offset: int) -> list[Decimal]:
    """exp(−(2^bits·i + offset)²/2σ²) for i = 0, 1, … down to `NEGLIGIBLE`."""
    variance, step = Decimal(sigma) ** 2, 1 << bits
    # Each is the one before times a ratio that itself shrinks by a constant factor.
    weight = (-Decimal(offset**2) / (2 * variance)).exp()
    ratio = (-Decimal(step * (step + 2 * offset)) / (2 * variance)).exp()
    shrink = (-Decimal(step**2) / variance).exp()
    half = [weight]
    while weight > NEGLIGIBLE or len(half) < 2:
        weight *= ratio
        ratio *= shrink
        half.append(weight)
    return half
