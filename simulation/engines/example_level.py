"""Example level: `clipped-gradient` and `dp-sgd` for chains of Linear layers, every example's norm from what passed them.

Of convolutions before them every example's gradient is formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.outer import MOST_EXAMPLES, ClippedSums, Outer, Part, Rows, clipped_sums, no_sums
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.learner import Learner
from ...strategies.local import streams_of
from ...strategies.messages import Request
from ..population import Population
from .batches import sorted_groups
from .chain import Chain, chain_of, entered, unfit
from .engine import in_turn
from .front import Passage
from .pace import Pace
from .sweep import sweep
from .weights import Own, Shared

_ALL = Pace(lr=1.0, epochs=1, batch=None, steps=None)  # every example once
_NUMBERS = 1 << 20  # of a group's sums: 8 MiB
_ROWS = 1 << 12
_FORMED = 1 << 22  # numbers of formed gradients at once: 16 MiB, twice that in float64


@dataclass(frozen=True, slots=True)
class ExampleLevel:
    """Linear layers, perhaps behind convolutions, under `clipped-gradient` and `dp-sgd`, at most `group` owners at once."""

    group: int = 256
    name: str = "example-level"
    purpose: str = "per-example clipping from the norms of what passes Linear layers"

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        if type(plan.solver) not in (ClippedGradient, DpSgd):
            return f"{type(plan.solver).__name__} does not clip examples"
        if type(plan.algorithm).contribute is not Algorithm.contribute:
            return f"{type(plan.algorithm).__name__} has owners do more than train"
        largest = int(population.sizes().max(initial=0))
        if largest > MOST_EXAMPLES:
            return f"an owner holds {largest} examples, more than {MOST_EXAMPLES}"
        chain = chain_of(learner.module, learner.trainable)
        if isinstance(chain, str):
            return chain
        return "a layer works in place" if chain.in_place else unfit(chain, learner, population)

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        if not requests:
            return in_turn(requests, self.group)
        most = max(1, min(self.group, _NUMBERS // len(requests[0].weights)))
        return sorted_groups(_ALL, requests, population, _ROWS, most)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        chain = chain_of(learner.module, learner.trainable)
        if isinstance(chain, str):
            raise ValueError(f"{self.name} was given work that it does not accept: {chain}; ask accepts() first")
        work = _Work(chain, learner, population, requests, entropy)
        if isinstance(plan.solver, ClippedGradient):
            return Dense(_clipped_gradients(work, plan.solver))
        if isinstance(plan.solver, DpSgd):
            return Dense(_dp_sgd(work, plan.solver))
        raise ValueError(f"{self.name} was given {type(plan.solver).__name__}; ask accepts() first")


@dataclass(frozen=True, slots=True)
class _Work:
    """What a group is to train on."""

    chain: Chain
    learner: Learner
    population: Population
    requests: Sequence[Request]
    entropy: Entropy

    def sums(
        self, vectors: Tensor, shares: Sequence[NDArray[np.int64]], norm: float
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Σ clip(∇ℓᵢ, norm) of every owner over the training examples `shares[k]`, as `ClippedSums.blocks` gives them.

        `vectors` are the weights `[k, d]`, or one row `[1, d]` that all share.
        """
        most = max(1, _FORMED // max(1, self.chain.front.numbers * max(map(len, shares))))
        for first in range(0, len(shares), most):
            own = vectors if len(vectors) == 1 else vectors[first : first + most]
            for some, columns, block in self._clipped(own, shares[first : first + most], norm).blocks():
                yield slice(first + some.start, first + some.stop), columns, block

    def _clipped(self, vectors: Tensor, shares: Sequence[NDArray[np.int64]], norm: float) -> ClippedSums:
        rows, used = filled(shares)
        if not used.any():
            return no_sums(len(shares), self.chain.dim)
        chain, training = self.chain, self.population.training
        inputs = training.inputs.index_select(0, rows.flatten())
        targets = training.targets.index_select(0, rows.flatten())
        affines = chain.affines
        weights = Shared(affines, vectors[0]) if len(vectors) == 1 else Own(affines, vectors)
        cut = torch.cat([vectors[:, place] for place in chain.front.places] or [vectors[:, :0]], dim=1)
        passage = Passage(chain.front.apart(), cut)
        values = entered(chain, passage, inputs.view(*rows.shape, *inputs.shape[1:]))
        swept = sweep(chain, weights.forward, weights.backward, values, targets, used, self.learner.loss)
        parts: list[Part] = [
            Outer(link.weight_at, link.bias_at, inner, errors)
            for link, inner, errors in zip(affines, swept.inputs, swept.errors, strict=True)
            if link.trained and errors is not None
        ]
        if swept.entry is not None:
            formed = torch.zeros(*rows.shape, chain.front.numbers)
            passage.add_gradients_of_examples(swept.entry, formed)
            parts.append(Rows(chain.front.places, formed))
        return clipped_sums(parts, chain.dim, norm)

    def shares(self) -> list[NDArray[np.int64]]:
        """Where each owner's examples stand in the training data."""
        return [np.asarray(self.population.shares[request.owner], dtype=np.int64) for request in self.requests]


def filled(shares: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as `[k, b]`, filled up with their own first (0 where there is none); and 1 where used, 0 else."""
    lengths = np.array([len(share) for share in shares], dtype=np.int64)
    place = np.arange(int(lengths.max(initial=0)))
    used = place < lengths[:, None]
    flat = np.concatenate([*shares, np.zeros(1, dtype=np.int64)])
    first = np.cumsum(lengths) - lengths
    rows = flat[np.where(used, first[:, None] + place, np.where(lengths > 0, first, len(flat) - 1)[:, None])]
    return torch.from_numpy(rows), torch.from_numpy(used.astype(np.float32))


def _clipped_gradients(work: _Work, solver: ClippedGradient) -> Tensor:
    """`[k, d]`; one step at the weights that all share."""
    start, shares = work.requests[0].weights, work.shares()
    totals = torch.empty(len(shares), len(start), dtype=torch.float64)
    for some, columns, sums in work.sums(start[None], shares, solver.inner_norm):
        totals[some, columns] = sums
    return torch.stack([solver.update_of(total) for total in totals])


def _dp_sgd(work: _Work, solver: DpSgd) -> Tensor:
    """`[k, d]`; every owner draws its own examples and its own noise, from its own streams."""
    start, shares = work.requests[0].weights, work.shares()
    streams = [streams_of(work.entropy, r.round, r.owner, r.attempt) for r in work.requests]
    update, velocity = torch.zeros(len(shares), len(start)), torch.zeros(len(shares), len(start))
    for t in range(solver.steps):
        batches = [share[solver.sampled(len(share), mine, t)] for share, mine in zip(shares, streams, strict=True)]
        noises = solver.noises(streams, t)
        for some, columns, sums in work.sums(start + update if t else start[None], batches, solver.norm):
            moved = velocity[some, columns].mul_(solver.momentum).add_(solver.gradients(sums, noises[some]))
            update[some, columns].sub_(moved, alpha=solver.lr)
    return update
