"""Clipping: `clipped-gradient` and `dp-sgd` for a group of owners, every example's gradient formed, clipped and added up.

By the same functions as an owner alone (`privacy/local.py`): cut off to the grid and summed as integers, so a sum does not
depend on who else is in a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.entropy import Entropy
from ...privacy.local import clipped
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.local import streams_of
from ...strategies.messages import Request
from ...tasks.examples import Examples
from ..population import Population
from .example_level import filled
from .fitness import Route

_BLOCK = 1 << 18  # numbers formed and clipped at once: they stay in the cache
_WIDE = 1 << 25  # the same on an accelerator


def clipped_gradients(
    route: Route, solver: ClippedGradient, start: Tensor, requests: Sequence[Request], population: Population, most: int
) -> Tensor:
    """The updates `[k, d]` on the CPU; one step at the weights that all share, `most` examples at a time."""
    sums = _at_start(route, start, _shares(requests, population), population.training, solver.inner_norm, most)
    return torch.stack([solver.update_of(total) for total in sums])


def dp_sgd(
    route: Route,
    solver: DpSgd,
    start: Tensor,
    requests: Sequence[Request],
    population: Population,
    entropy: Entropy,
    most: int,
) -> Tensor:
    """The updates `[k, d]` on the CPU; every owner draws its own examples and its own noise, from its own streams."""
    shares, training = _shares(requests, population), population.training
    streams = [streams_of(entropy, r.round, r.owner, r.attempt) for r in requests]
    update, velocity = (torch.zeros(len(shares), len(start), device=start.device) for _ in range(2))
    for t in range(solver.steps):
        batches = [share[solver.sampled(len(share), mine, t)] for share, mine in zip(shares, streams, strict=True)]
        if t:
            sums = _side_by_side(route, start + update, batches, training, solver.norm)
        else:
            sums = _at_start(route, start, batches, training, solver.norm, most)
        gradients = [solver.gradient(total, mine, t) for total, mine in zip(sums, streams, strict=True)]
        velocity.mul_(solver.momentum).add_(torch.stack(gradients).to(start.device))
        update.sub_(velocity, alpha=solver.lr)
    return update.cpu()


def _at_start(
    route: Route, start: Tensor, shares: Sequence[NDArray[np.int64]], training: Examples, norm: float, most: int
) -> Tensor:
    """Σ clip(∇ℓᵢ, norm) of every owner at weights that all share, int64 `[k, d]` on the CPU: one batch, whoever owns what."""
    total = torch.zeros(len(shares), len(start), dtype=torch.float64, device=start.device)
    rows = torch.from_numpy(np.concatenate(shares))
    whose = torch.from_numpy(np.repeat(np.arange(len(shares)), [len(share) for share in shares])).to(start.device)
    for first in range(0, len(rows), most):
        inputs, targets = _taken(training, rows[first : first + most], start.device)
        _add(route, start, inputs, targets, torch.arange(len(inputs)), whose[first : first + most], norm, total)
    return total.to(torch.int64).cpu()


def _side_by_side(
    route: Route, weights: Tensor, shares: Sequence[NDArray[np.int64]], training: Examples, norm: float
) -> Tensor:
    """The same where every owner has weights of its own, `[k, d]`."""
    total = torch.zeros(weights.shape, dtype=torch.float64, device=weights.device)
    rows, used = filled(shares)
    if used.any():
        inputs, targets = _taken(training, rows.flatten(), weights.device)
        places = used.flatten().nonzero().flatten()
        whose = (places // rows.shape[1]).to(weights.device)
        _add(route, weights, inputs, targets, places, whose, norm, total)
    return total.to(torch.int64).cpu()


def _add(
    route: Route,
    weights: Tensor,
    inputs: Tensor,
    targets: Tensor,
    places: Tensor,
    whose: Tensor,
    norm: float,
    total: Tensor,
) -> None:
    """Add the clipped gradients of the examples at `places` `[n]` to the totals of their owners `whose` `[n]`.

    Whole numbers of at most 2²⁸, at most 2²⁵ of them for one owner: float64 adds them exactly, in any order.
    """
    gradients, places = route.rows(weights, inputs, targets), places.to(inputs.device)
    size = max(1, (_BLOCK if total.device.type == "cpu" else _WIDE) // total.shape[1])
    for first in range(0, len(places), size):
        block = slice(first, first + size)
        total.index_add_(0, whose[block], clipped(gradients(places[block]), norm))


def _shares(requests: Sequence[Request], population: Population) -> list[NDArray[np.int64]]:
    """Where each owner's examples stand in the training data."""
    return [np.asarray(population.shares[request.owner], dtype=np.int64) for request in requests]


def _taken(training: Examples, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The training examples at `rows`, on the device."""
    rows = rows.to(training.inputs.device)
    return training.inputs.index_select(0, rows).to(device), training.targets.index_select(0, rows).to(device)
