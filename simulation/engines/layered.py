"""Layered: a module run once for all examples of a group, its layers multiplying each by the weights of its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...strategies.learner import Learner, Loss, per_example
from ...tasks.trainable import Trainable
from .layers import KINDS, Calls, Kind
from .moving import Add

Rows = Callable[[Tensor], Tensor]  # places `[n]` of examples -> each one's own gradient `[n, d]`


class StrayError(RuntimeError):
    """A layer was used in a way that does not tell whose example is whose."""


@dataclass(frozen=True, slots=True)
class Layered:
    """A module all of whose trained parameters belong to layers of `KINDS`, each called with one input `[rows, …]`.

    Anything else in it may be any function that looks at every example by itself; `fitness.py` finds out.
    """

    module: nn.Module
    loss: Loss
    kinds: tuple[Kind, ...]
    dim: int

    def means(self, weights: Tensor, inputs: Tensor, targets: Tensor, parts: Tensor) -> Add:
        """Adds every owner's Σ parts·losses, differentiated: `inputs` `[k·b, …]`, `parts` `[k, b]`, `weights` as in layers."""
        passed = self._pass(weights, inputs, targets, parts.flatten())

        def add(into: Tensor, scale: float) -> None:
            for kind, calls in zip(self.kinds, passed, strict=True):
                if calls:
                    kind.add(into, calls, scale)

        return add

    def rows(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Rows:
        """The gradients of single examples, formed when they are asked for."""
        ones = torch.ones(len(inputs), device=inputs.device)
        passed = [_together(calls) for calls in self._pass(weights, inputs, targets, ones)]

        def rows(places: Tensor) -> Tensor:
            into = torch.zeros(len(places), self.dim, device=inputs.device)
            for kind, calls in zip(self.kinds, passed, strict=True):
                if calls:
                    chosen = [
                        (values.index_select(0, places), errors.index_select(0, places)) for values, errors in calls
                    ]
                    kind.add(into, chosen, 1.0)
            return into

        return rows

    def _pass(
        self, weights: Tensor, inputs: Tensor, targets: Tensor, parts: Tensor
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """What passed each layer, forward and backward."""
        at_work = _AtWork(weights, len(inputs), [[] for _ in self.kinds])
        with torch.enable_grad(), self._replaced(at_work):
            losses = per_example(self.loss, self.module(inputs), targets)
            # Not grad(losses, …, parts): torch loads a symbolic algebra to look at the shape of `parts`.
            torch.autograd.grad((losses * parts).sum(), at_work.anchor, allow_unused=True)
        return at_work.passed

    @contextmanager
    def _replaced(self, at_work: _AtWork) -> Iterator[None]:
        """The layers work for a group, for as long as it lasts."""
        layers = [kind.layer for kind in self.kinds]
        try:
            for place, layer in enumerate(layers):
                vars(layer)["forward"] = partial(_call, self.kinds[place], place, at_work)
            yield
        finally:
            for layer in layers:
                vars(layer).pop("forward", None)


@dataclass(frozen=True, slots=True)
class _AtWork:
    """One pass: the weights, the number of examples, and what passed each layer so far."""

    weights: Tensor
    rows: int
    passed: list[list[tuple[Tensor, Tensor]]]
    anchor: Tensor = field(init=False)  # a number of no meaning that makes the first layers part of the backward pass

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchor", torch.zeros((), device=self.weights.device, requires_grad=True))


def _call(kind: Kind, place: int, at_work: _AtWork, values: Tensor) -> Tensor:
    if values.dim() == 0 or len(values) != at_work.rows:
        raise StrayError(
            f"{type(kind.layer).__name__} takes {list(values.shape)} for {at_work.rows} examples, which must come first"
        )
    through: Callable[..., Tensor] = _Through.apply  # untyped in torch
    return through(kind.prepared(values), at_work.anchor, kind, place, at_work)


class _Through(torch.autograd.Function):
    """A layer that keeps what passes it instead of differentiating by its weights."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, anchor: Tensor, kind: Kind, place: int, at_work: _AtWork) -> Tensor:
        ctx.save_for_backward(values)
        ctx.of = (kind, place, at_work)
        return kind.forward(at_work.weights, values)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        kind, place, at_work = ctx.of
        (values,) = ctx.saved_tensors
        at_work.passed[place].append((values.detach(), errors))
        back = kind.backward(at_work.weights, values, errors) if ctx.needs_input_grad[0] else None
        return back, None, None, None, None


def layered_of(learner: Learner) -> Layered | str:
    """The module of `learner` by its layers, or why that does not do."""
    module, trainable = learner.module, learner.trainable
    places = _places(module, trainable)
    kinds: list[Kind] = []
    for name, layer in module.named_modules():
        own = {key: places.get(id(p)) for key, p in layer.named_parameters(recurse=False)}
        if not any(place is not None for place in own.values()):
            continue
        where = f"{name or 'the model'} ({type(layer).__name__})"
        kind = KINDS.get(type(layer))
        if kind is None or set(own) - {"weight", "bias"}:
            return f"{where} holds what trains and is neither Linear, Embedding nor LayerNorm"
        if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse):
            return f"{where} has max_norm, scale_grad_by_freq or sparse set"
        kinds.append(kind(layer, own.get("weight"), own.get("bias")))  # type: ignore[arg-type]  # the kind of its layer
    return Layered(module, learner.loss, tuple(kinds), trainable.dim)


def shared(module: nn.Module, trainable: Trainable) -> bool:
    """Whether something that trains stands in the module under two names."""
    names = [id(p) for _, p in module.named_parameters(remove_duplicate=False)]
    return any(names.count(place) > 1 for place in _places(module, trainable))


def _places(module: nn.Module, trainable: Trainable) -> dict[int, slice]:
    """Where the trained parameters stand in the vector, by identity."""
    return {id(module.get_parameter(slot.name)): slice(slot.start, slot.stop) for slot in trainable.layout}


def _together(calls: Calls) -> list[tuple[Tensor, Tensor]]:
    """Calls of the same shapes as one, with a dimension more after the first: the sums over them are the same."""
    if len({(a.shape, b.shape) for a, b in calls}) <= 1 < len(calls):
        return [(torch.stack([a for a, _ in calls], dim=1), torch.stack([b for _, b in calls], dim=1))]
    return list(calls)
