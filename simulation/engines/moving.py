"""Moving: the weights of a few owners under way, side by side, and one step of descent or Adam for all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ...client.worker import Plan
from ...strategies.solvers import Adam
from .pace import Pace, adam_pace, pace_of

# Adds scale·(every owner's gradient of its mean loss) to a tensor `[k, d]`.
Add: TypeAlias = Callable[[Tensor, float], None]
Move: TypeAlias = Callable[["Moving", int, Add], None]


@dataclass(frozen=True, slots=True)
class Moving:
    """k owners under way from `start` `[d]`: updates and weights, each `[k, d]`."""

    start: Tensor
    update: Tensor
    weights: Tensor

    @classmethod
    def of(cls, start: Tensor, count: int) -> Moving:
        """All owners at the start."""
        return cls(start, torch.zeros(count, len(start), device=start.device), start.repeat(count, 1))

    def first(self, count: int) -> Moving:
        """The first owners, as views."""
        return Moving(self.start, self.update[:count], self.weights[:count])


class _Kept:
    """Tensors like the updates that a solver keeps from step to step, zero at first; owners leave from the end."""

    __slots__ = ("tensors",)

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def of(self, name: str, moving: Moving) -> Tensor:
        """The one called `name`, `[k, d]`; made in the first step, when all owners are there."""
        if name not in self.tensors:
            self.tensors[name] = torch.zeros_like(moving.update)
        return self.tensors[name][: len(moving.update)]


def pace_for(plan: Plan) -> Pace | None:
    """How a plain solver goes through the examples; None for a solver that is not plain descent."""
    return adam_pace(plan.solver) if type(plan.solver) is Adam else pace_of(plan.solver)


def move_for(plan: Plan, pace: Pace) -> Move:
    """The steps of the plan's solver, for one group, from step 0 on."""
    return _adam(plan.solver) if isinstance(plan.solver, Adam) else descent(pace)


def descent(pace: Pace) -> Move:
    """One step of `sgd` or `prox`, in the order of operations of the plain loop."""
    bare, kept = not (pace.weight_decay or pace.mu or pace.momentum), _Kept()

    def move(moving: Moving, t: int, add: Add) -> None:
        if bare:
            add(moving.update, -pace.lr)
        else:
            direction = kept.of("gradient", moving).zero_()
            add(direction, 1.0)
            if pace.weight_decay:
                direction.add_(moving.weights, alpha=pace.weight_decay)
            if pace.mu:
                direction.add_(moving.update, alpha=pace.mu)
            if pace.momentum:
                direction = kept.of("velocity", moving).mul_(pace.momentum).add_(direction)
            moving.update.sub_(direction, alpha=pace.lr)
        torch.add(moving.start, moving.update, out=moving.weights)

    return move


def _adam(solver: Adam) -> Move:
    """One step of `adam`, in the order of operations of the plain loop."""
    kept = _Kept()

    def move(moving: Moving, t: int, add: Add) -> None:
        gradient = kept.of("gradient", moving).zero_()
        add(gradient, 1.0)
        if solver.weight_decay:
            gradient.add_(moving.weights, alpha=solver.weight_decay)
        first, second = kept.of("first", moving), kept.of("second", moving)
        first.mul_(solver.beta1).add_(gradient, alpha=1 - solver.beta1)
        second.mul_(solver.beta2).addcmul_(gradient, gradient, value=1 - solver.beta2)
        root = (second / (1 - solver.beta2 ** (t + 1))).sqrt_().add_(solver.epsilon)
        moving.weights.addcdiv_(first, root, value=-solver.lr / (1 - solver.beta1 ** (t + 1)))
        torch.sub(moving.weights, moving.start, out=moving.update)

    return move
