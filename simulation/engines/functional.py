"""Functional: a module as a function of its weights, called for all owners of a group at once by `torch.func.vmap`.

For modules that hold parameters outside the layers of `layers.py`. The backward pass is autograd's own, below the map:
`torch.func.grad` would load a compiler at its first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...strategies.learner import Loss, per_example
from ...tasks.trainable import Slot
from .fused import replaced, written_out
from .layered import Rows
from .moving import Add


@contextmanager
def mappable(module: nn.Module) -> Iterator[None]:
    """What torch has fused and cannot map is products and elementwise functions, for as long as it lasts."""
    with replaced(written_out(module)), sdpa_kernel(SDPBackend.MATH):
        yield


@dataclass(frozen=True, slots=True)
class Functional:
    """Any module that vmap can map; see `layered.Layered` for the shapes."""

    module: nn.Module
    loss: Loss
    layout: tuple[Slot, ...]

    def means(self, weights: Tensor, inputs: Tensor, targets: Tensor, parts: Tensor) -> Add:
        """Adds every owner's Σ parts·losses, differentiated."""
        owners = len(parts)
        leaves = self._leaves(weights, owners)
        with torch.enable_grad(), mappable(self.module):
            losses = self._losses()(leaves, *(each.view(*parts.shape, *each.shape[1:]) for each in (inputs, targets)))
            found = torch.autograd.grad((losses * parts).sum(), list(leaves.values()), allow_unused=True)

        def add(into: Tensor, scale: float) -> None:
            for slot, gradient in zip(self.layout, found, strict=True):
                if gradient is not None:
                    into[:, slot.start : slot.stop].add_(gradient.flatten(1), alpha=scale)

        return add

    def rows(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Rows:
        """The gradients of single examples: an owner of one example each."""

        def rows(places: Tensor) -> Tensor:
            whose = weights if weights.dim() == 1 else weights[places // (len(inputs) // len(weights))]
            some, wanted = inputs.index_select(0, places), targets.index_select(0, places)
            into = torch.zeros(len(places), self.layout[-1].stop, device=inputs.device)
            self.means(whose, some, wanted, torch.ones(len(places), 1, device=inputs.device))(into, 1.0)
            return into

        return rows

    def _losses(self) -> Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]:
        """Weights by name `[k, …]`, inputs and targets `[k, b, …]` -> losses `[k, b]`."""

        def of_one(own: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            return per_example(self.loss, functional_call(self.module, dict(own), (inputs,)), targets)

        return vmap(of_one)

    def _leaves(self, weights: Tensor, owners: int) -> dict[str, Tensor]:
        """Every parameter `[k, …]`, a view that autograd takes for a leaf."""
        vectors = weights if weights.dim() == 2 else weights.expand(owners, -1)
        return {
            slot.name: vectors[:, slot.start : slot.stop].view(owners, *slot.shape).detach().requires_grad_()
            for slot in self.layout
        }
