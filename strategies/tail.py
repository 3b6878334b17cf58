"""Tail averaging: the mean of the last iterates instead of the last one.

The noise of private rounds makes the iterates wander about the optimum; their mean over the last fraction of the rounds
wanders far less and costs nothing (Polyak and Juditsky 1992; Jain et al. 2018, JMLR 18:223, for the tail).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

SUM, COUNT = "tail.sum", "tail.count"


def tail_start(fraction: float, rounds: int) -> int:
    """The first round that counts: the last ⌊fraction·rounds⌋ do, and at least one.

    >>> tail_start(0.5, 80), tail_start(0.0, 80)
    (41, 80)
    """
    return rounds - max(1, math.floor(fraction * rounds)) + 1


def tail_initial(dim: int) -> dict[str, Tensor]:
    """No iterates yet: their sum `[dim]` float64 and number `[1]`."""
    return {SUM: torch.zeros(dim, dtype=torch.float64), COUNT: torch.zeros(1, dtype=torch.int64)}


def tail_learn(state: Mapping[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    """One iterate more."""
    return {SUM: state[SUM] + weights, COUNT: state[COUNT] + 1}


def tail_mean(state: Mapping[str, Tensor], weights: Tensor) -> Tensor:
    """The mean of the iterates so far `[dim]` float32, or `weights` where the tail has not begun."""
    count = int(state[COUNT])
    return (state[SUM] / count).to(weights.dtype) if count else weights
