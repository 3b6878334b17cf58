"""Models: per-example gradients exist and are right in every engine, and every model learns."""

from __future__ import annotations

import pytest
import torch
from opacus import GradSampleModule
from tacit.tasks.catalogue import lookup
from tacit.tasks.task import Task, initial
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

MODELS = [
    ("digits", "softmax"),
    ("digits", "mlp"),
    ("digits", "cnn"),
    ("breast-cancer", "logistic"),
    ("breast-cancer", "mlp"),
    ("topics", "lstm"),
    ("topics", "transformer"),
]


def moved(task: Task) -> nn.Module:
    """The model away from its start, where the gradients of some layers vanish."""
    module = initial(task, 5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def one_by_one(task: Task, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Gradients `[B, d]`, one backward pass for each example."""
    parameters = list(module.parameters())
    rows = [
        torch.autograd.grad(task.loss(module(inputs[i : i + 1]), targets[i : i + 1]).sum(), parameters)
        for i in range(len(inputs))
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # opacus's hooks on layers whose input is data
@pytest.mark.parametrize(("name", "model"), MODELS)
def test_gradients_of_examples_are_the_same_alone_under_vmap_and_in_opacus(name: str, model: str) -> None:
    task = lookup(name, model=model)
    module = moved(task)
    examples = task.testing().subset([0, 11, 22])
    wanted = one_by_one(task, module, examples.inputs, examples.targets)
    assert wanted.abs().sum(dim=1).min() > 0

    def alone(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return task.loss(functional_call(module, parameters, (x.unsqueeze(0),)), y.unsqueeze(0)).sum()

    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    mapped = vmap(grad(alone), in_dims=(None, 0, 0))(parameters, examples.inputs, examples.targets)
    assert torch.allclose(torch.cat([part.flatten(1) for part in mapped.values()], dim=1), wanted, atol=1e-5)

    sampled = GradSampleModule(module, loss_reduction="sum", strict=True)
    task.loss(sampled(examples.inputs), examples.targets).sum().backward()
    found = torch.cat([parameter.grad_sample.flatten(1) for parameter in module.parameters()], dim=1)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_outputs_of_an_example_do_not_depend_on_the_others(name: str, model: str) -> None:
    task = lookup(name, model=model)
    module = moved(task)
    examples = task.testing().subset(range(6))
    together = module(examples.inputs)
    apart = torch.cat([module(row.unsqueeze(0)) for row in examples.inputs])
    assert torch.allclose(together, apart, atol=1e-5)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_every_model_learns(name: str, model: str) -> None:
    task = lookup(name, model=model)
    module = initial(task, 0)
    examples = task.training().subset(range(100))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    losses = []
    for _ in range(12):
        loss = task.loss(module(examples.inputs), examples.targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_regressions_start_at_zero() -> None:
    for name in ("digits", "breast-cancer"):
        assert not any(parameter.any() for parameter in initial(lookup(name), 9).parameters())
