"""Pool: maxima and where they stood are torch's, to the bit, with a compiled loop and without."""

from __future__ import annotations

import math

import pytest
import torch
from tacit.privacy import compiled
from tacit.simulation.engines.pool import Pool
from torch import Tensor, nn

VALUES = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.5, math.inf, -math.inf, math.nan])


def made_up(*shape: int) -> Tensor:
    """Images channels last, with ties, zeros of both signs, infinities and NaN in them."""
    generator = torch.Generator().manual_seed(3)
    places = torch.randint(0, len(VALUES), shape, generator=generator)
    return VALUES[places].contiguous(memory_format=torch.channels_last)


def both_ways(pool: Pool, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient at the input, and the gradient at the output that it is of."""
    outputs, trace = pool.forward(x)
    errors = torch.arange(1.0, outputs.numel() + 1).view(outputs.shape)
    return outputs, pool.backward(errors, trace), errors


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("shape", [(2, 1, 2, 2), (3, 5, 6, 4), (2, 32, 28, 28)])
def test_windows_of_two_by_two(shape: tuple[int, ...], loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if loops:
        assert compiled.loops() is not None
    else:
        monkeypatch.setattr(compiled, "loops", lambda: None)
    images, layer = made_up(*shape), nn.MaxPool2d(2)
    leaf = images.clone().requires_grad_()
    expected = layer(leaf)
    outputs, gradient, errors = both_ways(Pool(layer), images)
    (asked,) = torch.autograd.grad(expected, leaf, errors)
    assert torch.equal(outputs.view(torch.int32), expected.detach().view(torch.int32))
    assert torch.equal(gradient, asked)
    assert outputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d((2, 3)),
        nn.AvgPool2d(2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("size", [6, 7])
def test_other_windows(layer: nn.Module, size: int) -> None:
    assert compiled.loops() is not None
    images = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    leaf = images.clone().requires_grad_()
    outputs, gradient, errors = both_ways(Pool(layer), images)
    expected = layer(leaf)
    (asked,) = torch.autograd.grad(expected, leaf, errors)
    assert torch.equal(outputs, expected)
    assert torch.equal(gradient, asked)


def test_images_that_are_not_channels_last() -> None:
    assert compiled.loops() is not None
    images, layer = made_up(2, 3, 4, 4).contiguous(), nn.MaxPool2d(2)
    leaf = images.clone().requires_grad_()
    outputs, gradient, errors = both_ways(Pool(layer), images)
    expected = layer(leaf)
    (asked,) = torch.autograd.grad(expected, leaf, errors)
    assert torch.equal(outputs.view(torch.int32), expected.detach().view(torch.int32))
    assert torch.equal(gradient, asked)
