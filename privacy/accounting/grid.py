"""The privacy loss distribution of a composition on a grid, always an upper bound of the true δ(ε).

Single losses are split pessimistically (`cells.py`), mass that leaves the grid is called infinite loss, and the
composition is one product of Fourier transforms, exponentially tilted: the transformed law is p(ℓ)e^{λℓ}/M, so that
float64's rounding error is relative to the tail that δ asks for, not to 1. What is left of that error is bounded
from the result's own norm and added to δ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import logsumexp

from .cells import MOST_CELLS, Cells, cut
from .pair import Array, Pair

Parts: TypeAlias = Sequence[tuple[Pair, int]]

# Mass that the composed grid may leave out at either end, under the tilted law.
_OUTSIDE = 1e-16
_NO_VARIANCE = 1e-14  # of the composed loss: an error in ε below 1e-6, whatever the tolerance
_IDLE = 1e-22
_MOST_POINTS = 2**22
_FINEST_STEP = 1e-9  # float64 resolves losses to about 1e-16
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """One leaf on the grid: masses at (first + i) · step, and `infinite` mass at loss ∞."""

    step: float
    first: int
    mass: Array
    infinite: float

    @property
    def losses(self) -> Array:
        return np.asarray((self.first + np.arange(len(self.mass))) * self.step, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A composed law: masses at (first + i) · step, `infinite` at ∞, and an error of at most
    exp(log_error − tilt · ε) in any δ(ε)."""

    step: float
    first: int
    mass: Array
    infinite: float
    log_error: float
    tilt: float


def pessimistic(cells: Cells) -> Atoms:
    """The dominating atoms of one leaf: each cell's mass on its two edges, the head on the lowest, the tail infinite.

    A leading stretch of next to no mass is raised to the first place that has some.
    """
    up = cells.p * cells.upper_share
    mass = np.append(cells.p - up, 0.0)
    mass[1:] += up
    mass[0] += cells.head
    start = min(int(np.searchsorted(np.cumsum(mass), _IDLE)), len(mass) - 1)
    mass[start] += float(np.sum(mass[:start]))
    return Atoms(cells.step, cells.first + start, mass[start:], cells.tail)


def spread(cells: Cells) -> float:
    """Variance that the splitting adds to one loss: Σ p·share·(1 − share)·step²."""
    share = cells.upper_share
    return float(np.sum(cells.p * share * (1 - share))) * cells.step**2


def fitting_step(parts: Parts, tolerance: float) -> float:
    """A step at which the splitting adds at most `tolerance` of the composed loss's variance.

    Also at most 1e-3 (or 2e-5 of the composed law's width, if that is more: losses in the hundreds), and coarse
    enough for the memory bounds, whatever the accuracy: the bound stays one.
    """
    coarsest = max(pair.high - pair.low for pair, _ in parts) / 1000
    step = max(coarsest, _FINEST_STEP)
    for _ in range(6):
        added, total, mean = _variances(parts, step)
        width = math.sqrt(total) * 17
        largest = max(1e-3, 2e-5 * (width + abs(mean)))
        good = added <= max(tolerance * (total - added), _NO_VARIANCE)
        if (good and step <= largest) or step <= _finest(parts, width):
            break
        want = step * math.sqrt(tolerance * max(total - added, 0.05 * total) / added) * 0.8 if added > 0 else step
        step = max(min(want, largest, step * 0.9), _finest(parts, width))
    return step


def finest_step(parts: Parts) -> float:
    """The smallest step within the memory bounds."""
    _, total, _ = _variances(parts, max(max(pair.high - pair.low for pair, _ in parts) / 1000, _FINEST_STEP))
    return _finest(parts, math.sqrt(total) * 17)


def _finest(parts: Parts, width: float) -> float:
    return max(max(pair.high - pair.low for pair, _ in parts) / MOST_CELLS, width / _MOST_POINTS * 2, _FINEST_STEP)


