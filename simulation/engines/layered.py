"""Layered: a module run once for all examples of a group, its layers multiplying each by the weights of its owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...strategies.learner import Learner, Loss, per_example
from .fused import Forward, replaced, unrolled
from .layers import Calls, Kind, kinds_of
from .moving import Add

Rows = Callable[[Tensor], Tensor]  # places `[n]` of examples -> each one's own gradient `[n, d]`


class StrayError(RuntimeError):
    """A layer was used in a way that does not tell whose example is whose."""


@dataclass(frozen=True, slots=True)
class Layered:
    """A module all of whose trained parameters belong to `layers`, each called with one input `[rows, …]`.

    Anything else in it may be any function that looks at every example by itself; `fitness.py` finds out.
    """

    module: nn.Module
    loss: Loss
    layers: Mapping[nn.Module, Mapping[str, Kind]]
    dim: int

    def means(self, weights: Tensor, inputs: Tensor, targets: Tensor, parts: Tensor) -> Add:
        """Adds every owner's Σ parts·losses, differentiated: `inputs` `[k·b, …]`, `parts` `[k, b]`, `weights` as in layers."""
        passed = self._pass(weights, inputs, targets, parts.flatten())

        def add(into: Tensor, scale: float) -> None:
            for kind, calls in passed.items():
                kind.add(into, calls, scale)

        return add

    def rows(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Rows:
        """The gradients of single examples, formed when they are asked for."""
        ones = torch.ones(len(inputs), device=inputs.device)
        passed = {kind: _together(calls) for kind, calls in self._pass(weights, inputs, targets, ones).items()}

        def rows(places: Tensor) -> Tensor:
            into = torch.zeros(len(places), self.dim, device=inputs.device)
            for kind, calls in passed.items():
                kind.add(into, [(a.index_select(0, places), b.index_select(0, places)) for a, b in calls], 1.0)
            return into

        return rows

    def _pass(
        self, weights: Tensor, inputs: Tensor, targets: Tensor, parts: Tensor
    ) -> dict[Kind, list[tuple[Tensor, Tensor]]]:
        """What passed each layer, forward and backward; none where the loss does not reach it."""
        at_work = _AtWork(weights, len(inputs))
        forwards = {layer: _forward(layer, kinds, at_work) for layer, kinds in self.layers.items()}
        with torch.enable_grad(), replaced(forwards):
            losses = per_example(self.loss, self.module(inputs), targets)
            # Not grad(losses, …, parts): torch loads a symbolic algebra to look at the shape of `parts`.
            torch.autograd.grad((losses * parts).sum(), at_work.anchor, allow_unused=True)
        return at_work.passed


@dataclass(frozen=True, slots=True)
class _AtWork:
    """One pass: the weights, the number of examples, and what passed each layer so far."""

    weights: Tensor
    rows: int
    passed: dict[Kind, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
    anchor: Tensor = field(init=False)  # a number of no meaning that makes the first layers part of the backward pass

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchor", torch.zeros((), device=self.weights.device, requires_grad=True))

    def call(self, kind: Kind, values: Tensor) -> Tensor:
        """One call of a layer, or of a product in it."""
        if values.dim() == 0 or len(values) != self.rows:
            raise StrayError(f"a layer takes {list(values.shape)} for {self.rows} examples, which must come first")
        through: Callable[..., Tensor] = _Through.apply  # untyped in torch
        return kind.finished(through(kind.prepared(values), self.anchor, kind, self))


def _forward(layer: nn.Module, kinds: Mapping[str, Kind], at_work: _AtWork) -> Forward:
    """What stands in for a layer in one pass."""
    if isinstance(layer, nn.RNNBase):
        return unrolled(layer, lambda name, values: at_work.call(kinds[name], values))
    return partial(at_work.call, kinds[""])


class _Through(torch.autograd.Function):
    """A layer that keeps what passes it instead of differentiating by its weights."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, anchor: Tensor, kind: Kind, at_work: _AtWork) -> Tensor:
        ctx.save_for_backward(values)
        ctx.of = (kind, at_work)
        return kind.forward(at_work.weights, values)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, None, None, None]:
        kind, at_work = ctx.of
        (values,) = ctx.saved_tensors
        at_work.passed.setdefault(kind, []).append((values.detach(), errors))
        back = kind.backward(at_work.weights, values, errors) if ctx.needs_input_grad[0] else None
        return back, None, None, None


def layered_of(learner: Learner) -> Layered | None:
    """The module of `learner` by its layers; None where something that trains belongs to none of `layers.kinds_of`."""
    module, trainable = learner.module, learner.trainable
    places = {id(module.get_parameter(slot.name)): slice(slot.start, slot.stop) for slot in trainable.layout}
    layers: dict[nn.Module, Mapping[str, Kind]] = {}
    for layer in module.modules():
        own = {key: places[id(p)] for key, p in layer.named_parameters(recurse=False) if id(p) in places}
        if own:
            kinds = kinds_of(layer, own)
            if kinds is None:
                return None
            layers[layer] = kinds
    return Layered(module, learner.loss, layers, trainable.dim)


def _together(calls: Calls) -> Calls:
    """Calls of the same shapes as one, with a dimension more after the first: the sums over them are the same."""
    if len({(a.shape, b.shape) for a, b in calls}) <= 1 < len(calls):
        return [(torch.stack([a for a, _ in calls], dim=1), torch.stack([b for _, b in calls], dim=1))]
    return calls
