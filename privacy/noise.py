"""Noise: exact samplers of the discrete Gaussian and the Skellam law on the integers, over a cryptographic stream.

Both draw from tables computed in 60-digit decimal arithmetic, never floating point, and say how far (total variation) the
draws are from the ideal law: `discrete_gaussian_error`, `skellam_error`. That distance belongs into a claim's δ.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .alias import CHUNK, PRECISION, Alias, Desk, Words
from .decimals import DIGITS, NEGLIGIBLE, symmetric
from .gaussian import SHORT, WIDEST, Drawn, Gaussian, NoiseError, fine_bits, gaussian

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

PIECE = 1 << 15  # of an owner's draws are made at once
_NARROW = 30  # bits of a number to which another as large may be added in int32
_MOST_SUMMANDS = 64


def discrete_gaussian(words: Words, sigma: float, count: int) -> NDArray[np.int64]:
    """`count` draws of the discrete Gaussian, P[x] ∝ exp(−x²/2σ²) on the integers `[count]`.

    Raises `NoiseError` for σ outside (0, 2^50]. Within `discrete_gaussian_error(sigma, count)` of the law
    (Canonne, Kamath, Steinke 2020, Definition 1).
    """
    (draws,) = discrete_gaussians([words], sigma, count)
    return np.asarray(draws)


def discrete_gaussians(sources: Sequence[Words], sigma: float, count: int) -> NDArray[np.int64]:
    """`discrete_gaussian` from each of k sources `[k, count]`, all at once and to the same bits."""
    out = np.zeros((len(sources), count), dtype=np.int64)
    add_discrete_gaussians(sources, sigma, out)
    return out


def add_discrete_gaussians(sources: Sequence[Words], sigma: float, into: NDArray[Any]) -> None:
    """Add the draws of `discrete_gaussians` to whole numbers `[k, count]`, int64 or int32, block by block in the cache.

    A vector may come in pieces one after the other, all but the last of a multiple of `PIECE` numbers: the draws are the same.
    Raises `NoiseError` for other kinds, and for int32 where draws are not `narrow`.
    """
    if into.dtype != np.int64 and not (into.dtype == np.int32 and narrow(sigma)):
        raise NoiseError(f"discrete Gaussian: draws of sigma = {sigma} may not fit {into.dtype}; give int64")
    for rows, places, drawn in _gaussian_blocks(sources, gaussian(sigma), into.shape[1]):
        drawn.add(into[rows, places])


def narrow(sigma: float) -> bool:
    """Whether no draw of this discrete Gaussian is as large as 2^30."""
    return gaussian(sigma).reach <= _NARROW


def gaussian_parts(words: Words, sigma: float, count: int) -> Iterator[tuple[slice, Drawn]]:
    """The draws of `discrete_gaussian`, coarse and fine apart, and which of `count` they are: each good until the next."""
    for _, places, drawn in _gaussian_blocks([words], gaussian(sigma), count):
        yield places, drawn


def in_short_parts(sigma: float) -> bool:
    """Whether `gaussian_parts` have a coarse and a fine one, in 32 bits each, and their sum is `narrow`."""
    law = gaussian(sigma)
    return 0 < law.bits <= SHORT and law.reach <= _NARROW


def _gaussian_blocks(sources: Sequence[Words], law: Gaussian, count: int) -> Iterator[tuple[slice, slice, Drawn]]:
    """Draws, and where in `[k, count]` they belong, in blocks that stay in the cache: each good until the next.

    An owner's words are read in the order of its blocks, so its draws do not depend on who is beside it.
    """
    cuts, size = _cuts(len(sources), count, 1)
    with Desk.of(size[0] * (size[1] + _spare(size[1])), len(sources) * count) as desk:
        for rows, places in cuts:
            some, width = sources[rows], places.stop - places.start
            drawn, gone = law.proposed(some, width + (_spare(width) if law.bits else 0), desk)
            if len(gone):
                _replace(drawn, gone, width, some, law)
            yield rows, places, drawn


def _spare(width: int) -> int:
    """How many more proposals than draws are made at once: five times those that are refused, and a few."""
    return 8 + (width >> 9)


def _replace(drawn: Drawn, gone: NDArray[np.intp], width: int, sources: Sequence[Words], law: Gaussian) -> None:
    """Put accepted proposals behind the first `width` of each row in the places of refused ones among these."""
    count = drawn.coarse.shape[1]
    if len(sources) == 1 and gone[-1] < width and len(gone) <= count - width:  # nearly always
        for part in (drawn.coarse[0], drawn.fine[0]):
            part[gone] = part[width : width + len(gone)]
        return
    by_row: dict[int, list[int]] = {}
    for place in gone.tolist():
        by_row.setdefault(place // count, []).append(place % count)
    for row, refused in by_row.items():
        holes, taken = [column for column in refused if column < width], set(refused)
        left = (column for column in range(width, count) if column not in taken)
        spare = list(islice(left, len(holes)))
        for part in (drawn.coarse[row], drawn.fine[row]):
            part[holes[: len(spare)]] = part[spare]
        if missing := holes[len(spare) :]:
            drawn.put(row, missing, discrete_gaussian(sources[row], law.sigma, len(missing)))


def discrete_gaussian_error(sigma: float, count: int) -> float:
    """Bound on the total variation between `count` draws and as many of the ideal discrete Gaussian."""
    bits = fine_bits(sigma)
    # A table ends where exp(−x²/2s²) = 1e-45, at x = 14.4s; each entry is rounded by less than 2⁻¹²⁸, and so is the rest cut.
    table = (30 * math.ldexp(sigma, -bits) + 10) * 2.0**-PRECISION
    # Of a proposal with its decision, 2⁻¹²⁷ more; given that it is accepted, which happens 63 times in 64, twice that over it.
    return count * (table if bits == 0 else 2.1 * (table + 2.0**-127))


def skellam(words: Words, variance: float, count: int) -> NDArray[np.int64]:
    """`count` draws of the difference of two Poisson(variance/2) variables, P[x] = exp(−μ) I_x(μ) `[count]`.

    A variance above 2270² is drawn as a sum of equal Skellam variables, which is exact; raises `NoiseError` above 64 of them.
    """
    (draws,) = skellams([words], variance, count)
    return np.asarray(draws)


def skellams(sources: Sequence[Words], variance: float, count: int) -> NDArray[np.int64]:
    """`skellam` from each of k sources `[k, count]`, all at once and to the same bits."""
    terms, table = _summands(variance), _skellam_table(variance)
    out = np.empty((len(sources), count), dtype=np.int64)
    cuts, size = _cuts(len(sources), count, terms)
    with Desk.of(terms * size[0] * size[1], terms * out.size) as desk:
        for rows, places in cuts:
            width = places.stop - places.start
            parts = table.rows(sources[rows], terms * width, desk).reshape(-1, terms, width)
            out[rows, places] = parts.sum(axis=1, dtype=np.int64)
    return out


def skellam_error(variance: float, count: int) -> float:
    """Bound on the total variation between `count` draws and as many of the ideal Skellam law."""
    terms = _summands(variance)
    return count * terms * (2 * _last(variance / terms) + 3) * 2.0**-PRECISION


def _cuts(owners: int, count: int, terms: int) -> tuple[list[tuple[slice, slice]], tuple[int, int]]:
    """Rows and columns of `[owners, count]` in blocks that stay in the cache at `terms` draws a number, and the largest's.

    No row's cuts depend on the others.
    """
    width = min(PIECE, max(1, count))
    rows = max(1, min(owners, CHUNK // (terms * width)))
    cuts = [
        (slice(first, min(first + rows, owners)), slice(start, min(start + width, count)))
        for first in range(0, owners, rows)
        for start in range(0, count, width)
    ]
    return cuts, (rows, width)


def _summands(variance: float) -> int:
    if not (math.isfinite(variance) and variance > 0):
        raise NoiseError(f"skellam: variance = {variance}; give a finite number above 0")
    terms = math.ceil(variance / WIDEST**2)
    if terms > _MOST_SUMMANDS:
        raise NoiseError(
            f"skellam: variance = {variance:.6g} a share; this sampler reaches {_MOST_SUMMANDS * WIDEST**2:.3g}; "
            "encode with fewer bits or a larger step, or use discrete-gaussian"
        )
    return terms


def _last(mu: float) -> int:
    """Where a Skellam table ends: Bennett's P[X ≥ t] ≤ exp(−t²/(2(μ + t/3))) is below 1e-60 from 17√μ + 110 on."""
    return 110 + math.ceil(17 * math.sqrt(mu))


@lru_cache(maxsize=32)
def _skellam_table(variance: float) -> Alias:
    with localcontext(DIGITS):
        terms = _summands(variance)
        mu = Decimal(variance) / terms
        # Miller: I_{k−1} = I_{k+1} + (2k/μ) I_k is stable downwards, all terms positive; Σ over Z of exp(−μ)I_k is 1.
        half = [Decimal(0), Decimal(1)]
        for k in range(_last(variance / terms), 0, -1):
            half.append(half[-2] + 2 * k / mu * half[-1])
        half.reverse()
        return symmetric([value for value in half if value > NEGLIGIBLE * half[0]])
