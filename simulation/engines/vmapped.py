"""Vmapped: embeddings, attention, recurrent layers and modules of one's own, the owners of a small group side by side.

Takes what is no chain of Linear layers but looks at every example by itself. `layered.py` runs the module as one batch and
keeps apart what multiplies by weights; `functional.py` maps it over the owners; `fitness.py` says which of them will do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.updates import Dense, Updates
from ...strategies.algorithm import Algorithm
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.learner import Learner
from ...strategies.local import streams_of
from ...strategies.messages import Request
from ..population import Population
from .batches import batches_of, sizes_of, sorted_groups
from .clipping import Clipping
from .engine import in_turn
from .fitness import Fit, Route, fit_of, unclippable
from .functional import Functional
from .layered import Layered
from .moving import Moving, move_for, pace_for
from .pace import Pace

_ALL = Pace(lr=1.0, epochs=1, batch=None, steps=None)  # every example once
_ROWS = 1 << 14  # examples in all steps of a group
# Owners at once: where there is room for fewer, the plain loop was faster.
_FEWEST: Mapping[type[Route], int] = {Layered: 6, Functional: 20}


@dataclass(frozen=True, slots=True)
class Vmapped:
    """Any module that looks at every example by itself, at most `group` owners at once."""

    group: int = 32
    numbers: int = 1 << 21  # of a group's weights
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
        return unclippable(learner, population.training) if example else None

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        """What a group saves is the way from one operation to the next: where an owner's step is long, nothing is won."""
        if 2 * learner.dim > self.numbers:
            return (
                f"{learner.dim} weights are too many to have those of two owners side by side ({self.numbers} in all)"
            )
        fit, batch = fit_of(learner, population.training), _batch(plan, population.sizes())
        if isinstance(fit, str) or (pace_for(plan) is None and isinstance(fit.route, Layered)):
            return None  # clipping by examples, of which Opacus forms each gradient of an owner alone as well
        fewest = _FEWEST[type(fit.route)]
        if self._at_once(fit, batch) < fewest:
            return (
                f"{batch} examples leave {fit.kept * batch} numbers in a step, too many to have those of {fewest} owners "
                "in the cache"
            )
        return None

    def layers(self, plan: Plan, learner: Learner, population: Population) -> str:
        """By which way the module runs, and what is kept apart on it."""
        fit = fit_of(learner, population.training)
        if isinstance(fit, Fit) and isinstance(fit.route, Layered):
            return f"{', '.join(sorted({type(layer).__name__ for layer in fit.route.layers}))} by the weights of their owners"
        return "mapped over the owners as a whole"

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
        fit, first = fit_of(learner, population.training), requests[0]
        if isinstance(fit, str):
            raise ValueError(f"{self.name} was given work that it does not accept: {fit}; ask accepts() first")
        most = max(1, self._at_once(fit, _batch(plan, sizes_of(requests, population))))
        with learner.turn(streams_of(entropy, first.round, first.owner, first.attempt)):
            parts = [self._trained(fit, plan, learner, some, population, entropy) for some in in_turn(requests, most)]
        return Dense(torch.cat(parts))

    def _trained(
        self,
        fit: Fit,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
    ) -> Tensor:
        """The updates `[k, d]`, in the order of the requests."""
        solver, pace, start = plan.solver, pace_for(plan), requests[0].weights.to(learner.device)
        if isinstance(solver, ClippedGradient | DpSgd):
            shares = [np.asarray(population.shares[request.owner], dtype=np.int64) for request in requests]
            most = max(1, self._at_once(fit, 1))
            clipping = Clipping(fit.route, population.resident(learner.device), shares, start, most)
            if isinstance(solver, ClippedGradient):
                return clipping.clipped_gradients(solver)
            return clipping.dp_sgd(solver, [streams_of(entropy, r.round, r.owner, r.attempt) for r in requests])
        if pace is None:
            raise ValueError(f"{self.name} was given {type(solver).__name__}; ask accepts() first")
        batches = batches_of(pace, requests, population, entropy, learner.device)
        training = population.resident(learner.device)
        move, all_moving = move_for(plan, pace), Moving.of(start, len(requests))
        for t, step in enumerate(batches.steps):
            moving = all_moving.first(step.shape[0])
            move(moving, t, fit.route.means(moving.weights if t else start, *step.of(training), step.weights))
        return all_moving.update[batches.rows]


def _batch(plan: Plan, sizes: NDArray[np.int64]) -> int:
    """Examples in the largest step of owners with so many each, or how many `dp-sgd` expects there."""
    largest, pace = int(sizes.max(initial=0)), pace_for(plan)
    if isinstance(plan.solver, DpSgd):
        return math.ceil(plan.solver.rate * largest)
    return largest if pace is None or pace.batch is None else min(pace.batch, largest)
