"""Fitness: whether a module can be run for many owners at once, and by which route, or the reason why not.

Layers are looked at by kind first. Then the module is tried on made-up examples at slightly moved weights: mapped over single
examples by `torch.func.vmap`, which refuses whatever looks at the numbers that pass, and by the route itself, whose
gradients must be those that autograd finds for each example alone. `training` gives shapes and kinds only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...privacy.entropy import SeededEntropy
from ...privacy.local import LocalError, check_module
from ...strategies.learner import Learner, per_example
from ...strategies.local import streams_of
from ...tasks.examples import Examples
from .chain import hooked
from .functional import Functional, mappable
from .fused import stays_fused
from .layered import Layered, layered_of

Route: TypeAlias = Layered | Functional
Kinds: TypeAlias = tuple[tuple[torch.Size, torch.dtype], ...]

_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, UserWarning)
_DRAWS = (nn.modules.dropout._DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
_CLOSE = 1e-4  # of the length of a gradient
_fits: WeakKeyDictionary[Learner, dict[Kinds, Fit | str]] = WeakKeyDictionary()
_clippings: WeakKeyDictionary[Learner, dict[Kinds, str | None]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Fit:
    """The way to run a module for a group, and how many numbers one example leaves for the backward pass."""

    route: Route
    kept: int


def fit_of(learner: Learner, training: Examples) -> Fit | str:
    """How the module of `learner` runs for a group, or in a line why it cannot; tried once for each learner."""
    fault = _fault(learner.module)
    if fault:
        return fault
    found, kinds = _fits.setdefault(learner, {}), _kinds(training)
    if kinds not in found:
        with learner.turn(streams_of(SeededEntropy(0), 0, 0)):
            found[kinds] = _fit(learner, training)
    return found[kinds]


def unclippable(learner: Learner, training: Examples) -> str | None:
    """Why an owner alone would refuse to clip this module's examples, and so a group has to; None where it would not."""
    found, kinds = _clippings.setdefault(learner, {}), _kinds(training)
    if kinds not in found:
        parameters = learner.trainable.parameters(learner.module)
        with learner.turn(streams_of(SeededEntropy(0), 0, 0)):
            inputs, targets = _made_up(training, 2, learner.device, torch.Generator().manual_seed(0))
            try:
                check_module(learner.module, parameters, learner.loss, inputs, targets)
                found[kinds] = None
            except LocalError as error:
                found[kinds] = _line(error)
    return found[kinds]


def _kinds(training: Examples) -> Kinds:
    """What a verdict depends on: shape and type of an input and of a target."""
    return tuple((each.shape[1:], each.dtype) for each in (training.inputs, training.targets))


def _fault(module: nn.Module) -> str:
    """The first layer that is unfit by its kind."""
    for name, layer in module.named_modules():
        where = f"{name or 'the model'} ({type(layer).__name__})"
        found = hooked(layer)
        if found:
            return f"{where} {found}"
        fused = stays_fused(layer)
        if fused is not None:
            return f"{where} {fused}"
        if isinstance(layer, _DRAWS) and getattr(layer, "p", 1) != 0:
            return f"{where} draws random numbers"
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and (
            layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse
        ):
            return f"{where} has max_norm, scale_grad_by_freq or sparse set"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return f"{where} mixes the examples of a batch"
        strange = next((p.dtype for p in layer.parameters(recurse=False) if p.dtype != torch.float32), None)
        if strange is not None:
            return f"{where} is {strange}"
    return ""


def _fit(learner: Learner, training: Examples) -> Fit | str:
    generator = torch.Generator().manual_seed(0)
    for count in (2, 3):
        reason = _strays(learner, *_made_up(training, count, learner.device, generator))
        if reason:
            return reason
    start = learner.weights()
    weights = torch.stack([start + 0.1 * torch.rand(len(start), generator=generator) for _ in range(2)])
    try:
        trial = _Trial(learner, weights.to(learner.device), *_made_up(training, 6, learner.device, generator))
    except _ERRORS as error:
        return f"its gradient could not be tried ({_line(error)})"
    fault = ""
    for route in routes_of(learner):
        fault = trial.fault(route)
        if not fault:
            return Fit(route, trial.kept)
    return fault


def routes_of(learner: Learner) -> list[Route]:
    """The ways that there might be, the faster first."""
    layered = layered_of(learner)
    functional = Functional(learner.module, learner.loss, learner.trainable.layout)
    return [functional] if layered is None else [layered, functional]


