"""Privacy loss distributions of whole compositions: an upper bound (pessimistic) and a lower one (attained).

Upper: dominating pairs, split pessimistically (`grid.py`). Lower: pairs of real neighbours. Telling only the cell of
the loss is post-processing, so the pair of cell masses (p, q) can only lose; its losses log p/q are rounded down to
the grid and moved up again by their mean rounding, which errs by at most t except with probability η (a Chernoff
bound on the known law of the rounding, after Gopi, Lee, Wutschitz 2021, arXiv 2106.02848):
δ(ε) ≥ δ_grid(ε − mean + t) − η.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..event import Event
from ..signal import Relation
from . import grid as grids
from . import leaves as leaf_table
from .cells import Cells, cut
from .grid import Atoms, Grid
from .multiset import Multiset
from .pair import Array, Pair, clipped

Parts: TypeAlias = list[tuple[Pair, int]]

# Share of the composed variance that discretisation may add: ε moves by about half of it, relatively.
FINE, COARSE = 1e-5, 1e-3
_UNLIKELY = 1e-3  # η of the lower bound, as a share of δ
_UNSEEN = 1e-4  # share of δ that truncation may cost
_DUST = 1e-25
_VISIBLE = 1e-3  # share of δ above which a rounding error calls for the tilted transform


def upper_parts(leaves: Multiset, relation: Relation) -> tuple[Parts, Parts] | None:
    """Dominating pairs of every leaf in the two directions, or `None` where one leaf has none."""
    return _directions(leaves, relation, leaf_table.dominating)


def lower_parts(leaves: Multiset, relation: Relation) -> tuple[Parts, Parts]:
    """Attained pairs of the leaves that have some; leaving out the others only lowers ε."""
    known = Multiset(tuple(item for item in leaves.leaves if leaf_table.attained(item[0], relation) is not None))
    return _directions(known, relation, leaf_table.attained) or ([], [])


def _directions(
    leaves: Multiset, relation: Relation, table: Callable[[Event, Relation], tuple[Pair, Pair] | None]
) -> tuple[Parts, Parts] | None:
    away: Parts = []
    back: Parts = []
    for leaf, count in leaves.leaves:
        found = table(leaf, relation)
        if found is None:
            return None
        away.append((found[0], count))
        back.append((found[1], count))
    return away, back


def different(directions: tuple[Parts, Parts]) -> list[Parts]:
    """One direction where both are the same."""
    away, back = directions
    return [away] if all(one[0] is other[0] for one, other in zip(away, back, strict=True)) else [away, back]


def narrowed(parts: Parts, delta: float) -> Parts:
    """The pairs clipped to what δ can see: beyond it lies at most 1e-4 of δ in all."""
    total = sum(count for _, count in parts)
    return [(clipped(pair, _UNSEEN * delta / total), count) for pair, count in parts]


def upper_epsilon(directions: tuple[Parts, Parts], delta: float, tolerance: float, tilt: float) -> float:
    """The smallest ε that the dominating pairs prove at δ; `tilt` is used where rounding would show without it."""
    found = 0.0
    for parts in different(directions):
        # No loss is larger than this; a direction that cannot exceed the other need not be composed.
        if sum(count * pair.high for pair, count in parts) > found:
            found = max(found, _upper_epsilon(narrowed(parts, delta), delta, tolerance, tilt))
    return found


def _upper_epsilon(parts: Parts, delta: float, tolerance: float, tilt: float) -> float:
    step = grids.fitting_step(parts, tolerance)
    flat = upper_grid(parts, step, 0.0)
    found = grids.epsilon(flat, delta)
    if grids.error(flat, 0.0) <= _VISIBLE * delta or tilt == 0:
        return found
    return min(found, grids.epsilon(upper_grid(parts, step, tilt), delta))


def upper_delta(directions: tuple[Parts, Parts], epsilon: float, guess: float, tilt: float) -> float:
    """The smallest δ that the dominating pairs prove at ε, to about 1e-4 of `guess`, a δ not much above it."""
    return max(_upper_delta(narrowed(parts, guess), epsilon, tilt) for parts in different(directions))


def _upper_delta(parts: Parts, epsilon: float, tilt: float) -> float:
    step = grids.fitting_step(parts, FINE)
    flat = upper_grid(parts, step, 0.0)
    found = grids.delta(flat, epsilon)
    if grids.error(flat, 0.0) <= _VISIBLE * found or tilt == 0:
        return found
    return min(found, grids.delta(upper_grid(parts, step, tilt), epsilon))


def upper_grid(parts: Parts, step: float, tilt: float) -> Grid:
    """The pessimistic composition at a given step."""
    return grids.compose([(grids.pessimistic(cut(pair, step)), count) for pair, count in parts], tilt)


def lower_epsilon(directions: tuple[Parts, Parts], delta: float, tilt: float) -> float:
    """An ε that some real pair of neighbours exceeds at δ; 0 where nothing is known."""
    found = 0.0
    for parts in different(directions):
        if sum(count * pair.high for pair, count in parts) > found:
            found = max(found, _lower_epsilon(narrowed(parts, delta), delta, tilt))
    return found


def _lower_epsilon(parts: Parts, delta: float, tilt: float) -> float:
    step = max(grids.fitting_step(parts, FINE) / 4, grids.finest_step(parts))
    cells = [(cut(pair, step), count) for pair, count in parts]
    rounding = [(_rounding(one), count) for one, count in cells]
    shift = sum(count * float(np.sum(mass * residue)) for (mass, residue), count in rounding)
    shift -= _slack(rounding, step, math.log(1 / (_UNLIKELY * delta)))
    leaves = [(_merged(one), count) for one, count in cells]
    flat = grids.compose(leaves, 0.0)
    found = _attained(flat, delta, shift)
    if grids.error(flat, 0.0) <= _VISIBLE * delta or tilt == 0:
        return found
    return max(found, _attained(grids.compose(leaves, tilt), delta, shift))


def _attained(grid: Grid, delta: float, shift: float) -> float:
    """The largest grid loss at which more than `delta` is left, moved by `shift`."""
    places, above, kept = grids.profile(grid, min(0.0, -shift) - grid.step)
    # Twice the error: once for rounding, once for what wrapped from below the window into it.
    lost = _UNLIKELY * delta + 2 * np.exp(np.minimum(grid.log_error - grid.tilt * places, 0.0))
    holds = np.flatnonzero(above - kept - lost > delta)
    return max(0.0, float(places[holds[-1]]) + shift) if len(holds) else 0.0


def _merged(cells: Cells) -> Atoms:
    """Each cell's mass on its lower edge; what lies beyond the ends is left out, as a lower bound may."""
    return Atoms(cells.step, cells.first, np.where(cells.p > _DUST, cells.p, 0.0), 0.0)


def _rounding(cells: Cells) -> tuple[Array, Array]:
    """The law of log(p/q) − e_i: masses (of total 1) and values in [0, step]; 0, a lower bound, where q underflows."""
    held = cells.p > _DUST
    p, q, edges = cells.p[held], cells.q[held], cells.edges[:-1][held]
    with np.errstate(divide="ignore"):
        residue = np.where(q > 0, np.log(p) - np.log(q) - edges, 0.0)
    return p / np.sum(p), np.clip(residue, 0.0, cells.step)


def _slack(rounding: list[tuple[tuple[Array, Array], int]], step: float, unlikely: float) -> float:
    """t with P[Σ (mean − residue) > t] ≤ e^{−unlikely}, the best of Hoeffding's and Chernoff's bounds."""
    total = sum(count for _, count in rounding)
    best = step * math.sqrt(total * unlikely / 2)
    for order in math.sqrt(2 * unlikely / total) / step * np.geomspace(1, 4, 4):
        cumulant = 0.0
        for (mass, residue), count in rounding:
            mean = float(np.sum(mass * residue))
            cumulant += count * math.log(float(np.sum(mass * np.exp(order * (mean - residue)))))
        best = min(best, (cumulant + unlikely) / order)
    return best
