"""Trainable: the seam between a module and the flat vector that trains, travels and is paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from fnmatch import fnmatchcase
from math import prod

import torch
from torch import Tensor, nn

# Their values are float32 values, so the vector holds them exactly; a float64 parameter would be rounded on its way.
_HELD = (torch.float32, torch.float16, torch.bfloat16)


class TrainableError(ValueError):
    """Parameters that cannot be trained as one vector, or a vector that is not of this layout."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter's place in the vector: entries `start` to `stop`, of `shape`, in row-major order."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Trainable:
    """The trained parameters of `module` as one float32 vector `[dim]`, in the module's own order of registration.

    `patterns` are shell patterns of parameter names (`head.*`, `*.bias`); None takes all. Parameters with
    `requires_grad=False` are left out, one shared under several names is in once (any of its names may match), and
    buffers, such as BatchNorm's running statistics, never are: see `batch_norm_layers`. The layout is a plain value that
    does not hold on to the module; it fits every module of the same architecture.
    """

    module: InitVar[nn.Module]
    patterns: tuple[str, ...] | None = None
    layout: tuple[Slot, ...] = field(init=False)

    def __post_init__(self, module: nn.Module) -> None:
        names = _names(module)
        for pattern in self.patterns or ():
            if not any(fnmatchcase(alias, pattern) for aliases in names.values() for alias in aliases):
                raise TrainableError(f"pattern {pattern!r} matches no parameter; the model has {_shown(list(names))}")
        slots: list[Slot] = []
        for name, aliases in names.items():
            parameter = module.get_parameter(name)
            wanted = self.patterns is None or any(fnmatchcase(a, p) for a in aliases for p in self.patterns)
            if not wanted or not parameter.requires_grad:
                continue
            if parameter.dtype not in _HELD:
                raise TrainableError(
                    f"parameter {name} is {parameter.dtype}; the trained vector is float32: call .float() on the model"
                )
            start = slots[-1].stop if slots else 0
            slots.append(Slot(name, tuple(parameter.shape), start, start + prod(parameter.shape)))
        if not slots:
            raise TrainableError("nothing is trained: every parameter chosen has requires_grad=False; unfreeze one")
        object.__setattr__(self, "layout", tuple(slots))

    @property
    def dim(self) -> int:
        """d, the length of the vector."""
        return self.layout[-1].stop

    def parameters(self, module: nn.Module) -> list[nn.Parameter]:
        """The trained parameters themselves, in the order of the vector."""
        return [self._parameter(module, slot) for slot in self.layout]

    def flatten(self, module: nn.Module) -> Tensor:
        """The trained parameters of `module`, float32 `[dim]`, a copy on the module's device."""
        return torch.cat([p.detach().reshape(-1).to(torch.float32) for p in self.parameters(module)])

    def gradient(self, module: nn.Module) -> Tensor:
        """The gradients that a backward pass left in `module`, float32 `[dim]`; zero where it left none."""
        return torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).detach().reshape(-1).to(torch.float32)
                for p in self.parameters(module)
            ]
        )

    def unflatten_into(self, module: nn.Module, vector: Tensor) -> None:
        """Write `vector` `[dim]` into the trained parameters of `module`; nothing else in it changes."""
        parts = self.unflatten(vector)
        parameters = self.parameters(module)  # all of them found before the first is written
        with torch.no_grad():
            for slot, parameter in zip(self.layout, parameters, strict=True):
                parameter.copy_(parts[slot.name])

    def unflatten(self, vector: Tensor) -> Mapping[str, Tensor]:
        """Views of `vector` `[dim]` by parameter name, as `torch.func.functional_call` takes them."""
        if vector.shape != (self.dim,) or not vector.is_floating_point():
            raise TrainableError(
                f"the vector is {vector.dtype} {list(vector.shape)}, the trained parameters are {self.dim} real "
                "numbers; was it made for another model, or for another choice of parameters?"
            )
        return {slot.name: vector[slot.start : slot.stop].view(slot.shape) for slot in self.layout}

    def freeze_rest(self, module: nn.Module) -> None:
        """Set `requires_grad=False` on every parameter that does not train, so that no step or clip touches it."""
        trained = set(map(id, self.parameters(module)))
        for parameter in module.parameters():
            if id(parameter) not in trained:
                parameter.requires_grad_(False)

    def _parameter(self, module: nn.Module, slot: Slot) -> nn.Parameter:
        try:
            parameter = module.get_parameter(slot.name)
        except AttributeError as error:
            raise TrainableError(f"the model has no parameter {slot.name}; it is not the one laid out here") from error
        if tuple(parameter.shape) != slot.shape:
            raise TrainableError(
                f"parameter {slot.name} has shape {list(parameter.shape)}, laid out as {list(slot.shape)}; "
                "it is not the same model"
            )
        return parameter


def batch_norm_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the layers that normalise over the batch or carry running statistics: refuse them with example-level DP.

    They mix the examples of a batch, and what they remember is in no vector: neither clipped, noised nor averaged.
    """
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return tuple(
        name
        for name, layer in module.named_modules()
        if isinstance(layer, kinds) or getattr(layer, "running_mean", None) is not None
    )


def _names(module: nn.Module) -> dict[str, list[str]]:
    """Every distinct parameter's first name, and all its names, in order of registration."""
    first: dict[int, str] = {}
    names: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(first.setdefault(id(parameter), name), []).append(name)
    return names


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
