"""Layers: what Linear, Embedding and LayerNorm do for a group of owners, each with weights of its own, rows of all together.

Values carry the examples of k owners in their first dimension, owner after owner, so a model that looks at every example by
itself computes them as if they were one batch; only what multiplies by weights has to know whose row is whose. `weights` is
`[d]`, where all owners have the same, or `[k, d]`. What passes a layer is kept and multiplied once, after the backward pass:
a cell that runs 32 times over a text forms its gradient in one product and not in 32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fused import RECURRENT, pooled

# Of one layer in one pass: what came in, and the errors at its output.
Calls: TypeAlias = Sequence[tuple[Tensor, Tensor]]


class Kind(Protocol):
    """What multiplies by weights; `rows` is the number of examples of all owners together. Compared by identity."""

    def prepared(self, values: Tensor) -> Tensor:
        """What is done to the input before any weight; autograd sees it."""
        ...

    def finished(self, outputs: Tensor) -> Tensor:
        """What is done after them; autograd sees it, too."""
        ...

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        """The layer's output, `[rows, …] -> [rows, …]`."""
        ...

    def backward(self, weights: Tensor, values: Tensor, errors: Tensor) -> Tensor:
        """The errors at the layer's input."""
        ...

    def add(self, into: Tensor, calls: Calls, scale: float) -> None:
        """Add scale·(the gradient of every owner) to `into` `[k, d]`; k = rows for the gradient of every example."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """`nn.Linear`, or one product of a recurrent layer: y = xWᵀ + b. What has no place in the vector does not train."""

    weight: Tensor
    bias: Tensor | None
    weight_at: slice | None
    bias_at: slice | None

    def prepared(self, values: Tensor) -> Tensor:
        return values

    def finished(self, outputs: Tensor) -> Tensor:
        return outputs

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        weight = self._weight(weights)
        bias = self.bias if self.bias_at is None else weights[..., self.bias_at]
        if weights.dim() == 1 or (weight.dim() == 2 and self.bias_at is None):
            return F.linear(values, weight, bias)
        rows = _parted(values, len(weights))
        if weight.dim() == 2:
            outputs = F.linear(rows, weight)
            outputs = outputs if bias is None else outputs + bias[:, None]
        elif bias is None:
            outputs = torch.bmm(rows, weight.transpose(1, 2))
        else:
            outputs = torch.baddbmm(bias[:, None] if bias.dim() == 2 else bias, rows, weight.transpose(1, 2))
        return outputs.view(*values.shape[:-1], len(self.weight))

    def backward(self, weights: Tensor, values: Tensor, errors: Tensor) -> Tensor:
        weight = self._weight(weights)
        if weight.dim() == 2:
            return errors @ weight
        return torch.bmm(_parted(errors, len(weights)), weight).view(values.shape)

    def add(self, into: Tensor, calls: Calls, scale: float) -> None:
        errors = _joined([errors for _, errors in calls], len(into))
        if self.weight_at is not None:
            inputs = _joined([values for values, _ in calls], len(into))
            _view(into, self.weight_at, self.weight).baddbmm_(errors.transpose(1, 2), inputs, alpha=scale)
        if self.bias_at is not None:
            into[:, self.bias_at].add_(errors.sum(dim=1), alpha=scale)

    def _weight(self, weights: Tensor) -> Tensor:
        if self.weight_at is None:
            return self.weight.detach()
        return _view(weights, self.weight_at, self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """`nn.Embedding`: y = W[x], x symbols `[rows, …]` int64; `nn.EmbeddingBag` then takes sum or mean over the positions."""

    layer: nn.Embedding | nn.EmbeddingBag
    weight_at: slice

    def prepared(self, values: Tensor) -> Tensor:
        return values

    def finished(self, outputs: Tensor) -> Tensor:
        return pooled(self.layer, outputs) if isinstance(self.layer, nn.EmbeddingBag) else outputs

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        weight = _view(weights, self.weight_at, self.layer.weight)
        if weights.dim() == 1:
            return F.embedding(values, weight)
        return weight[_whose(values, len(weights)), values]

    def backward(self, weights: Tensor, values: Tensor, errors: Tensor) -> Tensor:
        return torch.zeros_like(errors)  # never asked: symbols have no errors

    def add(self, into: Tensor, calls: Calls, scale: float) -> None:
        table = _view(into, self.weight_at, self.layer.weight)
        for values, errors in calls:
            if self.layer.padding_idx is not None:
                errors = errors.masked_fill((values == self.layer.padding_idx)[..., None], 0)
            table.index_put_((_whose(values, len(into)), values), errors * scale, accumulate=True)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """`nn.LayerNorm`: y = w ∘ x̂ + b, where x̂ is the input less its mean over its standard deviation."""

    layer: nn.LayerNorm
    weight_at: slice | None
    bias_at: slice | None

    def prepared(self, values: Tensor) -> Tensor:
        return F.layer_norm(values, self.layer.normalized_shape, eps=self.layer.eps)

    def finished(self, outputs: Tensor) -> Tensor:
        return outputs

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        weight = self._spread(weights, self.weight_at, self.layer.weight)
        bias = self._spread(weights, self.bias_at, self.layer.bias)
        rows = self._rows(values, weights)
        outputs = rows * weight if bias is None else torch.addcmul(bias, rows, weight)
        return outputs.view(values.shape)

    def backward(self, weights: Tensor, values: Tensor, errors: Tensor) -> Tensor:
        weight = self._spread(weights, self.weight_at, self.layer.weight)
        return (self._rows(errors, weights) * weight).view(values.shape)

    def add(self, into: Tensor, calls: Calls, scale: float) -> None:
        for values, errors in calls:
            rows = self._rows(errors, into)
            if self.weight_at is not None:
                into[:, self.weight_at].add_((self._rows(values, into) * rows).sum(dim=1), alpha=scale)
            if self.bias_at is not None:
                into[:, self.bias_at].add_(rows.sum(dim=1), alpha=scale)

    def _rows(self, values: Tensor, weights: Tensor) -> Tensor:
        """`[k·b, …, *normalized] -> [k, b·…, n]`; k = 1 for weights that all share."""
        return values.reshape(len(weights) if weights.dim() == 2 else 1, -1, self.layer.weight.numel())

    def _spread(self, weights: Tensor, place: slice | None, fixed: Tensor) -> Tensor:
        """A parameter as `[k or 1, 1, n]`."""
        if fixed is None or place is None:
            return fixed if fixed is None else fixed.detach().view(1, 1, -1)
        return weights[..., place].view(-1, 1, fixed.numel())


def kinds_of(layer: nn.Module, places: Mapping[str, slice]) -> dict[str, Kind] | None:
    """What `layer` multiplies by, under the names that `fused.unrolled` calls, or "" where there is one such thing; None
    for a layer of another type. `places` says where those of its parameters that train stand in the vector.
    """
    if isinstance(layer, nn.RNNBase) and type(layer) in RECURRENT:
        names = [key.removeprefix("weight_") for key in layer._parameters if key.startswith("weight_")]
        return {name: _product(layer, f"weight_{name}", f"bias_{name}", places) for name in names}
    if type(layer) is nn.Linear:
        return {"": _product(layer, "weight", "bias", places)}
    if type(layer) is nn.LayerNorm:
        return {"": Scale(layer, places.get("weight"), places.get("bias"))}
    if type(layer) is nn.Embedding or type(layer) is nn.EmbeddingBag:
        return {"": Lookup(layer, places["weight"])}
    return None


def _product(layer: nn.Module, weight: str, bias: str, places: Mapping[str, slice]) -> Product:
    return Product(layer.get_parameter(weight), layer._parameters.get(bias), places.get(weight), places.get(bias))


def _view(vectors: Tensor, place: slice, like: Tensor) -> Tensor:
    """A parameter in `[d]` or `[k, d]`, in its own shape."""
    return vectors[..., place].view(*vectors.shape[:-1], *like.shape)


def _parted(values: Tensor, owners: int) -> Tensor:
    """`[k·b, …, n] -> [k, b·…, n]`."""
    return values.reshape(owners, -1, values.shape[-1])


def _joined(values: Sequence[Tensor], owners: int) -> Tensor:
    """All calls' rows by owner, `[k, rows, n]`."""
    parted = [_parted(each, owners) for each in values]
    return parted[0] if len(parted) == 1 else torch.cat(parted, dim=1)


def _whose(symbols: Tensor, owners: int) -> Tensor:
    """The owner of every symbol in `[k·b, …]`, in a shape that goes with theirs."""
    each = torch.arange(owners, device=symbols.device).repeat_interleave(len(symbols) // owners)
    return each.view(-1, *(1 for _ in symbols.shape[1:]))
