"""Activations: elementwise functions and the derivative that autograd would take, by the very same kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...privacy.compiled import loops_for

Back: TypeAlias = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
_ops = torch.ops.aten
_SAVES = 2  # a loop saves a number of an activation a quarter of what it saves a draw of noise


@dataclass(frozen=True, slots=True)
class Activation:
    """y = f(x) in each coordinate; `backward(gradient, x, y)` is gradient ∘ f′(x)."""

    layer: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y

    def backward(self, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return ACTIVATIONS[type(self.layer)](self.layer, gradient, x, y)

    def forward_over(self, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What `backward` takes for x + bias, and y for it. Nobody else has x: both may stand in its place.

        `bias` goes with the last dimension of x, as `[n]` or, for x `[k, b, n]`, as `[k, 1, n]`.
        """
        if type(self.layer) is nn.ReLU:
            y = _rectified(x, bias)
            return y, y  # where y is positive x is
        x = x if bias is None else x.add_(bias)
        return x, self.forward(x)

    def backward_over(self, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """`backward` where nobody else has `gradient`: the result may stand in its place."""
        if type(self.layer) is nn.ReLU:
            _ops.threshold_backward.grad_input(gradient, y, 0, grad_input=gradient)
            return gradient
        return self.backward(gradient, x, y)


def _rectified(x: Tensor, bias: Tensor | None) -> Tensor:
    """max(x + bias, 0) in the place of x, in one pass where there is a loop for it."""
    if bias is None:
        return torch.relu_(x)
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and x.dim() == 3 and x.is_contiguous()
    found = loops_for(x.numel() >> _SAVES) if fits else None
    if found is None:
        return torch.relu_(x.add_(bias))
    found.rectified(x.numpy(), bias.reshape(-1, x.shape[2]).contiguous().numpy())
    return x


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