def _variances(parts: Parts, step: float) -> tuple[float, float, float]:
    added = total = mean = 0.0
    for pair, count in parts:
        cells = cut(pair, step)
        atoms = pessimistic(cells)
        middle = float(np.sum(atoms.mass * atoms.losses))
        total += count * float(np.sum(atoms.mass * (atoms.losses - middle) ** 2))
        mean += count * middle
        added += count * spread(cells)
    return added, total, mean


def compose(leaves: Sequence[tuple[Atoms, int]], tilt: float) -> Grid:
    """The composition of `leaves`, each so many times over, all on one step; `tilt` ≥ 0 is λ."""
    step = leaves[0][0].step
    tilted, log_scale = [], 0.0
    for atoms, count in leaves:
        with np.errstate(divide="ignore"):
            weight = np.log(atoms.mass) + tilt * atoms.losses
        normaliser = float(logsumexp(weight))
        tilted.append((Atoms(step, atoms.first, np.exp(weight - normaliser), 0.0), count))
        log_scale += count * normaliser
    low, high, log_beyond = _window(tilted)
    size = next_fast_len(max(high - low + 1, 2), real=True)
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    shift = 0
    for atoms, count in tilted:
        spectrum *= np.power(rfft(_folded(atoms.mass, size)), count)
        shift += atoms.first * count
    mass = np.roll(irfft(spectrum, size), (shift - low) % size)
    error = _rounding(leaves, size) * math.sqrt(size) * float(np.linalg.norm(mass))
    losses = (low + np.arange(size)) * step
    with np.errstate(divide="ignore"):
        # Far below the tail that the tilt serves, rounding error is blown up; no mass is more than 1.
        mass = np.exp(np.minimum(np.log(np.maximum(mass, 0.0)) - tilt * losses + log_scale, 0.0))
    # Tilted mass beyond the top wraps to the bottom, where it does not count: P[L > top] ≤ M e^{−λ·top} · tilted tail.
    finite = -sum(count * math.log1p(-min(atoms.infinite, 1 - 1e-16)) for atoms, count in leaves)
    beyond = math.exp(min(log_scale - tilt * (low + size - 1) * step + log_beyond, 0.0))
    return Grid(step, low, mass, -math.expm1(-finite) + beyond, math.log(error) + log_scale, tilt)


