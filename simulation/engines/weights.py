"""Weights: what a sweep multiplies by: one model that all owners share, or one of each owner's own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .affine import Affine
from .precision import FULL, Precision, batched, linear
from .sweep import Swept


@dataclass(frozen=True, slots=True)
class Shared:
    """The same weights `vector` `[d]` for all: one matrix product serves every owner."""

    affines: tuple[Affine, ...]
    vector: Tensor
    precision: Precision = FULL

    def forward(self, place: int, values: Tensor) -> Tensor:
        return linear(values, self.affines[place].weight(self.vector), None, self.precision)

    def bias(self, place: int) -> Tensor | None:
        return self.affines[place].bias(self.vector)

    def backward(self, place: int, errors: Tensor) -> Tensor:
        return linear(errors, self.affines[place].weight(self.vector).t(), None, self.precision)


@dataclass(frozen=True, slots=True)
class Own:
    """Weights `vectors` `[k, d]`, a row for each owner: one batched product, a small one for every owner."""

    affines: tuple[Affine, ...]
    vectors: Tensor
    precision: Precision = FULL

    def forward(self, place: int, values: Tensor) -> Tensor:
        link = self.affines[place]
        if link.weight_at is None:
            return linear(values, link.weight(self.vectors[0]), None, self.precision)
        return batched(values, matrices(self.vectors, link).transpose(1, 2), self.precision)

    def bias(self, place: int) -> Tensor | None:
        link = self.affines[place]
        return self.vectors[:, None, link.bias_at] if link.bias_at is not None else link.bias(self.vectors[0])

    def backward(self, place: int, errors: Tensor) -> Tensor:
        link = self.affines[place]
        if link.weight_at is None:
            return linear(errors, link.weight(self.vectors[0]).t(), None, self.precision)
        return batched(errors, matrices(self.vectors, link), self.precision)


def matrices(vectors: Tensor, link: Affine) -> Tensor:
    """The weights of a Linear layer in `[k, d]`, as views `[k, out, in]`."""
    return vectors[:, link.weight_at].view(len(vectors), link.layer.out_features, link.layer.in_features)


def add_gradients(affines: tuple[Affine, ...], swept: Swept, into: Tensor, scale: float) -> None:
    """Add scale·(gradient of the loss) to `into` `[k, d]`."""
    for link, inputs, errors in zip(affines, swept.inputs, swept.errors, strict=True):
        if errors is None:
            continue
        if link.weight_at is not None:
            matrices(into, link).baddbmm_(errors.transpose(1, 2), inputs, alpha=scale)
        if link.bias_at is not None:
            into[:, link.bias_at].add_(errors.sum(dim=1), alpha=scale)
