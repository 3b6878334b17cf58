"""Example level: `clipped-gradient` and `dp-sgd` for chains of Linear layers, perhaps behind convolutions.

A Linear layer gives every example's norm from what passed it, and the clipped sum as one product (`privacy/outer.py`); a
convolution gives every example's own gradient, as one product with the patches of its image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...privacy.ball import Ball
from ...privacy.entropy import Entropy
from ...privacy.outer import MOST_EXAMPLES, Outer, Part, Rows, Sums, clipped_sums
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.learner import Learner
from ...strategies.local import streams_of
from ...strategies.messages import Request
from ..population import Population
from .batches import sorted_groups
from .chain import Chain, chain_of, entered, known_chain, unfit
from .engine import in_turn
from .front import Passage
from .pace import Pace
from .private_descent import descended
from .sweep import sweep
from .weights import Own, Shared

_ALL = Pace(lr=1.0, epochs=1, batch=None, steps=None)  # every example once
_NUMBERS = 1 << 20  # of a group's sums: 8 MiB
_ROWS = 1 << 12
_FORMED = 1 << 22  # numbers of single examples' gradients at once: 16 MiB


@dataclass(frozen=True, slots=True)
class ExampleLevel:
    """Linear layers, perhaps behind convolutions, under `clipped-gradient` and `dp-sgd`, at most `group` owners at once."""

    group: int = 256
    name: str = "example-level"
    purpose: str = "per-example clipping, without forming an example's gradient of a Linear layer"

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
        chain = known_chain(learner.module, learner.trainable)
        work = Clipped(chain, learner, population, requests, entropy)
        if isinstance(plan.solver, ClippedGradient):
            return Dense(_clipped_gradients(work, plan.solver))
        if isinstance(plan.solver, DpSgd):
            streams = [streams_of(entropy, r.round, r.owner, r.attempt) for r in requests]
            return Dense(descended(plan.solver, work.start(), work.shares(), streams, work.sums))
        raise ValueError(f"{self.name} was given {type(plan.solver).__name__}; ask accepts() first")


@dataclass(frozen=True, slots=True)
class Clipped:
    """A group whose examples are clipped one by one."""

    chain: Chain
    learner: Learner
    population: Population
    requests: Sequence[Request]
    entropy: Entropy

    def sums(self, vectors: Tensor, shares: Sequence[NDArray[np.int64]], ball: Ball) -> Sums:
        """Σ clip(∇ℓᵢ, C) of every owner over the training examples `shares[k]`, `[k, d]`, in steps of the ball's grid.

        `vectors` are the weights, `[k, d]` or one row `[1, d]` that all share.
        """
        rows, used = (each.to(vectors.device) for each in filled(shares))
        return clipped_sums(self._pieces(vectors, rows, used), len(shares), rows.shape[1], self.chain.dim, ball)

    def _pieces(self, vectors: Tensor, rows: Tensor, used: Tensor) -> Iterator[list[Part]]:
        """What every layer says of the examples at `rows` `[k, b]`, as many at a time as there is room for."""
        alone = max(1, self.chain.front.numbers * len(rows))
        for first in range(0, rows.shape[1], max(1, _FORMED // alone)):
            some = slice(first, first + max(1, _FORMED // alone))
            yield self._parts(vectors, rows[:, some], used[:, some])

    def _parts(self, vectors: Tensor, rows: Tensor, used: Tensor) -> list[Part]:
        chain, training = self.chain, self.population.resident(self.learner.device)
        inputs = training.inputs.index_select(0, rows.flatten())
        targets = training.targets.index_select(0, rows.flatten())
        weights = Shared(chain.affines, vectors[0]) if len(vectors) == 1 else Own(chain.affines, vectors)
        passage = Passage(chain.front, vectors)
        values = entered(chain, passage, inputs.view(*rows.shape, *inputs.shape[1:]))
        swept = sweep(chain, weights, values, targets, used, self.learner.loss)
        parts: list[Part] = [
            Outer(link.weight_at, link.bias_at, before, errors)
            for link, before, errors in zip(chain.affines, swept.inputs, swept.errors, strict=True)
            if link.trained and errors is not None
        ]
        if swept.entry is not None:
            parts += [Rows(own, layer.in_order) for layer, own in passage.gradients_of_examples(swept.entry)]
        return parts

    def start(self) -> Tensor:
        """The weights that all begin with, `[d]`, on the learner's device."""
        return self.requests[0].weights.to(self.learner.device)

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


def _clipped_gradients(work: Clipped, solver: ClippedGradient) -> Tensor:
    """`[k, d]`; one step at the weights that all share."""
    sums, whole = work.sums(work.start()[None], work.shares(), solver.ball), slice(None)
    return torch.stack([solver.update_of(sums.piece(place, whole)) for place in range(len(sums))])
