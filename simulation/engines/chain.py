"""Chain: a model read as Linear layers with elementwise functions between them, perhaps behind convolutions, or the reason
why it is none.

Reading is strict: exact types, no hooks, nothing shared, nothing that remembers. A model that only looks like a chain
would be trained wrongly without a sound.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...strategies.learner import Learner, Loss, per_example
from ...strategies.local import SolverError
from ...tasks.trainable import Trainable
from ..population import Population
from .activations import ACTIVATIONS, Activation
from .affine import Affine
from .convolution import Convolution
from .front import Front, Layer, Passage
from .pool import Pool

Link: TypeAlias = Affine | Activation
_IMAGES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True, slots=True)
class Chain:
    """Links from a row `[n, inputs]` to the output; `front` makes the rows where the inputs are images. `dim` numbers train."""

    links: tuple[Link, ...]
    dim: int
    front: Front

    @property
    def affines(self) -> tuple[Affine, ...]:
        """The Linear layers, from the input."""
        return tuple(link for link in self.links if isinstance(link, Affine))

    @property
    def in_place(self) -> bool:
        """Whether an elementwise function overwrites what it reads, which example-level solvers refuse."""
        return any(getattr(link.layer, "inplace", False) for link in (*self.front.layers, *self.links))

    @property
    def widths(self) -> int:
        """What one example takes in all Linear layers' inputs and outputs together, in numbers."""
        return sum(link.layer.in_features + link.layer.out_features for link in self.affines)


def chain_of(module: nn.Module, trainable: Trainable) -> Chain | str:
    """The chain that `module` is, or why it is none."""
    layers = list(_layers(module))
    places = {slot.name: slice(slot.start, slot.stop) for slot in trainable.layout}
    seen: set[int] = set()
    for name, layer in layers:
        where = f"{name or 'the model'} ({type(layer).__name__})"
        fault = _fault(layer)
        if fault:
            return f"{where} {fault}"
        if any(id(parameter) in seen for parameter in layer.parameters()):
            return f"{where} shares its parameters with another layer"
        seen.update(id(parameter) for parameter in layer.parameters())
        if any(parameter.dtype != torch.float32 for parameter in layer.parameters()):
            return f"{where} is {next(layer.parameters()).dtype}"
    images = any(type(layer) in _IMAGES for _, layer in layers)
    flat = next((at for at, (_, layer) in enumerate(layers) if type(layer) is nn.Flatten), -1) if images else -1
    front = _front(layers[: max(0, flat)], places)
    if isinstance(front, str):
        return front
    links: list[Link] = []
    for name, layer in layers[flat + 1 :]:
        if type(layer) is nn.Linear:
            links.append(Affine(layer, *_placed(name, places)))
        elif type(layer) in ACTIVATIONS:
            links.append(Activation(layer))
        elif type(layer) is not nn.Flatten:
            return f"{name or 'the model'} ({type(layer).__name__}) is neither Linear nor an elementwise function"
    found = Chain(tuple(links), trainable.dim, front)
    if front.numbers + sum(affine.numbers for affine in found.affines) != trainable.dim:
        return "not everything that trains belongs to a Linear layer or a convolution"
    return found


@functools.lru_cache(maxsize=4)
def known_chain(module: nn.Module, trainable: Trainable) -> Chain:
    """The chain of a module that was read before, and accepted: it is not read anew for every group."""
    found = chain_of(module, trainable)
    if isinstance(found, str):
        raise ValueError(f"this model is no chain: {found}; ask accepts() first")
    return found


