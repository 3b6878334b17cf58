"""A privacy loss cut into cells of one step: what both the upper and the lower accountant are built from.

Cell i is the loss interval (e_i, e_{i+1}], e_i = (first + i) · step, with its exact masses under P and Q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .pair import Array, Pair

# Cells of one leaf: beyond this the step is made coarser, never the bound unsound.
MOST_CELLS = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """`p[i] = P[e_i < L ≤ e_{i+1}]`, `q[i]` the same under Q; `head` and `tail` are P's mass at and below e_0 and
    above the last edge, `q_head` and `q_tail` are Q's."""

    step: float
    first: int
    p: Array
    q: Array
    head: float
    tail: float
    q_head: float
    q_tail: float

    @property
    def edges(self) -> Array:
        """e_0 … e_n, one more than there are cells."""
        return np.asarray((self.first + np.arange(len(self.p) + 1)) * self.step, dtype=np.float64)

    @property
    def upper_share(self) -> Array:
        """The share of each cell's P-mass that goes to its upper edge so that both masses are kept.

        p = a + b and q = a e^{−e_i} + b e^{−e_{i+1}} give b = (p − q e^{e_i}) / (1 − e^{−step}): the pessimistic
        "connect the dots" (Doroshenko et al. 2022, arXiv 2207.04380). Clipped to [0, p], rounding errors can move
        mass within its cell only; a cell that is all rounding error is sent up.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.exp(np.log(self.q) + self.edges[:-1] - np.log(self.p))
            share = (1.0 - ratio) / -math.expm1(-self.step)
        return np.clip(np.nan_to_num(share, nan=1.0, posinf=1.0, neginf=0.0), 0.0, 1.0)


@lru_cache(maxsize=12)
def cut(pair: Pair, step: float) -> Cells:
    """The cells of `pair` at this step, covering [pair.low, pair.high]."""
    first = math.floor(pair.low / step) - 1
    edges = np.asarray((first + np.arange(math.ceil(pair.high / step) - first + 2)) * step, dtype=np.float64)
    with np.errstate(all="ignore"):
        p_above, q_above = pair.above(edges)
        p_below, q_below = pair.below(edges)
    return Cells(
        step,
        first,
        _masses(p_above, p_below),
        _masses(q_above, q_below),
        float(p_below[0]),
        float(p_above[-1]),
        float(q_below[0]),
        float(q_above[-1]),
    )


def _masses(above: Array, below: Array) -> Array:
    """Differences of whichever tail is small, so that small cells keep their relative precision."""
    return np.maximum(np.where(above[:-1] < 0.5, above[:-1] - above[1:], below[1:] - below[:-1]), 0.0)
