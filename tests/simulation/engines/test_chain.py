"""Chain: what only looks like Linear layers in a row is refused, with a reason, and the plain loop takes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tacit.simulation.engines.chain import Chain, chain_of, unfit
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner, Loss
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn


def shared() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, second)


def twice() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked(kind: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        layer = nn.Linear(4, 3)
        getattr(layer, kind)(lambda *_: None)
        return nn.Sequential(layer)

    return make


def hooked_parameter() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.weight.register_hook(lambda gradient: 2 * gradient)
    return layer


def overridden() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.forward = lambda values: values[:, :3]  # type: ignore[method-assign]  # what is tested
    return layer


def whole_hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 3))
    module.register_forward_hook(lambda *_: None)
    return module


class Twist(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values).flip(0)


class Residual(nn.Sequential):
    def forward(self, values: Tensor) -> Tensor:
        return values + super().forward(values)


def weighted() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))


def image(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(8, 3))


STRANGERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "convolution": (lambda: nn.Sequential(nn.Conv1d(1, 1, 2), nn.Linear(3, 3)), "0 (Conv1d) is neither"),
    "convolution of rows": (lambda: nn.Sequential(nn.Conv2d(1, 1, 2), nn.Linear(3, 3)), "0 (Conv2d) is neither"),
    "convolution of groups": (lambda: image(nn.Conv2d(2, 2, 1, groups=2)), "0 (Conv2d) has groups, or pads"),
    "convolution that wraps": (
        lambda: image(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
        "0 (Conv2d) has groups, or pads",
    ),
    "convolution of a size": (lambda: image(nn.Conv2d(2, 2, 3, padding="same")), "0 (Conv2d) has groups, or pads"),
    "maxima with places": (lambda: image(nn.MaxPool2d(1, return_indices=True)), "0 (MaxPool2d) is neither"),
    "linear before it is flat": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.MaxPool2d(2), nn.Flatten()),
        "0 (Linear) is",
    ),
    "image after a row": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(8, 8), nn.MaxPool2d(1)),
        "3 (MaxPool2d) is",
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), "1 (Dropout) is neither"),
    "batch norm": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), "1 (BatchNorm1d) holds buffers"),
    "layer norm": (lambda: nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), "1 (LayerNorm) is neither"),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), "1 (Softmax) is neither"),
    "prelu": (lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU()), "1 (PReLU) is neither"),
    "shared weight": (shared, "1 (Linear) shares its parameters"),
    "one layer twice": (twice, "2 (Linear) shares its parameters"),
    "forward hook": (hooked("register_forward_hook"), "0 (Linear) has hooks"),
    "forward pre-hook": (hooked("register_forward_pre_hook"), "0 (Linear) has hooks"),
    "backward hook": (hooked("register_full_backward_hook"), "0 (Linear) has hooks"),
    "hook on the whole": (whole_hooked, "the model (Sequential) has hooks"),
    "hook on a parameter": (hooked_parameter, "the model (Linear) has hooks on its parameters"),
    "own forward": (overridden, "the model (Linear) has a forward of its own"),
    "subclass": (lambda: nn.Sequential(Twist(4, 3)), "0 (Twist) is neither"),
    "residual": (lambda: Residual(nn.Linear(4, 4)), "the model (Residual) is neither"),
    "parametrised": (weighted, "0 (ParametrizedLinear)"),
    "in place": (lambda: nn.Sequential(nn.Linear(4, 3), nn.SiLU(inplace=True)), "1 (SiLU) works in place"),
    "half precision": (lambda: nn.Sequential(nn.Linear(4, 3, dtype=torch.bfloat16)), "0 (Linear) is torch.bfloat16"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused_by_name(name: str) -> None:
    make, reason = STRANGERS[name]
    module = make()
    found = chain_of(module, Trainable(module))
    assert isinstance(found, str)
    assert found.startswith(reason)


def test_a_hook_on_all_modules_is_seen() -> None:
    module = nn.Linear(4, 3)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        found = chain_of(module, Trainable(module))
    finally:
        handle.remove()
    assert found == "the model (Linear) has hooks"
    assert isinstance(chain_of(module, Trainable(module)), Chain)


def test_a_parameter_beside_the_layers_is_no_chain() -> None:
    class Extra(nn.Sequential):
        pass

    module = nn.Sequential(nn.Linear(4, 3))
    module.register_parameter("scale", nn.Parameter(torch.ones(1)))
    assert isinstance(chain_of(module, Trainable(module)), str)
    assert isinstance(chain_of(Extra(nn.Linear(4, 3)), Trainable(module)), str)


def fault(module: nn.Module, inputs: Tensor, loss: Loss = cross_entropy) -> str | None:
    chain = chain_of(module, Trainable(module))
    assert isinstance(chain, Chain)
    targets = torch.arange(len(inputs)) % 3
    population = Population(Examples(inputs, targets), [np.arange(len(inputs))])
    return unfit(chain, Learner(module, loss, Trainable(module)), population)


def mixing(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs - outputs.mean(dim=0), targets)


def drawing(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets) * torch.rand(1)


def reduced(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets).mean()


def test_data_and_losses_that_do_not_go_row_by_row_are_refused() -> None:
    rows, module = torch.randn(6, 4), nn.Linear(4, 3)
    assert fault(module, rows) is None
    assert fault(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.randn(6, 2, 2)) is None
    assert "3 dimensions" not in str(fault(module, rows))
    assert "not flattened first" in str(fault(module, torch.randn(6, 2, 4)))
    assert "not flattened first" in str(
        fault(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)), torch.randn(6, 2, 2))
    )
    assert "not rows of real numbers" in str(fault(module, torch.zeros(6, 4, dtype=torch.int64)))
    assert "does not take the task's inputs" in str(fault(module, torch.randn(6, 5)))
    before = torch.get_rng_state()
    assert fault(module, rows, mixing) == "its loss mixes the examples of a batch"
    assert fault(module, rows, drawing) == "its loss draws random numbers"
    assert "could not be tried" in str(fault(module, rows, reduced))
    assert torch.equal(torch.get_rng_state(), before)
