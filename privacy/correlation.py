"""Correlation: noise of one round that takes part of the earlier rounds' noise back, on the integers.

With C lower-triangular Toeplitz, c₀ = 1, and independent integer draws z₁, z₂, … a round's noise is

    wₜ = zₜ − ⌊aₜ⌉,   aₜ = Σ_{j≥1} c_j w_{t−j},

which is C⁻¹z but for the rounding ⌊·⌉ to integers. Take two neighbouring data sets whose sums differ by Δ (integers), and
the same released x + w: then w differs by Δ, and zₜ by −(CΔ)ₜ + eₜ with |eₜ| ≤ 1 + 2η a coordinate, η the error of aₜ in
floating point. So every round is zₜ shifted by integers that the past decides, all shifts together of norm at most
‖CΔ‖ + (1 + 2η)·√(d·T): the adaptive Gaussian mechanism of Denisov et al. 2022 (arXiv 2202.08312, Theorem 2.1) at that norm,
exactly on the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .event import BandedMatrix, BufferedLinearToeplitz, Event

MOST_TERMS = 2048  # with sums below 2^40, float64 loses at most η = ¼ of an integer
_LARGEST = 2.0**40
ROUNDING = 1.5  # 1 + 2η

Integers = NDArray[np.int64]


class CorrelationError(ValueError):
    """Correlated noise that cannot be drawn exactly; names the number to change."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """The first column of C: `coefficients` (banded), or cₜ = Σ scale·decay^(t−1) (BLT). One of the two is empty."""

    coefficients: tuple[float, ...] = ()
    decay: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def terms(self, rounds: int) -> int:
        """How many products, at most, make one aₜ."""
        return len(self.coefficients) or rounds * len(self.decay)

    def event(self, noise_multiplier: float, rounds: int, separation: int, participations: int) -> Event:
        """All rounds at once; the noise multiplier is that of z over one unit's norm in one round."""
        if self.coefficients:
            return BandedMatrix(noise_multiplier, self.coefficients, rounds, separation, participations)
        return BufferedLinearToeplitz(noise_multiplier, self.decay, self.scale, rounds, separation, participations)


def column(correlation: Correlation, rounds: int) -> NDArray[np.float64]:
    """The first column of C for so many rounds, `[rounds]`."""
    found = np.zeros(rounds)
    if correlation.coefficients:
        given = np.asarray(correlation.coefficients[:rounds], dtype=np.float64)
        found[: len(given)] = given
        return found
    found[0] = 1.0
    for decay, scale in zip(correlation.decay, correlation.scale, strict=True):
        found[1:] += scale * np.power(float(decay), np.arange(rounds - 1))
    return found


@dataclass(slots=True)
class Memory:
    """What a schedule's noise was so far: the last wₜ (banded), or Σ_j decay^(j−1) w_{t−j} for every decay (BLT).

    A coordinator keeps one a run. Whoever has none starts at round 1 again, and draws the same from the same streams; where
    streams cannot be made again, nobody can, and the schedule ends. Secret: with what was published it gives the sums away.
    """

    round: int = 0
    rows: list[Integers] = field(default_factory=list, repr=False)
    buffers: list[NDArray[np.float64]] = field(default_factory=list, repr=False)

    def copy(self) -> Memory:
        """The same, which goes on by itself; rounds put new arrays in place of the old ones."""
        return Memory(self.round, list(self.rows), list(self.buffers))


def noise(correlation: Correlation, draw: Callable[[int], Integers], round: int, memory: Memory) -> Integers:
    """w of `round` `[d]`, brought up from where `memory` stands; `draw(t)` gives zₜ, the same whenever it is asked.

    Raises `CorrelationError` where the noise grows beyond what float64 adds up: an unstable C⁻¹.
    """
    if memory.round >= round:
        memory.round, memory.rows, memory.buffers = 0, [], []
    found: Integers = np.zeros(0, dtype=np.int64)
    while memory.round < round:
        memory.round += 1
        found = draw(memory.round)
        carried = _carried(correlation, memory)
        if carried is not None:
            found = found - np.rint(carried).astype(np.int64)
        if float(np.abs(found).max(initial=0)) * _weight(correlation) > _LARGEST:
            raise CorrelationError(
                f"correlated noise leaves 2^40 lattice steps in round {memory.round}; give fewer bands, smaller scales, or a "
                "noise multiplier below 100"
            )
        _kept(correlation, memory, found)
    return found


def square_root(bands: int) -> tuple[float, ...]:
    """The first `bands` coefficients of (1 − x)^(−½): c₀ = 1, cₖ = cₖ₋₁ · (2k − 1) / 2k."""
    found = [1.0]
    for k in range(1, bands):
        found.append(found[-1] * (2 * k - 1) / (2 * k))
    return tuple(found)


def _carried(correlation: Correlation, memory: Memory) -> NDArray[np.float64] | None:
    """aₜ; None before anything was drawn."""
    held: list[tuple[float, NDArray[np.int64] | NDArray[np.float64]]]
    if correlation.coefficients:
        held = list(zip(correlation.coefficients[1:], reversed(memory.rows), strict=False))
    else:
        held = list(zip(correlation.scale, memory.buffers, strict=False))
    if not held:
        return None
    total = np.zeros(len(held[0][1]), dtype=np.float64)
    for factor, row in held:
        total += factor * row
    return total


def _kept(correlation: Correlation, memory: Memory, found: Integers) -> None:
    if correlation.coefficients:
        keep = len(correlation.coefficients) - 1
        memory.rows = [*memory.rows, found][-keep:] if keep else []
        return
    before = memory.buffers or [np.zeros(len(found)) for _ in correlation.decay]
    memory.buffers = [decay * each + found for decay, each in zip(correlation.decay, before, strict=True)]


def _weight(correlation: Correlation) -> float:
    """Σ|c_j| over j ≥ 1, at most: aₜ is below so many times the largest w."""
    if correlation.coefficients:
        return max(1.0, math.fsum(abs(c) for c in correlation.coefficients[1:]))
    sums = (abs(s) / max(1 - d, 1 / MOST_TERMS) for s, d in zip(correlation.scale, correlation.decay, strict=True))
    return max(1.0, math.fsum(sums))
