"""Convolution: weights that stand in the order of patches are the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tacit.simulation.engines.chain import Chain
from tacit.simulation.engines.convolution import Convolution
from tacit.simulation.engines.formed import formed_of
from tacit.simulation.engines.front import Front
from torch import Tensor, nn

BATCH = 4


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("owners", [1, 3])
@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 5, (3, 2), padding=1), nn.Conv2d(1, 4, 5, stride=2, bias=False)], ids=repr
)
def test_weights_in_the_order_of_patches_give_the_same(layer: nn.Conv2d, owners: int) -> None:
    """Outputs, gradients at the input and gradients of the weights, for one owner and for several at once."""
    numbers = layer.weight.numel()
    bias = slice(numbers, numbers + layer.out_channels) if layer.bias is not None else None
    usual = Convolution(layer, slice(0, numbers), bias)
    other = replace(usual, channels_last=True)
    vectors = random(owners, usual.numbers, seed=1)
    turned = vectors.clone()
    turned[:, :numbers] = usual.as_in_patches(vectors[:, :numbers])
    assert torch.equal(usual.as_in_layer(turned[:, :numbers]), vectors[:, :numbers])
    assert not torch.equal(turned, vectors) or layer.in_channels == 1
    x = random(owners * BATCH, layer.in_channels, 9, 8, seed=2).contiguous(memory_format=torch.channels_last)
    x = x.view(owners, BATCH, *x.shape[1:])
    expected = usual.forward(vectors, x)
    torch.testing.assert_close(other.forward(turned, x), expected)
    errors = random(*expected.shape, seed=3)
    torch.testing.assert_close(other.backward(turned, errors, x), usual.backward(vectors, errors, x))
    into, beside = torch.ones(2, owners, usual.numbers)
    usual.add_gradients(errors, x, into, 0.3)
    other.add_gradients(errors, x, beside, 0.3)
    examples = torch.ones(2, owners, usual.numbers)
    for one, own in zip((usual, other), examples, strict=True):
        rows = one.gradients_of_examples(errors.flatten(0, 1), x.flatten(0, 1)).view(owners, BATCH, -1).sum(dim=1)
        for place, part in one.in_order(rows):
            own[:, place] += 0.3 * part
    torch.testing.assert_close(examples, torch.stack([into, beside]))
    beside[:, :numbers] = other.as_in_layer(beside[:, :numbers])
    torch.testing.assert_close(beside, into)


def test_numbers_are_cut_out_in_one_order_and_come_back_in_the_other() -> None:
    """With weights that do not train between those that do."""
    first, second, third = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 2), nn.Conv2d(2, 2, 3)
    layers = (
        Convolution(first, slice(5, 59), slice(59, 62)),
        Convolution(second, None, slice(0, 2)),
        Convolution(third, slice(70, 106), None),
    )
    formed, vector = formed_of(Chain((), 110, Front(layers)), rows=1), torch.arange(110.0)
    cut = formed.cut(vector)
    back = formed.as_in_layers(cut[None].clone())[0]
    assert torch.equal(back, torch.cat([vector[place] for place in formed.places]))
    assert not torch.equal(cut, back)
    weight = formed.front.convolutions[0]._weight(cut[None])[0]
    assert torch.equal(weight, vector[5:59].view(first.weight.shape))
    assert weight.is_contiguous(memory_format=torch.channels_last)
