"""Lattice: the fine public grid on which central noise and an owner's own noise are added (PRIVACY.md 9).

One unit's sensitivity is 2²⁸ steps, so the step is public and the same in every round relative to the Signal. On a grid this
fine the discrete Gaussian is a rounded continuous Gaussian up to a total variation that is computed here and declared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..compiled import loops_for
from ..noise import discrete_gaussian_error
from ..pipeline import require
from ..rounding import NEGLIGIBLE, SMOOTH, distance
from ..signal import Noise, Place, Signal
from .order import bounded, real

STEPS = 1 << 28
_FLOAT = 2.0**-10  # float64 products with values below 2⁴⁰: an error below 2⁻¹² a coordinate, twice, and room
_FARTHEST = 2.0**40
_BLOCK = 1 << 18  # numbers that are rounded at a time: they stay in the cache


def onto(stage: str, signal: Signal) -> Signal:
    """The Signal after rounding onto the lattice.

    unit = owner: step = bound / 2²⁸, the integer norm is checked, so sensitivity and bound are 2²⁸ steps.
    unit = example: step = C / 2²⁸; rounding the sum moves each coordinate by at most ½ on either side, hence C/step + √d
    (PRIVACY.md 5); coordinates are cut to ±`_limit`, which moves two sums no further apart.
    """
    real(stage, signal)
    root = math.sqrt(signal.dim)
    if signal.unit == "owner":
        bounded(stage, signal)
        return dataclasses.replace(
            signal, scale=signal.bound / STEPS, sensitivity=float(STEPS), bound=float(STEPS),
            peak=min(float(STEPS), signal.peak / signal.bound * STEPS + 1),
        )  # fmt: skip
    scale = signal.sensitivity / STEPS
    require(
        math.isfinite(scale) and scale > 0,
        stage,
        f"nothing bounds what one {signal.unit} contributes",
        "use a solver that clips examples (clipped-gradient), or put a clip before it",
    )
    limit = _limit(signal)
    sensitivity = STEPS + root * (1 + _FLOAT)
    return dataclasses.replace(
        signal,
        scale=scale,
        sensitivity=sensitivity,
        bound=min(signal.bound / scale + root, limit * root),
        peak=min(signal.peak / scale + 1, limit),
        inflation=signal.inflation * sensitivity / STEPS,
    )


def rounded(values: Tensor, signal: Signal) -> Tensor:
    """Real vectors on the lattice, `[k, d]` float32 -> `[k, d]` int64; `signal` is the one before `onto`.

    A non-finite vector becomes the zero vector. For unit = owner the exact integer norm never exceeds 2²⁸: nearest points
    first, then truncation towards zero (never longer than the real vector), then, where the input broke its bound, zero.
    """
    out = torch.empty(values.shape, dtype=torch.int64, device=values.device)
    rows = max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        block = values[start : start + rows].to(torch.float64)
        out[start : start + rows] = _of_owner(block, signal) if signal.unit == "owner" else _of_examples(block, signal)
    return out


def rounded_sum(total: Tensor, signal: Signal) -> Tensor:
    """A sum of owners' real vectors on the lattice, `[d]` float32 -> `[d]` int64; `signal` is the one before `onto`.

    What a simulation does where the messages were never formed: the sum of their roundings, up to half a step for each. No
    norm is checked here; the clip before it has done that.
    """
    scale = STEPS / signal.bound
    if total.device.type == "cpu" and (found := loops_for(len(total))) is not None:
        out = torch.empty(len(total), dtype=torch.int64)
        found.onto(total.numpy(), scale, out.numpy())
        return out
    return (total.to(torch.float64) * scale).round_().to(torch.int64)


def _of_owner(values: Tensor, signal: Signal) -> Tensor:
    scaled = values * (STEPS / signal.bound)
    # NaN is not ≤ 2; a coordinate beyond the bound could only belong to a vector that broke it.
    scaled[~(scaled.abs().amax(dim=1) <= 2 * STEPS)] = 0
    return shortest(scaled.round(), lambda rows: scaled[rows].trunc(), STEPS**2)


def _of_examples(values: Tensor, signal: Signal) -> Tensor:
    limit = _limit(signal)
    scaled = values * (STEPS / signal.sensitivity)
    scaled[~torch.isfinite(scaled).all(dim=1)] = 0
    return scaled.round_().clamp_(-limit, limit)


def shortest(vectors: Tensor, truncated: Callable[[Tensor], Tensor], limit: int) -> Tensor:
    """`vectors` of integers, with `truncated(rows)` in place of those whose squared norm is above `limit`, else zero."""
    rows = torch.nonzero(exceeds(vectors, limit)).flatten()
    if len(rows):
        shorter = truncated(rows)
        shorter[exceeds(shorter, limit)] = 0
        vectors = vectors.index_copy(0, rows, shorter)
    return vectors


def exceeds(vectors: Tensor, limit: int) -> Tensor:
    """Whether the squared L2 norm of float64 vectors of integers `[k, d]` is above `limit` (at most 2⁶¹), exactly `[k]`."""
    near: Tensor = torch.linalg.vector_norm(vectors, dim=1).square()
    above = near > limit
    # Floating point decides beyond its own error, d · 2⁻⁵³ or less; nearer than that the sum is taken in int64, where it fits.
    close = torch.nonzero((near - limit).abs() <= limit * max(2.0**-40, vectors.shape[1] * 2.0**-51)).flatten()
    if len(close):
        above[close] = vectors[close].to(torch.int64).square().sum(dim=1) > limit
    return above


def real_values(total: Tensor, signal: Signal) -> Tensor:
    """Lattice points as float32 numbers `[d]`; `signal` is the one after `onto`. Rounding to float32 is post-processing."""
    scale = signal.scale or 1.0
    if total.device.type == "cpu" and total.is_contiguous() and (found := loops_for(len(total))) is not None:
        out = torch.empty(len(total), dtype=torch.float32)
        found.real(total.numpy(), scale, out.numpy())
        return out
    return (total.to(torch.float64) * scale).to(torch.float32)


def noised(stage: str, signal: Signal, noise_multiplier: float, place: Place) -> Signal:
    """`signal` (after `onto`) with discrete Gaussian noise that is accounted as the continuous one.

    How far these are apart (`privacy/rounding.py`) and the sampler's own distance are added; `delta_extra` takes both.
    """
    if noise_multiplier == 0:
        return signal
    sigma = noise_multiplier * signal.sensitivity
    require(
        SMOOTH <= sigma <= 2.0**50 and signal.most * (sigma * 16 + signal.reach) < 2.0**62,
        stage,
        f"noise_multiplier = {noise_multiplier!r} leaves the range of the lattice",
        "give 0 for no noise, or a number between 0.01 and 1000",
    )
    apart = distance(sigma, signal.dim) + discrete_gaussian_error(sigma, signal.dim)
    draws = 1 if place == "server" else signal.most
    require(
        apart <= NEGLIGIBLE,
        stage,
        f"noise_multiplier = {noise_multiplier!r} is so small that rounding shows (total variation {apart:.1e})",
        f"give at least {math.sqrt(math.sqrt(signal.dim / 394) / NEGLIGIBLE) / STEPS * 1.1:.1e}, or 0 for no noise",
    )
    return dataclasses.replace(
        signal,
        noise=(Noise("gaussian", place, sigma**2),),
        delta_extra=signal.delta_extra + draws * apart,
    )


def _limit(signal: Signal) -> float:
    return min(_FARTHEST, math.floor(2.0**60 / signal.most))
