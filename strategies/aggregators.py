"""Aggregators: how a round's contributions become one vector.

Only a sum leaves a round (and under masks nothing else exists), so only what a sum suffices for can run in a federation.
The robust ones are here for plain updates at hand, in a notebook or an attack study; a federation refuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

AggregatorName: TypeAlias = Literal["mean", "weighted-mean", "median", "trimmed-mean"]


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Contributions `[k, d]` of owners with `[k]` examples to one vector `[d]`; `why` says why no federation runs it.

    `needs_individuals`: a sum does not suffice. `needs_counts`: it reads numbers of examples, which are private.
    """

    combine: Callable[[Tensor, Tensor], Tensor]
    needs_individuals: bool = False
    needs_counts: bool = False
    why: str = ""


def mean(updates: Tensor, counts: Tensor) -> Tensor:
    """Σᵢ xᵢ / k; in a federation the denominator is public instead, the expected cohort (PRIVACY.md 6)."""
    return updates.mean(dim=0)


def weighted_mean(updates: Tensor, counts: Tensor) -> Tensor:
    """Σᵢ nᵢ·xᵢ / Σᵢ nᵢ (McMahan et al. 2017, Algorithm 1); zero where nobody has an example."""
    return (updates * counts[:, None]).sum(dim=0) / counts.sum().clamp(min=1)


def median(updates: Tensor, counts: Tensor) -> Tensor:
    """The coordinate-wise median, the mean of the middle two for even k (Yin et al. 2018, arXiv 1803.01498, Definition 1)."""
    rows = updates.sort(dim=0).values
    return (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) / 2


def trimmed_mean(updates: Tensor, counts: Tensor, fraction: float = 0.1) -> Tensor:
    """The mean without the ⌊fraction·k⌋ largest and smallest of every coordinate (Yin et al. 2018, Definition 2)."""
    if not 0 <= fraction < 0.5:
        raise ValueError(f"trimmed mean: fraction = {fraction}; give a number from 0 to below 0.5")
    cut = int(fraction * len(updates))
    return torch.sort(updates, dim=0).values[cut : len(updates) - cut].mean(dim=0)


_OVER_SUMS = (
    "it needs every owner's own contribution, and only the sum of a round is ever readable; leave it out for the mean, "
    "whose sensitivity the clip bounds"
)

_OVER_COUNTS = (
    "the owners' numbers of examples are private, and weighing by them changes what one owner can move; leave it out for "
    "the uniform mean"
)

AGGREGATORS: Mapping[AggregatorName, Aggregator] = {
    "mean": Aggregator(mean),
    "weighted-mean": Aggregator(weighted_mean, needs_counts=True, why=_OVER_COUNTS),
    "median": Aggregator(median, needs_individuals=True, why=_OVER_SUMS),
    "trimmed-mean": Aggregator(trimmed_mean, needs_individuals=True, why=_OVER_SUMS),
}
