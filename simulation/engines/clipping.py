"""Clipping: `clipped-gradient` and `dp-sgd` for a group of owners, every example's gradient formed, clipped and added up.

By the same functions as an owner alone (`privacy/local.py`): cut off to the grid and summed as integers, so a sum does not
depend on who else is in a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...privacy.ball import Ball
from ...privacy.local import clipped
from ...privacy.outer import Sums
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.local import Streams
from ...tasks.examples import Examples
from .example_level import filled
from .fitness import Route
from .private_descent import Shares, descended

_BLOCK = 1 << 18  # numbers formed and clipped at once: they stay in the cache
_WIDE = 1 << 25  # the same on an accelerator


@dataclass(frozen=True, slots=True)
class Clipping:
    """A group that starts at `start` `[d]`; owner k holds the rows `shares[k]` of `training`, which is where `start` is.

    The module runs by `route`, over at most `most` examples at a time where all owners have the same weights.
    """

    route: Route
    training: Examples
    shares: Shares
    start: Tensor
    most: int

    def clipped_gradients(self, solver: ClippedGradient) -> Tensor:
        """The updates `[k, d]`: one step at the weights that all share."""
        sums, whole = self.sums(self.start[None], self.shares, solver.ball), slice(None)
        return torch.stack([solver.update_of(sums.piece(place, whole)) for place in range(len(sums))])

    def dp_sgd(self, solver: DpSgd, streams: Sequence[Streams]) -> Tensor:
        """The updates `[k, d]`; every owner draws its own examples and its own noise, from its own streams."""
        return descended(solver, self.start, self.shares, streams, self.sums)

    def sums(self, vectors: Tensor, shares: Shares, ball: Ball) -> Sums:
        """Σ clip(∇ℓᵢ, C) of every owner over the examples `shares[k]`, at weights `[k, d]`, or one row `[1, d]` for all."""
        total = torch.zeros(len(shares), len(self.start), dtype=torch.float64, device=self.start.device)
        if len(vectors) == 1:
            self._add_at_once(vectors[0], shares, ball, total)
        else:
            rows, used = filled(shares)
            places = used.flatten().nonzero().flatten()
            self._add(vectors, rows.flatten(), places, places // max(1, rows.shape[1]), ball, total)
        return Sums(total, torch.int64)

    def _add_at_once(self, weights: Tensor, shares: Shares, ball: Ball, total: Tensor) -> None:
        """At weights that all share: one batch, whoever owns what."""
        rows = torch.from_numpy(np.concatenate(shares))
        whose = torch.from_numpy(np.repeat(np.arange(len(shares)), [len(share) for share in shares]))
        for some, owners in zip(torch.split(rows, self.most), torch.split(whose, self.most), strict=True):
            self._add(weights, some, torch.arange(len(some)), owners, ball, total)

    def _add(self, weights: Tensor, rows: Tensor, places: Tensor, whose: Tensor, ball: Ball, total: Tensor) -> None:
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
            total.index_add_(0, owners, clipped(gradients(some), ball))
