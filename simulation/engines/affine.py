"""Affine: a Linear layer and where its weights stand in the vector."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


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
