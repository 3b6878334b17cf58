"""Sweep: one forward and backward pass of a chain for a group of owners at once, whatever their weights are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...strategies.learner import Loss, per_example
from ...tasks.losses import cross_entropy
from .activations import Activation
from .chain import Chain


@dataclass(frozen=True, slots=True)
class Swept:
    """What passed the Linear layers: `inputs[l]` `[k, b, in]`, and `errors[l]` `[k, b, out]`, the loss's gradients at their
    outputs. Layers before the first that trains have no errors (None). `entry` `[k, b, features]` are the gradients at the
    rows that came in, where something before them trains.
    """

    inputs: tuple[Tensor, ...]
    errors: tuple[Tensor | None, ...]
    entry: Tensor | None = None


class Weights(Protocol):
    """What the Linear layers of a chain multiply by, in one step of a group."""

    def forward(self, place: int, values: Tensor) -> Tensor:
        """Linear layer `place` without its bias, `[k, b, in] -> [k, b, out]`, which nobody else has."""
        ...

    def bias(self, place: int) -> Tensor | None:
        """Its bias, `[out]` or `[k, 1, out]`; None without one."""
        ...

    def backward(self, place: int, errors: Tensor) -> Tensor:
        """Its transpose without the bias, `[k, b, out] -> [k, b, in]`, which nobody else has."""
        ...


def sweep(chain: Chain, by: Weights, inputs: Tensor, targets: Tensor, weights: Tensor, loss: Loss) -> Swept:
    """Σ weights·losses, differentiated: `inputs` `[k, b, features]`, `targets` `[k·b, …]`, `weights` `[k, b]`.

    Everything but Linear layers is elementwise or the loss, and mixes no examples. A row of weight 0 has errors that are
    exactly 0. What a Linear layer gives is written over by the activation behind it.
    """
    values, entered, passed = inputs, [], []
    bias, owned = None, False  # what is still to be added to `values`; whether nobody else has them
    for link in chain.links:
        if isinstance(link, Activation):
            if owned:
                before, values = link.forward_over(values, bias)
            else:
                before, values = values, link.forward(values)
            passed.append((before, values))
            bias, owned = None, False
        else:
            values = values if bias is None else values.add_(bias)
            entered.append(values)
            values, bias, owned = by.forward(len(entered) - 1, values), by.bias(len(entered) - 1), True
    values = values if bias is None else values.add_(bias)
    errors = _loss_gradient(loss, values, targets, weights)
    further = chain.front.trained
    first = 0 if further else next(place for place, affine in enumerate(chain.affines) if affine.trained)
    left: list[Tensor | None] = [None] * len(entered)
    at = len(entered)
    for link in reversed(chain.links):
        if isinstance(link, Activation):
            errors = link.backward_over(errors, *passed.pop())
            continue
        at -= 1
        left[at] = errors
        if at == first and not further:
            return Swept(tuple(entered), tuple(left))
        errors = by.backward(at, errors)
    return Swept(tuple(entered), tuple(left), errors)


def _loss_gradient(loss: Loss, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Σ weights·losses, differentiated by the outputs `[k, b, …]`; nobody else has it."""
    if loss is cross_entropy and targets.dim() == 1:  # softmax(z) − 1_y, without a tape
        flat = outputs.flatten(0, 1).t().contiguous()  # classes first: few of them would leave wide registers empty
        gradient = torch.softmax(flat, dim=0)
        gradient.scatter_add_(0, targets[None], torch.full((1, len(targets)), -1.0, device=flat.device))
        return gradient.mul_(weights.flatten()).t().contiguous().view(outputs.shape)
    leaf = outputs.detach().flatten(0, 1).requires_grad_()
    with torch.enable_grad():
        losses = per_example(loss, leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights.flatten())
    return gradient.clone(memory_format=torch.contiguous_format).view(outputs.shape)
