"""Clipping: `clipped-gradient` and `dp-sgd` for a group of owners, every example's gradient formed, clipped and added up.

By the same functions as an owner alone (`privacy/local.py`): cut off to the grid and summed as integers, so a sum does not
depend on who else is in a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.local import clipped
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.local import Streams
from ...tasks.examples import Examples
from .example_level import filled
from .fitness import Route

_BLOCK = 1 << 18  # numbers formed and clipped at once: they stay in the cache
_WIDE = 1 << 25  # the same on an accelerator


@dataclass(frozen=True, slots=True)
class Clipping:
    """A group that starts at `start` `[d]`; owner k holds the rows `shares[k]` of `training`, which is where `start` is.

    The module runs by `route`, over at most `most` examples at a time where all owners have the same weights.
    """

    route: Route
    training: Examples
    shares: Sequence[NDArray[np.int64]]
    start: Tensor
    most: int

    def clipped_gradients(self, solver: ClippedGradient) -> Tensor:
        """The updates `[k, d]` on the CPU: one step at the weights that all share."""
        return torch.stack([solver.update_of(total) for total in self._at_start(self.shares, solver.inner_norm)])

    def dp_sgd(self, solver: DpSgd, streams: Sequence[Streams]) -> Tensor:
        """The updates `[k, d]` on the CPU; every owner draws its own examples and its own noise, from its own streams."""
        update, velocity = (torch.zeros(len(self.shares), len(self.start)) for _ in range(2))
        for t in range(solver.steps):
            drawn = [
                share[solver.sampled(len(share), mine, t)] for share, mine in zip(self.shares, streams, strict=True)
            ]
            sums = self._side_by_side(update, drawn, solver.norm) if t else self._at_start(drawn, solver.norm)
            gradients = [solver.gradient(total, mine, t) for total, mine in zip(sums, streams, strict=True)]
            velocity.mul_(solver.momentum).add_(torch.stack(gradients))
            update.sub_(velocity, alpha=solver.lr)
        return update

    def _at_start(self, shares: Sequence[NDArray[np.int64]], norm: float) -> Tensor:
        """Σ clip(∇ℓᵢ, norm) of every owner over `shares[k]` at weights that all share, int64 `[k, d]` on the CPU.

        One batch, whoever owns what.
        """
        total = self._nothing()
        rows = torch.from_numpy(np.concatenate(shares))
        whose = torch.from_numpy(np.repeat(np.arange(len(shares)), [len(share) for share in shares]))
        for some, owners in zip(torch.split(rows, self.most), torch.split(whose, self.most), strict=True):
            self._add(self.start, some, torch.arange(len(some)), owners, norm, total)
        return total.to(torch.int64).cpu()

    def _side_by_side(self, update: Tensor, shares: Sequence[NDArray[np.int64]], norm: float) -> Tensor:
        """The same where every owner has come by its own `update` `[k, d]`."""
        total = self._nothing()
        rows, used = filled(shares)
        places = used.flatten().nonzero().flatten()
        weights = self.start + update.to(self.start.device)
        self._add(weights, rows.flatten(), places, places // max(1, rows.shape[1]), norm, total)
        return total.to(torch.int64).cpu()

    def _add(self, weights: Tensor, rows: Tensor, places: Tensor, whose: Tensor, norm: float, total: Tensor) -> None:
        """Add the clipped gradients of the examples `rows[places]` `[n]` to the totals of their owners `whose` `[n]`.

        Whole numbers of at most 2²⁸, at most 2²⁵ of them for one owner: float64 adds them exactly, in any order.
        """
        if len(places) == 0:
            return
        device = total.device
        rows, places, whose = rows.to(device), places.to(device), whose.to(device)
        inputs, targets = (each.index_select(0, rows) for each in (self.training.inputs, self.training.targets))
        gradients = self.route.rows(weights, inputs, targets)
        size = max(1, (_BLOCK if device.type == "cpu" else _WIDE) // total.shape[1])
        for some, owners in zip(torch.split(places, size), torch.split(whose, size), strict=True):
            total.index_add_(0, owners, clipped(gradients(some), norm))

    def _nothing(self) -> Tensor:
        """No gradient of anybody yet, `[k, d]`."""
        return torch.zeros(len(self.shares), len(self.start), dtype=torch.float64, device=self.start.device)
