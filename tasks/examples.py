"""Examples: what one owner, or the public test set, holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Indices: TypeAlias = Tensor | NDArray[np.int64] | Sequence[int]

# A decided dtype for inputs and targets alike: real numbers, or class and symbol numbers.
_KINDS = (torch.float32, torch.int64)


class DataError(ValueError):
    """Data that cannot be learned from: names the file, the row and the column, and the remedy, never a value."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Examples:
    """N examples: `inputs` `[N, …]` and `targets` `[N, …]`, each float32 or int64; row i of both is one example.

    `groups` `[N]` int64, where there are any, names each example's natural owner (its topic, its hospital).
    A subset may be empty (an empty Poisson batch is one); what is loaded may not: see `validated`.
    """

    inputs: Tensor
    targets: Tensor
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        for name, tensor in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(tensor, Tensor) or tensor.dtype not in _KINDS:
                found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                raise DataError(f"{name} are {found}; give a float32 or int64 tensor, or use Examples.of to convert")
            if tensor.dim() == 0:
                raise DataError(f"{name} are a single number; give one row per example")
        if len(self.inputs) != len(self.targets):
            raise DataError(f"{len(self.inputs)} inputs but {len(self.targets)} targets; give one target per input")
        if self.groups is not None and (self.groups.dtype != torch.int64 or self.groups.shape != (len(self.inputs),)):
            raise DataError(
                f"groups are {self.groups.dtype} {tuple(self.groups.shape)}; "
                f"give one int64 per example, ({len(self.inputs)},)"
            )

    @classmethod
    def of(cls, inputs: ArrayLike | Tensor, targets: ArrayLike | Tensor, groups: ArrayLike | None = None) -> Examples:
        """Examples from arrays, tensors or lists: real numbers become float32, integers and booleans int64."""
        return cls(
            _tensor("inputs", inputs),
            _tensor("targets", targets),
            None if groups is None else _tensor("groups", groups),
        )

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __repr__(self) -> str:
        # Shapes only: examples may be private, and a repr ends in logs.
        return f"Examples(inputs={list(self.inputs.shape)}, targets={list(self.targets.shape)})"

    def subset(self, indices: Indices) -> Examples:
        """The examples at `indices`, in that order, a copy; an index may repeat."""
        # Copied, because a tensor must not share memory with a read-only array.
        chosen = indices if isinstance(indices, Tensor) else torch.from_numpy(np.array(indices, dtype=np.int64))
        chosen = chosen.to(self.inputs.device)
        return Examples(self.inputs[chosen], self.targets[chosen], None if self.groups is None else self.groups[chosen])

    def to(self, device: torch.device | str) -> Examples:
        """The same examples on `device`."""
        groups = None if self.groups is None else self.groups.to(device)
        return Examples(self.inputs.to(device), self.targets.to(device), groups)


def validated(examples: Examples, where: str) -> Examples:
    """`examples`, if there is at least one and every number is finite; else `DataError` naming `where` and the row."""
    if len(examples) == 0:
        raise DataError(f"{where}: no examples; give at least one")
    for name, tensor in (("inputs", examples.inputs), ("targets", examples.targets)):
        if tensor.dtype == torch.float32 and not bool(torch.isfinite(tensor).all()):
            place = torch.nonzero(~torch.isfinite(tensor))[0].tolist()
            column = f", column {place[1:]}" if len(place) > 1 else ""
            raise DataError(
                f"{where}: {name}, example {place[0]}{column} (counted from 0) is not a finite float32; "
                "remove the row or fill the gap with a value fixed beforehand"
            )
    return examples


def _tensor(name: str, values: ArrayLike | Tensor) -> Tensor:
    """`values` as float32 or int64; raises `DataError` for anything but numbers."""
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        array: NDArray[Any] = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise DataError(f"{name} hold {array.dtype}; give numbers (encode text and categories first)")
        if array.dtype.kind == "u":  # torch has no arithmetic on unsigned integers beyond 8 bits
            array = array.astype(np.int64)
        tensor = torch.from_numpy(np.array(array))  # copied: see `subset`
    if tensor.is_complex():
        raise DataError(f"{name} hold {tensor.dtype}; give real numbers")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)
