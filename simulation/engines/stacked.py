"""Stacked: every owner of a small group has weights of its own, and one batched product does what a loop would.

Takes what low rank cannot (Adam, whose steps are not linear in the gradients) or does not pay for (many rows). Groups are
small because k copies of the weights have to stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ...strategies.solvers import Adam
from ..population import Population
from .batches import batches_of, sorted_groups
from .chain import Affine, chain_of, unfit
from .engine import in_turn
from .pace import Pace, adam_pace, pace_of
from .sweep import Swept, sweep
from .weights import Own, Shared, add_gradients

_NUMBERS = 1 << 19  # of a group's weights: 2 MiB, ten models of 55,000
_ROWS = 1 << 14  # examples in all steps of a group

Move: TypeAlias = Callable[["Moving", int, Swept], None]


@dataclass(frozen=True, slots=True)
class Stacked:
    """Linear layers under `sgd`, `prox` and `adam`, at most `group` owners at once."""

    group: int = 64
    name: str = "stacked"
    purpose: str = "Linear layers, the weights of a few owners side by side"

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        if _pace(plan) is None:
            return f"{type(plan.solver).__name__} is not plain descent"
        if type(plan.algorithm).contribute is not Algorithm.contribute:
            return f"{type(plan.algorithm).__name__} has owners do more than train"
        chain = chain_of(learner.module, learner.trainable)
        return chain if isinstance(chain, str) else unfit(chain, learner, population)

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        pace = _pace(plan)
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
        pace, chain = _pace(plan), chain_of(learner.module, learner.trainable)
        if pace is None or isinstance(chain, str):
            raise ValueError(f"{self.name} was given work that it does not accept: {chain}; ask accepts() first")
        batches, start = batches_of(pace, requests, population, entropy), requests[0].weights
        move = _adam(plan.solver) if isinstance(plan.solver, Adam) else _descent(pace)
        all_moving = Moving.of(chain.affines, start, len(requests))
        for t, step in enumerate(batches.steps):
            inputs, targets = step.of(population.training)
            moving = all_moving.first(step.shape[0])
            weights = Own(chain.affines, moving.weights) if t else Shared(chain.affines, start)
            swept = sweep(
                chain, weights.forward, weights.backward, inputs.view(*step.shape, -1), targets, step.weights,
                learner.loss,
            )  # fmt: skip
            move(moving, t, swept)
        return Dense(all_moving.update[batches.rows])


@dataclass(frozen=True, slots=True)
class Moving:
    """k owners under way from `start` `[d]`: updates, weights, gradients and two moments, each `[k, d]`."""

    affines: tuple[Affine, ...]
    start: Tensor
    update: Tensor
    weights: Tensor
    gradient: Tensor
    moments: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, affines: tuple[Affine, ...], start: Tensor, count: int) -> Moving:
        """All owners at the start."""
        zeros = [torch.zeros(count, len(start)) for _ in range(4)]
        return cls(affines, start, zeros[0], start.repeat(count, 1), zeros[1], (zeros[2], zeros[3]))

    def first(self, count: int) -> Moving:
        """The first owners, as views."""
        update, weights, gradient, one, two = (
            each[:count] for each in (self.update, self.weights, self.gradient, *self.moments)
        )
        return Moving(self.affines, self.start, update, weights, gradient, (one, two))


def _pace(plan: Plan) -> Pace | None:
    return adam_pace(plan.solver) if type(plan.solver) is Adam else pace_of(plan.solver)


def _descent(pace: Pace) -> Move:
    """One step of `sgd` or `prox`, in the order of operations of the plain loop."""
    bare = not (pace.weight_decay or pace.mu or pace.momentum)

    def move(moving: Moving, t: int, swept: Swept) -> None:
        if bare:
            add_gradients(moving.affines, swept, moving.update, -pace.lr)
        else:
            direction = moving.gradient.zero_()
            add_gradients(moving.affines, swept, direction, 1.0)
            if pace.weight_decay:
                direction.add_(moving.weights, alpha=pace.weight_decay)
            if pace.mu:
                direction.add_(moving.update, alpha=pace.mu)
            if pace.momentum:
                direction = moving.moments[0].mul_(pace.momentum).add_(direction)
            moving.update.sub_(direction, alpha=pace.lr)
        torch.add(moving.start, moving.update, out=moving.weights)

    return move


def _adam(solver: Adam) -> Move:
    """One step of `adam`, in the order of operations of the plain loop."""

    def move(moving: Moving, t: int, swept: Swept) -> None:
        gradient = moving.gradient.zero_()
        add_gradients(moving.affines, swept, gradient, 1.0)
        if solver.weight_decay:
            gradient.add_(moving.weights, alpha=solver.weight_decay)
        first, second = moving.moments
        first.mul_(solver.beta1).add_(gradient, alpha=1 - solver.beta1)
        second.mul_(solver.beta2).addcmul_(gradient, gradient, value=1 - solver.beta2)
        root = (second / (1 - solver.beta2 ** (t + 1))).sqrt_().add_(solver.epsilon)
        moving.weights.addcdiv_(first, root, value=-solver.lr / (1 - solver.beta1 ** (t + 1)))
        torch.sub(moving.weights, moving.start, out=moving.update)

    return move
