"""Noise: exact samplers of the discrete Gaussian and the Skellam law on the integers, over a cryptographic stream.

Both invert tables computed in 60-digit decimal arithmetic, never floating point, and say how far (total variation) the
draws are from the ideal law: `discrete_gaussian_error`, `skellam_error`. That distance belongs into a claim's δ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .alias import CHUNK, PRECISION, Alias, Desk, Words, alias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_WIDEST = 2270.0  # σ of the widest table: 2^16 columns of 4 bytes, which stay in the second-level cache
_SMOOTH = 2.5  # τ of every convolution: relative error below 2 · 1.01 · exp(−2π²τ²) < 2⁻¹⁷⁶
_LARGEST_FACTOR = 880  # 3 % below _WIDEST / _SMOOTH: room for rounding the factor up to an integer
_LARGEST = 2.0**50  # σ beyond which sums of draws could leave int64
PIECE = 1 << 14  # of an owner's draws are made at once
_INT32, _FLOAT64 = 2**31 - 1, 2**53  # up to which whole numbers are exact
_MOST_SUMMANDS = 64
_DIGITS = Context(prec=60)
_NEGLIGIBLE = Decimal("1e-45")  # weight relative to the mode where a table ends; what lies beyond is below 2⁻¹²⁸


class NoiseError(ValueError):
    """A law that these samplers cannot draw; names the limit."""


@dataclass(frozen=True, slots=True)
class Levels:
    """How a discrete Gaussian is put together: X = Σ_{i<count} factor^i · Xᵢ, all Xᵢ of one table.

    The table's variance parameter is σ² / Σ_{i<count} factor^(2i), so that the sum's parameter is σ² exactly.
    """

    count: int
    factor: int

    @property
    def gain(self) -> int:
        """Σ_{i<count} factor^(2i)."""
        return sum(self.factor ** (2 * i) for i in range(self.count))

    def reach(self, count: int) -> int:
        """What Σ_{i<count} factor^i · Xᵢ cannot exceed while no |Xᵢ| exceeds 2^15, as in every table here."""
        factors: int = sum(self.factor**i for i in range(count))
        return factors << 15


@lru_cache(maxsize=256)
def levels(sigma: float) -> Levels:
    """The fewest levels that reach σ with a table of at most `_WIDEST` and smooth convolutions.

    k·X₁ + X₂ of discrete Gaussians σ₁, σ₂ has P[y] ∝ exp(−y²/2S²) · Σ_x exp(−(x − c(y))²/2τ²) with S² = k²σ₁² + σ₂² and
    τ = σ₁σ₂/S. By Poisson summation the second factor is constant up to 1 ± 2Σ_{j≥1} exp(−2π²τ²j²) (Micciancio and Walter 2017
    use the same for lattice signatures). Every level has σ₂ = s and σ₁ ≥ s, so τ ≥ s/√(k² + 1), kept at 2.5 or more.
    """
    if not (math.isfinite(sigma) and 0 < sigma <= _LARGEST):
        raise NoiseError(f"discrete Gaussian: sigma = {sigma}; give a number above 0 and up to 2^50")
    count = 1
    while sigma > _WIDEST * _LARGEST_FACTOR ** (count - 1):
        count += 1
    factor = 1
    if count > 1:
        factor = math.ceil((sigma / _WIDEST) ** (1 / (count - 1)))
        # The narrowest table that keeps τ: a larger factor shares the width out more evenly.
        while sigma / math.sqrt(Levels(count, factor + 1).gain) >= _SMOOTH * math.hypot(factor + 1, 1):
            factor += 1
    return Levels(count, factor)


def discrete_gaussian(words: Words, sigma: float, count: int) -> NDArray[np.int64]:
    """`count` draws of the discrete Gaussian, P[x] ∝ exp(−x²/2σ²) on the integers `[count]`.

    Raises `NoiseError` for σ outside (0, 2^50]. Within `discrete_gaussian_error(sigma, count)` of the law
    (Canonne, Kamath, Steinke 2020, Definition 1).
    """
    (draws,) = discrete_gaussians([words], sigma, count)
    return np.asarray(draws)


def discrete_gaussians(sources: Sequence[Words], sigma: float, count: int) -> NDArray[np.int64]:
    """`discrete_gaussian` from each of k sources `[k, count]`, all at once and to the same bits."""
    out = np.empty((len(sources), count), dtype=np.int64)
    for rows, places, draws in _gaussian_blocks(sources, sigma, count, out.dtype):
        out[rows, places] = draws
    return out


def add_discrete_gaussians(sources: Sequence[Words], sigma: float, into: NDArray[Any]) -> None:
    """Add the draws of `discrete_gaussians` to whole numbers `[k, count]` in int64 or float64, block by block in the cache.

    A vector may come in pieces one after the other, all but the last of a multiple of `PIECE` numbers: the draws are the same.
    Draws are exact in either. Sums in float64 beyond 2^53 are the exact ones rounded. Raises `NoiseError` for other kinds.
    """
    if into.dtype not in (np.int64, np.float64):
        raise NoiseError(f"discrete Gaussian: draws would be rounded in {into.dtype}; give int64 or float64")
    plan = levels(sigma)
    kind = into.dtype if plan.reach(plan.count) <= _FLOAT64 else np.dtype(np.int64)
    for rows, places, draws in _gaussian_blocks(sources, sigma, into.shape[1], kind):
        if kind == into.dtype:
            into[rows, places] += draws
        else:
            into[rows, places] = into[rows, places].astype(np.int64) + draws


def _gaussian_blocks(
    sources: Sequence[Words], sigma: float, count: int, kind: np.dtype[Any]
) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Draws as numbers of `kind`, and where in `[k, count]` they belong, in blocks that stay in the cache.

    Words are read level by level for `PIECE` of an owner's draws, so these do not depend on who is beside it.
    """
    plan, table = levels(sigma), _gaussian_table(sigma)
    # Sums of up to so many levels are formed in int32.
    narrow = next((level for level in range(1, plan.count) if plan.reach(level + 1) > _INT32), plan.count)
    cuts, desk = _cuts(len(sources), count, plan.count)
    wide = np.empty(desk.words.size // plan.count, dtype=kind)
    for rows, places in cuts:
        shape = rows.stop - rows.start, places.stop - places.start
        parts = table.rows(sources[rows], plan.count * shape[1], desk).reshape(shape[0], plan.count, shape[1])
        top = parts[:, -1]
        for level in range(1, narrow):
            top *= np.int32(plan.factor)
            top += parts[:, -1 - level]
        sums = wide[: top.size].reshape(shape)
        np.copyto(sums, top)
        for level in range(narrow, plan.count):
            sums *= plan.factor
            sums += parts[:, -1 - level]
        yield rows, places, sums


def discrete_gaussian_error(sigma: float, count: int) -> float:
    """Bound on the total variation between `count` draws and as many of the ideal discrete Gaussian."""
    plan = levels(sigma)
    # A table ends where exp(−x²/2s²) = 1e-45, at x = 14.4s; each entry is rounded by less than 2⁻¹²⁸, and so is the rest cut.
    table = (30 * sigma / math.sqrt(plan.gain) + 10) * 2.0**-PRECISION
    # A relative error of 1 ± e before normalising is a total variation of at most e / (1 − e) after.
    smooth = 0.0 if plan.count == 1 else 2.1 * math.exp(-2 * (math.pi * _SMOOTH) ** 2)
    return count * (plan.count * table + (plan.count - 1) * smooth)


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
    cuts, desk = _cuts(len(sources), count, terms)
    for rows, places in cuts:
        size = places.stop - places.start
        parts = table.rows(sources[rows], terms * size, desk).reshape(-1, terms, size)
        out[rows, places] = parts.sum(axis=1, dtype=np.int64)
    return out


def skellam_error(variance: float, count: int) -> float:
    """Bound on the total variation between `count` draws and as many of the ideal Skellam law."""
    terms = _summands(variance)
    return count * terms * (2 * _last(variance / terms) + 3) * 2.0**-PRECISION


def _cuts(owners: int, count: int, terms: int) -> tuple[list[tuple[slice, slice]], Desk]:
    """Rows and columns of `[owners, count]` in blocks that stay in the cache at `terms` draws a number, and room for one.

    No row's cuts depend on the others.
    """
    width = min(PIECE, max(1, count))
    rows = max(1, min(owners, CHUNK // (terms * width)))
    cuts = [
        (slice(first, min(first + rows, owners)), slice(start, min(start + width, count)))
        for first in range(0, owners, rows)
        for start in range(0, count, width)
    ]
    return cuts, Desk.of(terms * rows * width)


def _summands(variance: float) -> int:
    if not (math.isfinite(variance) and variance > 0):
        raise NoiseError(f"skellam: variance = {variance}; give a finite number above 0")
    terms = math.ceil(variance / _WIDEST**2)
    if terms > _MOST_SUMMANDS:
        raise NoiseError(
            f"skellam: variance = {variance:.6g} a share; this sampler reaches {_MOST_SUMMANDS * _WIDEST**2:.3g}; "
            "encode with fewer bits or a larger step, or use discrete-gaussian"
        )
    return terms


def _last(mu: float) -> int:
    """Where a Skellam table ends: Bennett's P[X ≥ t] ≤ exp(−t²/(2(μ + t/3))) is below 1e-60 from 17√μ + 110 on."""
    return 110 + math.ceil(17 * math.sqrt(mu))


@lru_cache(maxsize=32)
def _gaussian_table(sigma: float) -> Alias:
    with localcontext(_DIGITS):
        variance = Decimal(sigma) ** 2 / levels(sigma).gain
        # exp(−(x+1)²/2σ²) = exp(−x²/2σ²) · ratio, and the ratio itself shrinks by a constant factor.
        weight, ratio, shrink = Decimal(1), (-1 / (2 * variance)).exp(), (-1 / variance).exp()
        half = [weight]
        while weight > _NEGLIGIBLE or len(half) < 2:
            weight *= ratio
            ratio *= shrink
            half.append(weight)
        return _symmetric(half)


@lru_cache(maxsize=32)
def _skellam_table(variance: float) -> Alias:
    with localcontext(_DIGITS):
        terms = _summands(variance)
        mu = Decimal(variance) / terms
        # Miller: I_{k−1} = I_{k+1} + (2k/μ) I_k is stable downwards, all terms positive; Σ over Z of exp(−μ)I_k is 1.
        half = [Decimal(0), Decimal(1)]
        for k in range(_last(variance / terms), 0, -1):
            half.append(half[-2] + 2 * k / mu * half[-1])
        half.reverse()
        return _symmetric([value for value in half if value > _NEGLIGIBLE * half[0]])


def _symmetric(half: list[Decimal]) -> Alias:
    """Table of the law with P[±i] ∝ half[i]; what rounding down leaves over goes to 0."""
    scale = Decimal(1 << PRECISION) / (half[0] + 2 * sum(half[1:]))
    side = [int(weight * scale) for weight in half[1:]]
    return alias([*reversed(side), (1 << PRECISION) - 2 * sum(side), *side], -len(side))
