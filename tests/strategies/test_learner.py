"""The learner: one module, many owners, no trace of any."""

from __future__ import annotations

import pytest
import torch
from tacit.privacy.ball import Ball
from tacit.privacy.entropy import SeededEntropy
from tacit.strategies.learner import Learner
from tacit.strategies.local import SolverError, local_update, streams_of
from tacit.strategies.solvers import Sgd
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import nn


def owner(seed: int = 0, count: int = 12) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator))


def learner(*layers: nn.Module, patterns: tuple[str, ...] | None = None, device: str = "cpu") -> Learner:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), *layers, nn.Linear(6, 3))
    return Learner(module, cross_entropy, Trainable(module, patterns), device)


def turn(model: Learner, examples: Examples, number: int = 0) -> torch.Tensor:
    return local_update(
        model, Sgd(lr=0.5, epochs=2), model.weights(), examples, streams_of(SeededEntropy(1), 1, number)
    )


def test_a_turn_leaves_parameters_buffers_modes_and_the_global_generator_as_they_were() -> None:
    model = learner(nn.BatchNorm1d(6), nn.Dropout(0.3))
    model.module.eval()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    generator = torch.get_rng_state()
    first = turn(model, owner())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(layer.training for layer in model.module.modules())
    assert torch.equal(torch.get_rng_state(), generator)
    turn(model, owner(seed=5), number=5)
    assert torch.equal(turn(model, owner()), first)
    assert torch.equal(model.weights(), turn(model, owner().subset([])) + model.weights())


def test_a_turn_that_fails_leaves_no_trace_either() -> None:
    model = learner(nn.BatchNorm1d(6))
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    bad = Examples(owner().inputs, torch.full((12,), 99))
    with pytest.raises(RuntimeError):
        turn(model, bad)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_the_weights_enter_by_argument() -> None:
    model = learner()
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(model.dim, generator=generator) for _ in range(2))
    one = model.gradient(first, owner())
    model.gradient(second, owner())
    assert torch.equal(model.gradient(first, owner()), one)
    torch.testing.assert_close(
        model.losses(first, owner()), cross_entropy(model.module(owner().inputs), owner().targets)
    )


def test_only_the_chosen_parameters_have_a_gradient() -> None:
    whole, part = learner(), learner(patterns=("1.*",))
    assert part.dim == 6 * 3 + 3
    gradient = whole.gradient(whole.weights(), owner())
    torch.testing.assert_close(part.gradient(part.weights(), owner()), gradient[-part.dim :])
    with part.turn(streams_of(SeededEntropy(1), 1, 0)):
        assert part.clipped_sum(part.weights(), owner(), Ball(1.0)).shape == (part.dim,)


def test_no_examples_have_no_gradient() -> None:
    model = learner()
    assert not model.gradient(model.weights(), owner().subset([])).any()


def test_a_loss_that_hides_the_examples_is_refused() -> None:
    module = nn.Linear(4, 3)
    model = Learner(module, nn.CrossEntropyLoss(), Trainable(module))
    with pytest.raises(SolverError, match="one number per example"):
        model.gradient(model.weights(), owner())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_an_accelerator_updates_come_back_near_those_of_the_cpu() -> None:
    found = turn(learner(device="cuda"), owner())
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, turn(learner(), owner()), atol=1e-4, rtol=1e-3)