def _front(layers: Sequence[tuple[str, nn.Module]], places: Mapping[str, slice]) -> Front | str:
    """The layers before an image becomes a row, or what keeps one of them from being there."""
    found: list[Layer] = []
    for name, layer in layers:
        where = f"{name or 'the model'} ({type(layer).__name__})"
        if type(layer) is nn.Conv2d:
            if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
                return f"{where} has groups, or pads otherwise than with a number of zeros"
            found.append(Convolution(layer, *_placed(name, places)))
        elif type(layer) is nn.MaxPool2d and not layer.return_indices:
            pool = Pool(layer)
            if found and isinstance(found[-1], Activation) and type(found[-1].layer) is nn.ReLU:
                found.insert(-1, pool)  # max(relu) = relu(max), with the same gradient, on a fraction of the numbers
            else:
                found.append(pool)
        elif type(layer) is nn.AvgPool2d:
            found.append(Pool(layer))
        elif type(layer) in ACTIVATIONS:
            found.append(Activation(layer))
        else:
            return f"{where} is neither a convolution nor an elementwise function"
    return Front(tuple(found))


def _placed(name: str, places: Mapping[str, slice]) -> tuple[slice | None, slice | None]:
    """Where a layer's weight and bias stand in the vector."""
    prefix = f"{name}." if name else ""
    return places.get(f"{prefix}weight"), places.get(f"{prefix}bias")


def entered(chain: Chain, passage: Passage, inputs: Tensor) -> Tensor:
    """The rows `[k, b, features]` that the first Linear layer reads of a group's inputs `[k, b, …]`."""
    return passage.forward(inputs) if chain.front.layers else inputs.flatten(2)


def unfit(chain: Chain, learner: Learner, population: Population) -> str | None:
    """What keeps this task's data or loss from being computed for all owners at once; None where nothing does."""
    inputs = population.training.inputs
    if inputs.dtype != torch.float32 or inputs.dim() < 2:
        return f"the inputs are {inputs.dtype} {list(inputs.shape)}, not rows of real numbers"
    first = next(_layers(learner.module))[1]
    if inputs.dim() > 2 and not (chain.front.layers or type(first) is nn.Flatten):
        return f"an input has {inputs.dim() - 1} dimensions and is not flattened first"
    if chain.front.layers and inputs.dim() != 4:
        return f"an input has {inputs.dim() - 1} dimensions, and an image has 3"
    if not chain.affines:
        return "it has no Linear layer"
    try:
        features = _features(chain, inputs)
    except RuntimeError as error:
        return f"its convolutions do not take the task's inputs ({str(error).splitlines()[0]})"
    if chain.affines[0].layer.in_features != features:
        return "its first layer does not take the task's inputs"
    outputs = [link.layer.out_features for link in chain.affines][-1]
    return _mixing(learner.loss, outputs, population.training.targets[:3])


def _features(chain: Chain, inputs: Tensor) -> int:
    """How many numbers the first Linear layer is given for one input."""
    weights = next(chain.affines[0].layer.parameters())
    values = torch.zeros((1, *inputs.shape[1:]), device=weights.device)
    with torch.no_grad():
        for layer in chain.front.layers:
            values = layer.layer(values)
    return values.numel()


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


def hooked(layer: nn.Module) -> str:
    """What else runs when a layer runs; empty where nothing does."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    shared = vars(torch.nn.modules.module)
    if any(getattr(layer, kind) for kind in kinds) or any(shared.get(f"_global{kind}") for kind in kinds):
        return "has hooks"
    own = list(layer.parameters(recurse=False))
    if any(getattr(p, "_backward_hooks", None) or getattr(p, "_post_accumulate_grad_hooks", None) for p in own):
        return "has hooks on its parameters"
    if "forward" in vars(layer) or "__call__" in vars(layer):
        return "has a forward of its own"
    return ""


def _fault(layer: nn.Module) -> str:
    """What makes a layer behave otherwise than its type does."""
    found = hooked(layer)
    if found:
        return found
    if getattr(layer, "inplace", False) and type(layer) is not nn.ReLU:  # whose derivative is read off what it leaves
        return "works in place"
    if layer._buffers:
        return "holds buffers"
    if set(layer._parameters) - {"weight", "bias"}:
        return "holds parameters of its own"
    return ""
