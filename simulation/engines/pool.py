"""Pool: maxima or means over windows of an image, and where the gradient goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...privacy.compiled import loops, loops_for

_ops = torch.ops.aten

# What went in, and where the maxima stood: which of four, as uint8, or torch's places.
Trace: TypeAlias = tuple[Tensor, Tensor | None]


@dataclass(frozen=True, slots=True)
class Pool:
    """`[n, C, H, W] -> [n, C, H', W']`: `MaxPool2d` or `AvgPool2d`."""

    layer: nn.MaxPool2d | nn.AvgPool2d

    def forward(self, x: Tensor) -> tuple[Tensor, Trace]:
        """The output, and what its gradient needs."""
        layer = self.layer
        if isinstance(layer, nn.AvgPool2d):
            return layer(x), (x, None)
        found = loops_for(x.numel()) if self._halves(x) else None
        if found is not None:
            n, channels, height, width = x.shape
            best = torch.empty(n, height // 2, width // 2, channels)
            which = torch.empty(best.shape, dtype=torch.uint8)
            found.halved(x.permute(0, 2, 3, 1).numpy(), best.numpy(), which.numpy())
            return best.permute(0, 3, 1, 2), (x, which)
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
        found = loops() if places is not None and places.dtype == torch.uint8 else None
        if found is not None and places is not None:
            made = torch.empty(x.shape, memory_format=torch.channels_last)
            own = errors.permute(0, 2, 3, 1).contiguous()
            found.doubled(own.numpy(), places.numpy(), made.permute(0, 2, 3, 1).numpy())
            return made
        spread: Tensor = _ops.max_pool2d_with_indices_backward(
            errors, x, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation),
            layer.ceil_mode, places,
        )  # fmt: skip
        return spread

    def _halves(self, x: Tensor) -> bool:
        """Whether these are maxima of two by two that a compiled loop takes: on a processor, channels last."""
        layer = self.layer
        kinds = (layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", None))
        usual = [_pair(kind) for kind in kinds] == [[2, 2], [2, 2], [0, 0], [1, 1]] and all(
            n % 2 == 0 for n in x.shape[2:]
        )
        fits = x.device.type == "cpu" and x.dtype == torch.float32
        return usual and fits and x.is_contiguous(memory_format=torch.channels_last)


def _pair(value: int | tuple[int, ...] | None) -> list[int]:
    if value is None:
        return []
    return [value, value] if isinstance(value, int) else list(value)
