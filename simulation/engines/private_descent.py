"""Private descent: `dp-sgd` for a group of owners, each with its own draws of examples and noise.

What adds up their clipped gradients is whatever fits the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.ball import Ball
from ...privacy.outer import Motion, Sums
from ...strategies.gradients import DpSgd
from ...strategies.local import Streams

Shares: TypeAlias = Sequence[NDArray[np.int64]]
_LARGE = 1 << 14  # numbers of a model from which steps are worth a loop of their own; they round otherwise than torch's

ClippedSums: TypeAlias = Callable[[Tensor, Shares, Ball], Sums]


def descended(solver: DpSgd, start: Tensor, shares: Shares, streams: Sequence[Streams], sums: ClippedSums) -> Tensor:
    """How far each of k owners gets from `start` `[d]`, `[k, d]`; owner k holds the examples `shares[k]`.

    `sums(weights, drawn, ball)` adds up the clipped gradients of the examples `drawn[k]` of every owner, at weights `[k, d]`,
    or `[1, d]` while all have the same.
    """
    count, dim, vectors = len(shares), len(start), start[None]
    update, moved = (torch.empty(count, dim, device=start.device) for _ in range(2))
    velocity = torch.zeros(count, dim if solver.momentum else 0, device=start.device)
    unit, sigma = solver.unit(dim), solver.sigma(dim)
    for t in range(solver.steps):
        drawn = [share[solver.sampled(len(share), mine, t)] for share, mine in zip(shares, streams, strict=True)]
        found = sums(vectors, drawn, solver.ball(dim))
        after = moved if t + 1 < solver.steps else moved[:, :0]
        loops = found.loops(sigma) if dim >= _LARGE and not solver.momentum else None
        for owner, mine in enumerate(streams):
            if loops is not None:
                ways = start.numpy(), update[owner].numpy(), after[owner].numpy()
                motion = Motion(solver.lr * unit, min(t, 1), *ways)
                found.step(owner, sigma, solver.noise(mine, t), motion, loops)
                continue
            for place, gradient in solver.gradient_pieces(partial(found.piece, owner), dim, mine, t):
                length = unit
                if solver.momentum:
                    gradient = velocity[owner, place].mul_(solver.momentum).add_(gradient, alpha=unit)
                    length = 1.0
                so_far = update[owner, place]
                if t:
                    so_far.sub_(gradient, alpha=solver.lr * length)
                else:
                    torch.mul(gradient, -solver.lr * length, out=so_far)
                if t + 1 < solver.steps:
                    torch.add(start[place], so_far, out=after[owner, place])
        vectors = moved
    return update
