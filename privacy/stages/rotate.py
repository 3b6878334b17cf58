"""Rotate: a randomised Hadamard transform, so that every coordinate carries an equal share of the norm."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..entropy import SeededEntropy
from ..pipeline import Env, Stage, require
from ..signal import Signal
from ..updates import Dense, Updates
from .order import bounded, real

_BLOCK = 1 << 18  # numbers that are transformed at a time: they stay in the cache
_SPREAD = 10.0  # |coordinate| ≤ 10‖x‖/√d' save with probability 2·exp(−50) < 2⁻⁷¹ (Hoeffding)


@dataclass(frozen=True, slots=True)
class Rotate(Stage):
    """x ↦ H D x / √d', `[k, d] -> [k, d']` float32 in O(d' log d'); D random signs, H Hadamard, d' the next power of two.

    An isometry, so norms stay; the padded d' counts. The signs of a round come from the public `seed`, which owners and
    server share: they hide nothing, they only spread a vector evenly, so that a ring of fewer bits holds the sum.
    (Suresh, Yu, Kumar, McMahan 2017.)
    """

    seed: int = 0

    def __post_init__(self) -> None:
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        require(whole, "rotate", f"seed = {self.seed!r}", "give a whole number; it is public")

    def declare(self, signal: Signal) -> Signal:
        real("rotate", signal)
        bounded("rotate", signal)
        padded = _padded(signal.dim)
        # Each of log₂d' butterflies, and the scaling, rounds to float32: a relative error of 2⁻²⁴ of the norm each.
        rounding = (padded.bit_length() + 2) * 2.0**-24
        bound = signal.bound * (1 + rounding)
        if signal.unit == "owner":
            sensitivity = signal.sensitivity * (1 + rounding)
        else:  # two sums that one example parts are rounded each on its own
            sensitivity = signal.sensitivity + 2 * signal.bound * rounding
        return dataclasses.replace(
            signal,
            dim=padded,
            sensitivity=sensitivity,
            bound=bound,
            peak=min(bound, _SPREAD * bound / math.sqrt(padded)),
        )

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        values = updates.dense()
        spread = values.new_zeros((len(values), _padded(signal.dim)))
        spread[:, : signal.dim] = values * self._signs(signal.dim, env.round).to(values)
        return Dense(hadamard(spread))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        back = hadamard(total.to(torch.float64)[None])[0, : signal.dim]
        return (back * self._signs(signal.dim, env.round).to(back)).to(torch.float32)

    def _signs(self, dim: int, round: int) -> Tensor:
        stream = SeededEntropy(self.seed).stream("rotate", round)
        bits = np.unpackbits(np.frombuffer(stream.bytes(-(-dim // 8)), dtype=np.uint8))[:dim]
        return torch.from_numpy(1 - 2 * bits.astype(np.int8))


def hadamard(values: Tensor) -> Tensor:
    """Walsh–Hadamard transform over 2^n coordinates, scaled to an isometry `[k, 2^n] -> [k, 2^n]`; its own inverse.

    H over a·b coordinates is H_a along the columns of an a × b matrix and H_b along its rows; turning the matrix between the
    two keeps every butterfly on long contiguous runs.
    """
    width = values.shape[1]
    inner = 1 << (width.bit_length() - 1) // 2
    outer = width // inner
    out = torch.empty_like(values)
    rows = max(1, _BLOCK // width)
    for start in range(0, len(values), rows):
        block = _butterflies(values[start : start + rows], outer)
        turned = block.view(-1, outer, inner).transpose(1, 2).reshape(-1, width)
        turned = _butterflies(turned, inner)
        back = turned.view(-1, inner, outer).transpose(1, 2).reshape(-1, width)
        out[start : start + rows] = back / math.sqrt(width)
    return out


def _butterflies(values: Tensor, size: int) -> Tensor:
    """H_size along the first axis of every row seen as a [size, width / size] matrix."""
    rows, width = values.shape
    run = width
    for _ in range(size.bit_length() - 1):
        run //= 2
        pairs = values.view(rows, -1, 2, run)
        out = torch.empty_like(pairs)
        torch.add(pairs[:, :, 0], pairs[:, :, 1], out=out[:, :, 0])
        torch.sub(pairs[:, :, 0], pairs[:, :, 1], out=out[:, :, 1])
        values = out.view(rows, width)
    return values


def _padded(dim: int) -> int:
    return 1 << (dim - 1).bit_length()
