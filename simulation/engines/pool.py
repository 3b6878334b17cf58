"""Pool: maxima or means over windows of an image, and where the gradient goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

_ops = torch.ops.aten

Trace: TypeAlias = tuple[Tensor, Tensor | None]  # what went in, and where the maxima stood


@dataclass(frozen=True, slots=True)
class Pool:
    """`[n, C, H, W] -> [n, C, H', W']`: `MaxPool2d` or `AvgPool2d`."""

    layer: nn.MaxPool2d | nn.AvgPool2d

    def forward(self, x: Tensor) -> tuple[Tensor, Trace]:
        """The output, and what its gradient needs."""
        layer = self.layer
        if isinstance(layer, nn.AvgPool2d):
            return layer(x), (x, None)
        outputs, places = _ops.max_pool2d_with_indices(
            x, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation), layer.ceil_mode
        )  # fmt: skip
        return outputs, (x, places)

    def backward(self, errors: Tensor, trace: Trace) -> Tensor:
        """The gradient at the input, from that at the output."""
        (x, places), layer = trace, self.layer
        if isinstance(layer, nn.AvgPool2d):
            mean: Tensor = _ops.avg_pool2d_backward(
                errors, x, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), layer.ceil_mode,
                layer.count_include_pad, layer.divisor_override,
            )  # fmt: skip
            return mean
        made: Tensor = _ops.max_pool2d_with_indices_backward(
            errors, x, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation),
            layer.ceil_mode, places,
        )  # fmt: skip
        return made


def _pair(value: int | tuple[int, ...] | None) -> list[int]:
    if value is None:
        return []
    return [value, value] if isinstance(value, int) else list(value)
