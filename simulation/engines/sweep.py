"""Sweep: one forward and backward pass of a chain for a group of owners at once, whatever their weights are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def sweep(
    chain: Chain,
    forward: Callable[[int, Tensor], Tensor],
    backward: Callable[[int, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
    loss: Loss,
) -> Swept:
    """Σ weights·losses, differentiated: `inputs` `[k, b, features]`, `targets` `[k·b, …]`, `weights` `[k, b]`.

    `forward(l, x)` is Linear layer l, `[k, b, in] -> [k, b, out]`; `backward(l, e)` its transpose without the bias,
    `[k, b, out] -> [k, b, in]`. Everything else is elementwise or the loss, and mixes no examples. A row of weight 0 has
    errors that are exactly 0.
    """
    values, entered, passed = inputs, [], []
    for link in chain.links:
        if isinstance(link, Activation):
            before, values = values, link.forward(values)
            passed.append((before, values))
        else:
            entered.append(values)
            values = forward(len(entered) - 1, values)
    errors = _loss_gradient(loss, values, targets, weights)
    further = chain.front.trained
    first = 0 if further else next(place for place, affine in enumerate(chain.affines) if affine.trained)
    left: list[Tensor | None] = [None] * len(entered)
    at = len(entered)
    for link in reversed(chain.links):
        if isinstance(link, Activation):
            errors = link.backward(errors, *passed.pop())
            continue
        at -= 1
        left[at] = errors
        if at == first and not further:
            return Swept(tuple(entered), tuple(left))
        errors = backward(at, errors)
    return Swept(tuple(entered), tuple(left), errors)


def _loss_gradient(loss: Loss, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Σ weights·losses, differentiated by the outputs `[k, b, …]`."""
    if loss is cross_entropy and targets.dim() == 1:  # softmax(z) − 1_y, without a tape
        flat = outputs.flatten(0, 1).t().contiguous()  # classes first: few of them would leave wide registers empty
        gradient = torch.softmax(flat, dim=0)
        gradient.scatter_add_(0, targets[None], torch.full((1, len(targets)), -1.0, device=flat.device))
        return gradient.mul_(weights.flatten()).t().contiguous().view(outputs.shape)
    leaf = outputs.detach().flatten(0, 1).requires_grad_()
    with torch.enable_grad():
        losses = per_example(loss, leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights.flatten())
    return gradient.view(outputs.shape)
