"""Activations: elementwise functions and the derivative that autograd would take, by the very same kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

Back: TypeAlias = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
_ops = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Activation:
    """y = f(x) in each coordinate; `backward(gradient, x, y)` is gradient ∘ f′(x)."""

    layer: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return ACTIVATIONS[type(self.layer)](self.layer, gradient, x, y)


def _elu(layer: nn.Module, g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _ops.elu_backward(g, layer.alpha, 1.0, 1.0, False, x)  # type: ignore[no-any-return]  # of torch.ops


def _softplus(layer: nn.Module, g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _ops.softplus_backward(g, x, layer.beta, layer.threshold)  # type: ignore[no-any-return]  # of torch.ops


# A kind of layer is here only if it is elementwise, draws nothing, remembers nothing and has no parameters.
ACTIVATIONS: Mapping[type[nn.Module], Back] = {
    nn.Identity: lambda layer, g, x, y: g,
    nn.ReLU: lambda layer, g, x, y: _ops.threshold_backward(g, y, 0),
    nn.Tanh: lambda layer, g, x, y: _ops.tanh_backward(g, y),
    nn.Sigmoid: lambda layer, g, x, y: _ops.sigmoid_backward(g, y),
    nn.GELU: lambda layer, g, x, y: _ops.gelu_backward(g, x, approximate=layer.approximate),
    nn.SiLU: lambda layer, g, x, y: _ops.silu_backward(g, x),
    nn.ELU: _elu,
    nn.LeakyReLU: lambda layer, g, x, y: _ops.leaky_relu_backward(g, x, layer.negative_slope, False),
    nn.Softplus: _softplus,
}