def _folded(mass: Array, size: int) -> Array:
    """`mass` modulo `size`: the cyclic transform of a law longer than the window."""
    rows = -(-len(mass) // size)
    padded = np.zeros(rows * size)
    padded[: len(mass)] = mass
    return np.asarray(padded.reshape(rows, size).sum(axis=0))


def _rounding(leaves: Sequence[tuple[Atoms, int]], size: int) -> float:
    """Relative 2-norm error of the transforms and the power: a few units in the last place each."""
    return 4 * _EPSILON * (math.log2(size) + sum(count for _, count in leaves))


def _window(leaves: Sequence[tuple[Atoms, int]]) -> tuple[int, int, float]:
    """Grid indices that hold all but `_OUTSIDE` of the composition at either end, by Chernoff's bound, and the log of
    what lies beyond the upper one."""
    step = leaves[0][0].step
    lowest = sum(count * atoms.first for atoms, count in leaves)
    highest = sum(count * (atoms.first + len(atoms.mass) - 1) for atoms, count in leaves)
    means = [float(np.sum(atoms.mass * atoms.losses)) for atoms, _ in leaves]
    centred = [atoms.losses - mean for (atoms, _), mean in zip(leaves, means, strict=True)]
    variance = sum(
        count * float(np.sum(atoms.mass * loss**2)) for (atoms, count), loss in zip(leaves, centred, strict=True)
    )
    if highest - lowest < 4096:
        return lowest, highest, -math.inf
    centre = sum(count * mean for (_, count), mean in zip(leaves, means, strict=True))
    reach = math.log(1 / _OUTSIDE)
    low, high = lowest, highest
    # Around the Gaussian optimum of the bound, and around that of a law whose variance sits in a far tail.
    furthest = max(max(-float(loss[0]), float(loss[-1])) for loss in centred)
    orders = reach / max(furthest, step) * np.geomspace(0.3, 3, 6)
    if variance > _NO_VARIANCE * step**2:
        orders = np.append(orders, math.sqrt(2 * reach / variance) * np.geomspace(1 / 64, 2, 11))
    for order in np.concatenate([orders, -orders]):
        cumulant = sum(
            count * _log_moment(atoms.mass, order * loss) for (atoms, count), loss in zip(leaves, centred, strict=True)
        )
        bound = centre + (cumulant + reach) / order
        if not math.isfinite(bound):
            continue
        if order > 0:
            high = min(high, math.ceil(bound / step))
        else:
            low = max(low, math.floor(bound / step))
    # Too wide for memory: what lies below wraps to the top, which only raises δ.
    low = max(low, high - _MOST_POINTS)
    return low, max(high, low), (-reach if high < highest else -math.inf)


def _log_moment(mass: Array, exponent: Array) -> float:
    """log E e^{exponent}; ∞, a bound of no use, where it would overflow."""
    if max(exponent[0], exponent[-1]) > 700:
        return math.inf
    return math.log(float(np.sum(mass * np.exp(exponent))))


def delta(grid: Grid, epsilon: float) -> float:
    """An upper bound of δ(ε), ε ≥ 0: Σ p (1 − e^{ε−ℓ})⁺ + infinite + error."""
    return min(1.0, finite_delta(grid, epsilon) + grid.infinite + error(grid, epsilon))


def finite_delta(grid: Grid, epsilon: float) -> float:
    """Σ p (1 − e^{ε−ℓ})⁺ alone."""
    start = max(0, math.floor(epsilon / grid.step) + 1 - grid.first)
    losses = (grid.first + np.arange(start, len(grid.mass))) * grid.step
    return float(np.sum(grid.mass[start:] * -np.expm1(np.minimum(epsilon - losses, 0.0))))


def error(grid: Grid, epsilon: float) -> float:
    """How far rounding may have moved δ(ε)."""
    return math.exp(min(grid.log_error - grid.tilt * epsilon, 0.0))


def profile(grid: Grid, least: float) -> tuple[Array, Array, Array]:
    """The losses ℓ_i ≥ `least` of the grid, Σ_{j≥i} p_j, and Σ_{j≥i} p_j e^{ℓ_i − ℓ_j}; δ(ℓ_i) is their difference."""
    from scipy.signal import lfilter  # half a second to import: ledgers that only enforce never come here

    start = min(max(0, math.ceil(least / grid.step) - grid.first), len(grid.mass))
    mass = grid.mass[start:]
    places = np.asarray((grid.first + start + np.arange(len(mass))) * grid.step, dtype=np.float64)
    # By its recurrence, so that no exponential of a large loss is ever taken.
    kept = np.asarray(lfilter([1.0], [1.0, -math.exp(-grid.step)], mass[::-1])[::-1], dtype=np.float64)
    return places, np.cumsum(mass[::-1])[::-1], kept


def epsilon(grid: Grid, delta: float) -> float:
    """The smallest ε ≥ 0 with δ(ε) ≤ `delta`, or ∞."""
    places, above, kept = profile(grid, 0.0)
    if not len(places):
        return 0.0 if grid.infinite + error(grid, 0.0) <= delta else math.inf
    extra = grid.infinite + np.exp(np.minimum(grid.log_error - grid.tilt * places, 0.0))
    wide = np.flatnonzero(above - kept + extra > delta)
    index = int(wide[-1]) + 1 if len(wide) else 0
    if index == len(places):
        return math.inf
    # Between the dots δ is above[index] − e^{ε−ℓ} kept[index] + extra; extra falls, so its left end bounds it.
    left = max(places[index - 1], 0.0) if index else 0.0
    top = above[index] + grid.infinite + error(grid, left) - delta
    if top <= 0:
        return float(left)
    if kept[index] <= 0:  # underflown: nowhere before the dot is safe
        return float(places[index])
    return float(min(max(places[index] + math.log(top / kept[index]), left), places[index]))
