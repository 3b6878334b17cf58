"""Activations: written over what went in, they are what torch makes of it, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from tacit.privacy import compiled
from tacit.simulation.engines import activations
from tacit.simulation.engines.activations import ACTIVATIONS, Activation
from tacit.simulation.engines.affine import Affine
from tacit.simulation.engines.chain import Chain
from tacit.simulation.engines.front import Front
from tacit.simulation.engines.sweep import sweep
from tacit.simulation.engines.weights import Shared
from torch import Tensor, nn

K, B, N = 3, 5, 33
SPECIAL = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan")])


@pytest.fixture(params=["compiled", "torch"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled":
        assert compiled.loops() is not None
    monkeypatch.setattr(activations, "loops_for", lambda n: compiled.loops() if request.param == "compiled" else None)


def values(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("shape", [None, (N,), (K, 1, N)])
def test_over_its_input_it_is_what_torch_makes_of_it(kind: type[nn.Module], shape: tuple[int, ...] | None) -> None:
    x, gradient = values((K, B, N), 1), values((K, B, N), 2)
    bias = None if shape is None else values(shape, 3)
    leaf = (x.clone() if bias is None else x + bias).requires_grad_()
    expected = kind()(leaf)
    (asked,) = torch.autograd.grad(expected, leaf, gradient)
    link = Activation(kind())
    before, found = link.forward_over(x.clone(), bias)
    assert torch.equal(found, expected)
    assert torch.equal(link.backward_over(gradient.clone(), before, found), asked)


@pytest.mark.usefixtures("either_way")
def test_what_is_not_finite_stays_so() -> None:
    x = SPECIAL.repeat(2, 1, 1)
    _, found = Activation(nn.ReLU()).forward_over(x.clone(), torch.zeros(len(SPECIAL)))
    assert torch.equal(found.nan_to_num(7.0), torch.relu(x).nan_to_num(7.0))


def test_a_bias_in_strided_rows_is_each_owner_s_own() -> None:
    """As it stands in a group's weights `[k, d]`."""
    weights, x = values((K, N + 9), 4), values((K, B, N), 5)
    bias = weights[:, None, 4 : 4 + N]
    _, found = Activation(nn.ReLU()).forward_over(x.clone(), bias)
    assert torch.equal(found, torch.relu(x + bias))


def test_a_loss_whose_gradient_is_the_weights_leaves_them_alone() -> None:
    """Autograd then hands out the weights themselves, which an activation at the end would write over."""
    linear = nn.Linear(4, 1)
    vector = torch.cat([linear.weight.detach().flatten(), linear.bias.detach()])
    affine = Affine(linear, slice(0, 4), slice(4, 5))
    chain = Chain((affine, Activation(nn.ReLU())), 5, Front(()))
    inputs, weights = values((K, B, 4), 6), torch.full((K, B), 0.5)
    swept = sweep(chain, Shared((affine,), vector), inputs, torch.zeros(K * B), weights, lambda z, y: z.squeeze(1))
    assert torch.equal(weights, torch.full((K, B), 0.5))
    positive = (inputs @ linear.weight.detach().t() + linear.bias.detach() > 0).float()
    assert swept.errors[0] is not None
    assert torch.equal(swept.errors[0], 0.5 * positive)
