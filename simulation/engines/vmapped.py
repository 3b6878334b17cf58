"""Vmapped: embeddings, attention, recurrent cells and modules of one's own, the owners of a small group side by side.

Takes what is no chain of Linear layers but looks at every example by itself. `layered.py` runs the module as one batch and
keeps apart what multiplies by weights; `functional.py` is the way for everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.learner import Learner
from ...strategies.local import streams_of
from ...strategies.messages import Request
from ...tasks.examples import Examples
from ..population import Population
from .batches import Batches, batches_of, sorted_groups
from .clipping import clipped_gradients, dp_sgd
from .engine import in_turn
from .fitness import Fit, Route, fit_of
from .layered import Layered, shared
from .moving import Moving, move_for, pace_for
from .pace import Pace

_ALL = Pace(lr=1.0, epochs=1, batch=None, steps=None)  # every example once
_ROWS = 1 << 14  # examples in all steps of a group


@dataclass(frozen=True, slots=True)
class Vmapped:
    """Any module that looks at every example by itself, at most `group` owners at once."""

    group: int = 32
    numbers: int = 1 << 20  # of a group's weights; with more than half of them one owner has most of the cache
    passing: int = 1 << 23  # numbers that a step of a group leaves for the backward pass: 32 MiB
    name: str = "vmapped"
    purpose: str = "any model that looks at each example by itself, a few owners side by side"

    def on(self, device: str) -> Vmapped:
        """The same for a device: an accelerator takes large groups."""
        return self if device == "cpu" else replace(self, group=256, numbers=1 << 26, passing=1 << 28)

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        example = type(plan.solver) in (ClippedGradient, DpSgd)
        if pace_for(plan) is None and not example:
            return f"{type(plan.solver).__name__} is not plain descent"
        if type(plan.algorithm).contribute is not Algorithm.contribute:
            return f"{type(plan.algorithm).__name__} has owners do more than train"
        fit = fit_of(learner, population.training)
        if isinstance(fit, str):
            return fit
        if example and not isinstance(fit.route, Layered):
            return "not everything that trains belongs to Linear, Embedding or LayerNorm, where examples have gradients"
        if example and shared(learner.module, learner.trainable):
            return "two layers share a parameter, and no example's gradient of it is in one place"
        return None

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        """Half of what a batched step saves is the way from one operation to the next: where a step is long, nothing is won."""
        fit, batch = fit_of(learner, population.training), _batch(plan, population)
        if learner.dim > self.numbers:
            return f"{learner.dim} weights are too many to have side by side ({self.numbers})"
        if isinstance(fit, Fit) and self._at_once(fit, batch) < 2:
            return (
                f"{batch} examples in a step leave {fit.kept * batch} numbers, one owner's alone too many for the cache"
            )
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        if not requests:
            return in_turn(requests, self.group)
        most = max(min(2, self.group), min(self.group, self.numbers // len(requests[0].weights)))
        return sorted_groups(pace_for(plan) or _ALL, requests, population, _ROWS, most)

    def _at_once(self, fit: Fit, batch: int) -> int:
        """How many owners' batches are as much as fits."""
        return self.passing // max(1, fit.kept * batch)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        fit = fit_of(learner, population.training)
        if isinstance(fit, str):
            raise ValueError(f"{self.name} was given work that it does not accept: {fit}; ask accepts() first")
        most = max(1, self._at_once(fit, _batch(plan, population)))
        parts = [
            _trained(fit, self.passing, plan, learner, some, population, entropy) for some in in_turn(requests, most)
        ]
        return Dense(torch.cat(parts) if len(parts) > 1 else parts[0])


def _batch(plan: Plan, population: Population) -> int:
    """Examples in the largest step of any owner, or how many `dp-sgd` expects there."""
    largest = int(population.sizes().max(initial=0))
    pace = pace_for(plan)
    if isinstance(plan.solver, DpSgd):
        return math.ceil(plan.solver.rate * largest)
    return largest if pace is None or pace.batch is None else min(pace.batch, largest)


def _trained(
    fit: Fit,
    passing: int,
    plan: Plan,
    learner: Learner,
    requests: Sequence[Request],
    population: Population,
    entropy: Entropy,
) -> Tensor:
    """The updates `[k, d]` on the CPU, in the order of the requests."""
    first, solver, pace = requests[0], plan.solver, pace_for(plan)
    start, most = first.weights.to(learner.device), max(1, passing // max(1, fit.kept))
    with learner.turn(streams_of(entropy, first.round, first.owner, first.attempt)):
        if isinstance(solver, ClippedGradient):
            return clipped_gradients(fit.route, solver, start, requests, population, most)
        if isinstance(solver, DpSgd):
            return dp_sgd(fit.route, solver, start, requests, population, entropy, most)
        if pace is None:
            raise ValueError(f"vmapped was given {type(solver).__name__}; ask accepts() first")
        batches = batches_of(pace, requests, population, entropy)
        return _moved(fit.route, plan, pace, start, batches, population.training).cpu()


def _moved(route: Route, plan: Plan, pace: Pace, start: Tensor, batches: Batches, training: Examples) -> Tensor:
    """The updates `[k, d]` of plain descent, in the order of the requests."""
    move, all_moving = move_for(plan, pace), Moving.of(start, len(batches.rows))
    for t, (inputs, targets, parts) in enumerate(_loaded(batches, training, start.device)):
        moving = all_moving.first(len(parts))
        move(moving, t, route.means(moving.weights if t else start, inputs, targets, parts))
    return all_moving.update.index_select(0, batches.rows.to(start.device))


def _loaded(batches: Batches, training: Examples, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Inputs `[k·b, …]`, targets and parts `[k, b]` of every step, on the device, brought there in one go."""
    if not batches.steps:
        return
    rows = torch.cat([step.rows.flatten() for step in batches.steps]).to(training.inputs.device)
    parts = torch.cat([step.weights.flatten() for step in batches.steps]).to(device)
    inputs, targets = (each.index_select(0, rows).to(device) for each in (training.inputs, training.targets))
    first = 0
    for step in batches.steps:
        last = first + step.rows.numel()
        yield inputs[first:last], targets[first:last], parts[first:last].view(step.shape)
        first = last