def _strays(learner: Learner, inputs: Tensor, targets: Tensor) -> str | None:
    """What keeps examples from being told apart; leaves the weights alone."""

    def losses(some: Tensor, wanted: Tensor) -> Tensor:
        return per_example(learner.loss, learner.module(some), wanted)

    kept, before = inputs.clone(), torch.get_rng_state()
    buffers = [(name, buffer, buffer.clone()) for name, buffer in learner.module.named_buffers()]
    with torch.no_grad():
        try:
            together, again = losses(inputs, targets), losses(inputs, targets)
            alone = torch.cat([losses(inputs[i : i + 1], targets[i : i + 1]) for i in range(len(inputs))])
        except _ERRORS as error:
            return f"it could not be tried ({_line(error)})"
        if not torch.equal(before, torch.get_rng_state()):
            return "it draws random numbers"
        if not torch.equal(inputs, kept):
            return "it overwrites its input"
        changed = next((name for name, buffer, value in buffers if not torch.equal(buffer, value)), None)
        if changed is not None:
            return f"it remembers what it has seen, in {changed}"
        if not torch.allclose(together, again, rtol=1e-5, atol=1e-6):
            return "it remembers what it has seen"
        if not torch.allclose(together, alone, rtol=1e-4, atol=1e-6):
            return "it mixes the examples of a batch"
        try:
            with mappable(learner.module), _unslowed():
                mapped = torch.func.vmap(lambda one, wanted: losses(one[None], wanted[None])[0])(inputs, targets)
        except _ERRORS as error:
            return f"it cannot be mapped over examples ({_line(error)})"
    return None if torch.allclose(mapped, alone, rtol=1e-4, atol=1e-6) else "mapped over examples it computes otherwise"


class _Trial:
    """Two owners with weights of their own and three examples each, and the gradients that autograd finds for them."""

    __slots__ = ("alone", "inputs", "kept", "parts", "shared", "targets", "weights")

    def __init__(self, learner: Learner, weights: Tensor, inputs: Tensor, targets: Tensor) -> None:
        def gradients(vector: Tensor, first: int, last: int) -> Tensor:
            singles = [Examples(inputs[i : i + 1], targets[i : i + 1]) for i in range(first, last)]
            return torch.stack([learner.gradient(vector, single) for single in singles])

        half = len(inputs) // 2
        with _counted(learner) as kept:
            gradients(weights[0], 0, 1)
        self.kept = sum(kept.values())
        self.weights, self.inputs, self.targets = weights, inputs, targets
        self.parts = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], device=inputs.device)
        of_first = gradients(weights[0], 0, half)
        self.shared = torch.cat([of_first, gradients(weights[0], half, 2 * half)])
        self.alone = torch.cat([of_first, gradients(weights[1], half, 2 * half)])

    def fault(self, route: Route) -> str:
        """What `route` cannot do, or does otherwise; empty where there is nothing."""
        places = torch.arange(len(self.inputs), device=self.inputs.device)
        for weights, expected in ((self.weights[0], self.shared), (self.weights, self.alone)):
            sums = torch.einsum("kb,kbd->kd", self.parts, expected.view(*self.parts.shape, -1))
            means = torch.zeros_like(sums)
            try:
                with _unslowed():
                    route.means(weights, self.inputs, self.targets, self.parts)(means, 1.0)
                    rows = route.rows(weights, self.inputs, self.targets)(places)
            except _ERRORS as error:
                return f"it cannot be run for several owners at once ({_line(error)})"
            for found, wanted in ((means, sums), (rows, expected)):
                if bool(((found - wanted).norm(dim=1) > _CLOSE * wanted.norm(dim=1) + 1e-6).any()):
                    return "run for several owners at once it has other gradients"
        return ""


@contextmanager
def _unslowed() -> Iterator[None]:
    """An operation that would be mapped by a loop over the owners is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="There is a performance drop", category=UserWarning)
        yield


@contextmanager
def _counted(learner: Learner) -> Iterator[dict[int, int]]:
    """The numbers in every tensor that is kept for a backward pass, by its place in memory; weights aside."""
    weights = {parameter.data_ptr() for parameter in learner.module.parameters()}
    found: dict[int, int] = {}
    held: list[Tensor] = []  # so that no place is used twice

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def _made_up(examples: Examples, count: int, device: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets of no meaning: numbers in [0, 1), or the symbols 0 and 1."""

    def like(tensor: Tensor) -> Tensor:
        shape = (count, *tensor.shape[1:])
        drawn = torch.rand if tensor.is_floating_point() else partial(torch.randint, 0, 2)
        return drawn(shape, generator=generator).to(device, tensor.dtype)

    return like(examples.inputs), like(examples.targets)


def _line(error: Exception) -> str:
    """The first sentence of an error."""
    return (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")[:160]
