"""Moving: owners under way, each with weights of its own, and the rule by which a step moves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ...strategies.solvers import Adam
from .pace import Pace

Add: TypeAlias = Callable[[Tensor, float], None]  # add scale·(gradients of all owners' losses) to `[k, d]`
Move: TypeAlias = Callable[["Moving", int, Add], None]


@dataclass(frozen=True, slots=True)
class Moving:
    """k owners under way from `start` `[d]`: updates, weights, gradients and two moments, each `[k, d]`."""

    start: Tensor
    update: Tensor
    weights: Tensor
    gradient: Tensor
    moments: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, start: Tensor, count: int) -> Moving:
        """All owners at the start."""
        zeros = [torch.zeros(count, len(start), device=start.device) for _ in range(4)]
        return cls(start, zeros[0], start.repeat(count, 1), zeros[1], (zeros[2], zeros[3]))

    def first(self, count: int) -> Moving:
        """The first owners, as views."""
        update, weights, gradient, one, two = (
            each[:count] for each in (self.update, self.weights, self.gradient, *self.moments)
        )
        return Moving(self.start, update, weights, gradient, (one, two))


def descent(pace: Pace) -> Move:
    """One step of `sgd` or `prox`, in the order of operations of the plain loop."""
    bare = not (pace.weight_decay or pace.mu or pace.momentum)

    def move(moving: Moving, t: int, add: Add) -> None:
        if bare:
            add(moving.update, -pace.lr)
        else:
            direction = moving.gradient.zero_()
            add(direction, 1.0)
            if pace.weight_decay:
                direction.add_(moving.weights, alpha=pace.weight_decay)
            if pace.mu:
                direction.add_(moving.update, alpha=pace.mu)
            if pace.momentum:
                direction = moving.moments[0].mul_(pace.momentum).add_(direction)
            moving.update.sub_(direction, alpha=pace.lr)
        torch.add(moving.start, moving.update, out=moving.weights)

    return move


def adaptive(solver: Adam) -> Move:
    """One step of `adam`, in the order of operations of the plain loop."""

    def move(moving: Moving, t: int, add: Add) -> None:
        gradient = moving.gradient.zero_()
        add(gradient, 1.0)
        if solver.weight_decay:
            gradient.add_(moving.weights, alpha=solver.weight_decay)
        first, second = moving.moments
        first.mul_(solver.beta1).add_(gradient, alpha=1 - solver.beta1)
        second.mul_(solver.beta2).addcmul_(gradient, gradient, value=1 - solver.beta2)
        root = (second / (1 - solver.beta2 ** (t + 1))).sqrt_().add_(solver.epsilon)
        moving.weights.addcdiv_(first, root, value=-solver.lr / (1 - solver.beta1 ** (t + 1)))
        torch.sub(moving.weights, moving.start, out=moving.update)

    return move
