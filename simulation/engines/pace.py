"""Pace: what plain descent does to an owner's weights, as numbers: the rule of a step, and its sum over all steps.

With g_t the gradient of step t and u the update so far, every step of `sgd` and `prox` is

    direction = g_t + weight_decay·(start + u) + mu·u,    velocity = momentum·velocity + direction,    u ← u − lr·velocity

which is linear with the same coefficients for every owner: after s steps u_s = a_s·start + Σ_{t<s} C_st·g_t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...strategies.local import Solver
from ...strategies.solvers import Adam, Prox, Sgd, step_count


@dataclass(frozen=True, slots=True)
class Pace:
    """Descent with `epochs` passes in batches of `batch`, or `steps` of them."""

    lr: float
    epochs: int
    batch: int | None
    steps: int | None
    momentum: float = 0.0
    weight_decay: float = 0.0
    mu: float = 0.0

    def counts(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of owners with so many examples each."""
        each = sizes.tolist()
        found = {n: step_count(n, self.epochs, self.batch, self.steps) for n in set(each)}
        return np.array([found[n] for n in each], dtype=np.int64)

    def coefficients(self, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """a `[steps + 1]` and C `[steps + 1, steps]`: what `start` and each gradient have moved the weights by."""
        along = np.zeros(steps + 1)
        parts = np.zeros((steps + 1, steps))
        start_velocity, velocity = 0.0, np.zeros(steps)
        pull = self.weight_decay + self.mu
        for s in range(steps):
            start_velocity = self.momentum * start_velocity + self.weight_decay + pull * along[s]
            velocity = self.momentum * velocity + pull * parts[s]
            velocity[s] += 1.0
            along[s + 1] = along[s] - self.lr * start_velocity
            parts[s + 1] = parts[s] - self.lr * velocity
        return along, parts


def pace_of(solver: Solver) -> Pace | None:
    """The pace of plain descent; None for a solver whose steps are not linear in the gradients."""
    if type(solver) is Sgd:
        return Pace(solver.lr, solver.epochs, solver.batch, solver.steps, solver.momentum, solver.weight_decay)
    if type(solver) is Prox:
        return Pace(
            solver.lr, solver.epochs, solver.batch, solver.steps, solver.momentum, solver.weight_decay, solver.mu
        )
    return None


def adam_pace(solver: Adam) -> Pace:
    """How `adam` goes through the examples."""
    return Pace(solver.lr, solver.epochs, solver.batch, solver.steps, weight_decay=solver.weight_decay)
