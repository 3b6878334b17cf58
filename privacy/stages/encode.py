"""Encode: real vectors to integers mod 2^b by stochastic rounding, so that they can be noised, masked and summed exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..entropy import Stream
from ..pipeline import Env, Stage, require
from ..signal import Signal
from ..updates import Dense, Updates
from .lattice import exceeds, shortest
from .order import bounded, unmasked
from .ring import WIDEST, bits_for, centred, fits, residues, tail
from .streams import owner_streams

_FINEST = 1 << 28
_COARSEST = 2.0  # times the sensitivity: a ring that costs more is a mistake until somebody says otherwise
_TRIES = 32
_BLOCK = 1 << 15  # numbers that are rounded at a time: they stay in the cache
_FLOAT = 2.0**-10  # float64 error of x/step below 2²⁸ steps, on both sides, with room


@dataclass(frozen=True, slots=True)
class Encode(Stage):
    """x ↦ ⌊x/step + u⌋ mod 2^bits with u uniform on [0, 1)^d, `[k, d]` float32 -> int64; the server half maps back.

    | unit    | rounding                                                    | sensitivity in steps                       |
    |---------|-------------------------------------------------------------|--------------------------------------------|
    | owner   | repeated until the norm is at most Δ₂, then towards zero    | Δ₂² = min{(c+√d)², c²+d/4+c+√d/2}          |
    | example | once: one example moves ⌊x/step + u⌋ by C/step + 1 at most  | C/step + √d (PRIVACY.md 5)                 |

    with c = bound/step and β = e^(−½) (conditional randomised rounding of Kairouz, Liu, Steinke 2021). Integers of a lattice
    (`central-gaussian`, `own-gaussian`) are not rounded again, only taken into the ring.

    `step = None` takes the finest at which `most` contributions fit, with room for shared noise up to `max_noise_multiplier`,
    and refuses a ring in which rounding would double the sensitivity.
    """

    bits: int = 20
    step: float | None = None
    max_noise_multiplier: float = 8.0

    def __post_init__(self) -> None:
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        require(
            whole and 2 <= self.bits <= WIDEST, "encode", f"bits = {self.bits!r}",
            f"give a whole number from 2 to {WIDEST}",
        )  # fmt: skip
        require(
            self.step is None or (_number(self.step) and self.step > 0), "encode", f"step = {self.step!r}",
            "give a finite number above 0, or leave it out",
        )  # fmt: skip
        require(
            _number(self.max_noise_multiplier) and self.max_noise_multiplier >= 0, "encode",
            f"max_noise_multiplier = {self.max_noise_multiplier!r}", "give a finite number of at least 0",
        )  # fmt: skip

    def declare(self, signal: Signal) -> Signal:
        unmasked("encode", signal)
        require(signal.ring is None, "encode", "the vector is in a ring already", "keep one encode")
        if signal.scale is not None:
            require(
                self.step is None, "encode", f"step = {self.step!r}, but the vector is on a lattice already",
                "leave step out",
            )  # fmt: skip
            taken = dataclasses.replace(signal, ring=self.bits)
            fits("encode", taken, "give encode")
            return taken
        bounded("encode", signal)
        taken = self._at(signal, self._resolution(signal))
        fits("encode", taken, "leave step out, or give encode")
        inflation = taken.inflation / signal.inflation
        require(
            self.step is not None or inflation <= _COARSEST, "encode",
            f"rounding in a ring of {self.bits} bits makes the sensitivity, and so the noise, {inflation:.3g} times as large",
            f"give {self._finer(signal)}, or a step of your own to have it so",
        )  # fmt: skip
        return taken

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        values = updates.dense()
        if signal.scale is None:
            return Dense(self._rounded(values, signal, env))
        return Dense(residues(values, self.bits))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        integers = centred(total, self.bits)
        if signal.scale is not None:
            return integers
        step = signal.bound / self._resolution(signal)
        return (integers.to(torch.float64) * step).to(torch.float32)

    def _rounded(self, values: Tensor, signal: Signal, env: Env) -> Tensor:
        """`[k, d]` float32 to integers in the ring, block by block: each is read, rounded and written once."""
        resolution = self._resolution(signal)
        streams = owner_streams(env, "encode", len(values))
        limit = _squared(resolution, signal.dim)
        out = torch.empty(values.shape, dtype=torch.int64, device=values.device)
        rows = max(1, _BLOCK // signal.dim)
        for start in range(0, len(values), rows):
            block = streams[start : start + rows]
            some = values[start : start + rows]
            scaled = some.to(torch.float64).mul_(resolution / signal.bound)
            # NaN is not ≤; a coordinate past the bound belongs to a vector that broke it (PRIVACY.md 12: zero).
            scaled[~(some.abs().amax(dim=1) <= 2 * signal.bound)] = 0
            integers = _stochastic(scaled, block)
            if signal.unit == "owner":
                integers = _shortened(integers, scaled, block, limit)
            out[start : start + rows].copy_(integers).bitwise_and_((1 << self.bits) - 1)
        return out

    def _resolution(self, signal: Signal) -> float:
        """bound/step."""
        if self.step is not None:
            resolution = signal.bound / self.step
            require(
                resolution <= _FINEST, "encode", f"step = {self.step!r} is below bound/2^28",
                f"give at least {signal.bound / _FINEST:.3g}",
            )  # fmt: skip
            return resolution
        return _finest(self, signal)

    def _finer(self, signal: Signal) -> str:
        for bits in range(self.bits + 1, WIDEST + 1):
            finer = dataclasses.replace(self, bits=bits)
            taken = finer._at(signal, finer._resolution(signal))
            if taken.inflation <= _COARSEST * signal.inflation:
                return f"bits = {bits}"
        return "a shorter clip"

    def _room(self, signal: Signal, resolution: float) -> float:
        taken = self._at(signal, resolution)
        # The ratio of reach to bound, freed of the last bits: the same step, relative to the bound, whatever the norm.
        spread = math.ceil(taken.reach / taken.bound * 2**20 - 2.0**-10) / 2**20
        deviation = self.max_noise_multiplier * taken.sensitivity * math.sqrt(signal.most / signal.least)
        return bits_for(signal.most * taken.bound * spread + tail(deviation))

    def _at(self, signal: Signal, resolution: float) -> Signal:
        root = math.sqrt(signal.dim)
        per_unit = resolution / signal.bound
        if signal.unit == "owner":
            bound = math.sqrt(_squared(resolution, signal.dim))
            sensitivity = bound
        else:
            bound = resolution + root * (1 + _FLOAT)
            sensitivity = signal.sensitivity * per_unit + root * (1 + _FLOAT)
        return dataclasses.replace(
            signal, sensitivity=sensitivity, bound=bound, peak=min(bound, signal.peak * per_unit + 1),
            scale=1 / per_unit, ring=self.bits, rounding_variance=0.25,
            inflation=signal.inflation * sensitivity / (signal.sensitivity * per_unit),
        )  # fmt: skip


@lru_cache(maxsize=256)
def _finest(encode: Encode, signal: Signal) -> float:
    """The largest bound/step whose sums fit; a pure function of public numbers that every round asks for several times."""
    low, high = 1, _FINEST
    require(
        encode._room(signal, low) <= encode.bits, "encode", f"the ring of {encode.bits} bits is too small",
        f"give bits = {encode._room(signal, low)}",
    )  # fmt: skip
    while low < high:
        middle = (low + high + 1) // 2
        if encode._room(signal, middle) <= encode.bits:
            low = middle
        else:
            high = middle - 1
    return float(low)


def _squared(resolution: float, dim: int) -> int:
    """The largest integer squared norm that conditional rounding accepts."""
    root = math.sqrt(dim)
    return math.floor(min((resolution + root) ** 2, resolution**2 + dim / 4 + resolution + root / 2))


def _stochastic(scaled: Tensor, streams: Sequence[Stream]) -> Tensor:
    """⌊x + u⌋ with u a uniform multiple of 2⁻³² in [0, 1): unbiased to 2⁻³³ of a step."""
    rounded = torch.empty_like(scaled)
    words = np.empty(min(scaled.numel(), max(_BLOCK, len(scaled))) + 4, dtype="<u4")
    view, width = words.data.cast("B"), max(1, (len(words) - 4) // max(1, len(scaled)))
    for start in range(0, scaled.shape[1], width):
        columns = slice(start, min(start + width, scaled.shape[1]))
        size = columns.stop - start
        for at, stream in enumerate(streams):
            stream.fill(view[4 * at * size :], 4 * size)
        uniform = words[: len(scaled) * size].reshape(len(scaled), size).astype(np.float64)
        uniform *= 2.0**-32
        torch.add(torch.from_numpy(uniform).to(scaled.device), scaled[:, columns], out=rounded[:, columns])
        rounded[:, columns].floor_()
    return rounded


def _shortened(integers: Tensor, scaled: Tensor, streams: Sequence[Stream], limit: int) -> Tensor:
    """Vectors that came out too long rounded anew, each by its own stream, and in the end towards zero."""
    for _ in range(_TRIES - 1):
        long = torch.nonzero(exceeds(integers, limit)).flatten()
        if not len(long):
            return integers
        integers[long] = _stochastic(scaled[long], [streams[row] for row in long.tolist()])
    return shortest(integers, lambda rows: scaled[rows].trunc(), limit)


def _number(value: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
