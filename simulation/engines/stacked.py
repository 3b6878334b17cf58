"""Stacked: every owner of a small group has weights of its own, and one batched product does what a loop would.

Takes what low rank cannot (Adam, whose steps are not linear in the gradients) or does not pay for (many rows). Groups are
small because k copies of the weights have to stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ..population import Population
from .batches import batches_of, sorted_groups
from .chain import Chain, chain_of, entered, known_chain, unfit
from .engine import in_turn
from .front import Passage
from .moving import Add, Moving, move_for, pace_for
from .precision import FULL, Precision
from .sweep import Swept, sweep
from .weights import Own, Shared, add_gradients

_NUMBERS = 1 << 19  # of a group's weights: 2 MiB, ten models of 55,000
_ROWS = 1 << 14  # examples in all steps of a group


@dataclass(frozen=True, slots=True)
class Stacked:
    """Linear layers under `sgd`, `prox` and `adam`, at most `group` owners at once."""

    group: int = 64
    name: str = "stacked"
    purpose: str = "Linear layers, the weights of a few owners side by side"
    precision: Precision = FULL

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        if pace_for(plan) is None:
            return f"{type(plan.solver).__name__} is not plain descent"
        if type(plan.algorithm).contribute is not Algorithm.contribute:
            return f"{type(plan.algorithm).__name__} has owners do more than train"
        chain = chain_of(learner.module, learner.trainable)
        return chain if isinstance(chain, str) else unfit(chain, learner, population)

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        pace = pace_for(plan)
        if pace is None or not requests:
            return in_turn(requests, self.group)
        most = max(2, min(self.group, _NUMBERS // len(requests[0].weights)))
        return sorted_groups(pace, requests, population, _ROWS, most)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        pace, chain = pace_for(plan), known_chain(learner.module, learner.trainable)
        if pace is None:
            raise ValueError(f"{self.name} was given {type(plan.solver).__name__}; ask accepts() first")
        batches = batches_of(pace, requests, population, entropy, learner.device)
        training, start = population.resident(learner.device), requests[0].weights.to(learner.device)
        move, all_moving = move_for(plan, pace), Moving.of(start, len(requests))
        for t, step in enumerate(batches.steps):
            inputs, targets = step.of(training)
            moving = all_moving.first(step.shape[0])
            own, shared = (chain.affines, moving.weights, self.precision), (chain.affines, start, self.precision)
            weights = Own(*own) if t else Shared(*shared)
            passage = Passage(chain.front, moving.weights if t else start[None], self.precision)
            rows = entered(chain, passage, inputs.view(*step.shape, *inputs.shape[1:]))
            swept = sweep(chain, weights, rows, targets, step.weights, learner.loss)
            move(moving, t, _gradients(chain, passage, swept))
        return Dense(all_moving.update[batches.rows])


def _gradients(chain: Chain, passage: Passage, swept: Swept) -> Add:
    def add(into: Tensor, scale: float) -> None:
        add_gradients(chain.affines, swept, into, scale)
        if swept.entry is not None:
            passage.add_gradients(swept.entry, into, scale)

    return add
