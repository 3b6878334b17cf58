"""Chain: a model read as Linear layers with elementwise functions between them, or the reason why it is none.

Reading is strict: exact types, no hooks, nothing shared, nothing that remembers. A model that only looks like a chain
would be trained wrongly without a sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...strategies.learner import Learner, Loss, per_example
from ...strategies.local import SolverError
from ...tasks.trainable import Trainable
from ..population import Population
from .activations import ACTIVATIONS, Activation


@dataclass(frozen=True, slots=True)
class Affine:
    """z = xWᵀ + b, `[n, inputs] -> [n, outputs]`. `weight_at`, `bias_at`: places in the vector, None for what is fixed."""

    layer: nn.Linear
    weight_at: slice | None
    bias_at: slice | None

    @property
    def trained(self) -> bool:
        """Whether any of it trains."""
        return self.weight_at is not None or self.bias_at is not None

    @property
    def numbers(self) -> int:
        """How many numbers of it train."""
        parts = (self.weight_at, self.bias_at)
        return sum(part.stop - part.start for part in parts if part is not None)

    def weight(self, vector: Tensor) -> Tensor:
        """W `[outputs, inputs]` where the trained numbers are `vector` `[d]`."""
        if self.weight_at is None:
            return self.layer.weight.detach()
        return vector[self.weight_at].view(self.layer.out_features, self.layer.in_features)

    def bias(self, vector: Tensor) -> Tensor | None:
        """b `[outputs]`, or None without one."""
        if self.bias_at is not None:
            return vector[self.bias_at]
        return None if self.layer.bias is None else self.layer.bias.detach()


Link: TypeAlias = Affine | Activation


@dataclass(frozen=True, slots=True)
class Chain:
    """Links from the flattened input `[n, inputs]` to the output; `dim` numbers train."""

    links: tuple[Link, ...]
    dim: int

    @property
    def affines(self) -> tuple[Affine, ...]:
        """The Linear layers, from the input."""
        return tuple(link for link in self.links if isinstance(link, Affine))

    @property
    def in_place(self) -> bool:
        """Whether an elementwise function overwrites what it reads, which example-level solvers refuse."""
        return any(getattr(link.layer, "inplace", False) for link in self.links)

    @property
    def widths(self) -> int:
        """What one example takes in all Linear layers' inputs and outputs together, in numbers."""
        return sum(link.layer.in_features + link.layer.out_features for link in self.affines)


def chain_of(module: nn.Module, trainable: Trainable) -> Chain | str:
    """The chain that `module` is, or why it is none."""
    layers = list(_layers(module))
    places = {slot.name: slice(slot.start, slot.stop) for slot in trainable.layout}
    links: list[Link] = []
    seen: set[int] = set()
    for name, layer in layers:
        where = f"{name or 'the model'} ({type(layer).__name__})"
        fault = _fault(layer)
        if fault:
            return f"{where} {fault}"
        if any(id(parameter) in seen for parameter in layer.parameters()):
            return f"{where} shares its parameters with another layer"
        seen.update(id(parameter) for parameter in layer.parameters())
        if type(layer) is nn.Linear:
            if layer.weight.dtype != torch.float32:
                return f"{where} is {layer.weight.dtype}"
            prefix = f"{name}." if name else ""
            links.append(Affine(layer, places.get(f"{prefix}weight"), places.get(f"{prefix}bias")))
        elif type(layer) in ACTIVATIONS:
            links.append(Activation(layer))
        elif type(layer) is not nn.Flatten:
            return f"{where} is neither Linear nor an elementwise function"
    found = Chain(tuple(links), trainable.dim)
    if sum(affine.numbers for affine in found.affines) != trainable.dim:
        return "not everything that trains belongs to a Linear layer"
    return found


def unfit(chain: Chain, learner: Learner, population: Population) -> str | None:
    """What keeps this task's data or loss from being computed for all owners at once; None where nothing does."""
    inputs = population.training.inputs
    flattens = any(type(layer) is nn.Flatten for _, layer in _layers(learner.module))
    if inputs.dtype != torch.float32 or inputs.dim() < 2:
        return f"the inputs are {inputs.dtype} {list(inputs.shape)}, not rows of real numbers"
    if inputs.dim() > 2 and not (flattens and type(next(_layers(learner.module))[1]) is nn.Flatten):
        return f"an input has {inputs.dim() - 1} dimensions and is not flattened first"
    if learner.device != "cpu":
        return f"the device is {learner.device}, and it computes on the CPU"
    if not chain.affines or chain.affines[0].layer.in_features != inputs[:1].numel():
        return "its first layer does not take the task's inputs"
    outputs = [link.layer.out_features for link in chain.affines][-1]
    return _mixing(learner.loss, outputs, population.training.targets[:3])


def _mixing(loss: Loss, outputs: int, targets: Tensor) -> str | None:
    """Whether one example's loss depends on others, or draws random numbers."""
    generator = torch.Generator().manual_seed(0)
    made_up = torch.randn(len(targets), outputs, generator=generator)
    before = torch.get_rng_state()
    try:
        together = per_example(loss, made_up, targets)
        alone = [per_example(loss, made_up[i : i + 1], targets[i : i + 1]) for i in range(len(targets))]
    except (RuntimeError, ValueError, TypeError, IndexError, SolverError) as error:
        return f"its loss could not be tried ({(str(error) or type(error).__name__).splitlines()[0]})"
    if not torch.equal(before, torch.get_rng_state()):
        torch.set_rng_state(before)
        return "its loss draws random numbers"
    if not torch.allclose(together, torch.cat(alone), rtol=1e-5, atol=1e-6):
        return "its loss mixes the examples of a batch"
    return None


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested Sequentials in the order of their use; anything else is a layer itself."""
    if type(module) is nn.Sequential and not _fault(module):
        for key, child in module._modules.items():  # named_children() leaves out a layer that stands there twice
            if child is None:
                continue
            yield from _layers(child, f"{name}.{key}" if name else key)
    else:
        yield name, module


def _fault(layer: nn.Module) -> str:
    """What makes a layer behave otherwise than its type does."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    shared = vars(torch.nn.modules.module)
    if any(getattr(layer, kind) for kind in kinds) or any(shared.get(f"_global{kind}") for kind in kinds):
        return "has hooks"
    own = list(layer.parameters(recurse=False))
    if any(getattr(p, "_backward_hooks", None) or getattr(p, "_post_accumulate_grad_hooks", None) for p in own):
        return "has hooks on its parameters"
    if "forward" in vars(layer) or "__call__" in vars(layer):
        return "has a forward of its own"
    if getattr(layer, "inplace", False) and type(layer) is not nn.ReLU:  # whose derivative is read off what it leaves
        return "works in place"
    if layer._buffers:
        return "holds buffers"
    if set(layer._parameters) - {"weight", "bias"}:
        return "holds parameters of its own"
    return ""
