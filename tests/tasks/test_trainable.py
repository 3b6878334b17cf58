"""Trainable: flatten and unflatten are inverses, and nothing but the chosen parameters moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.catalogue import TASKS, lookup
from tacit.tasks.task import initial
from tacit.tasks.trainable import Trainable, TrainableError, batch_norm_layers
from torch import nn

BUNDLED = [
    (name, model)
    for name, models in {
        "digits": ["softmax", "mlp", "cnn"],
        "breast-cancer": ["logistic", "mlp"],
        "topics": ["lstm", "transformer"],
    }.items()
    for model in models
]


class Tied(nn.Module):
    """Embedding and output share one matrix; the middle is frozen; there is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.middle = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.output = nn.Linear(3, 5)
        self.output.weight = self.embed.weight
        self.middle.requires_grad_(False)


@pytest.mark.parametrize(("name", "model"), BUNDLED)
def test_unflatten_inverts_flatten_on_every_bundled_model(name: str, model: str) -> None:
    module = initial(lookup(name, model=model), 3)
    trainable = Trainable(module)
    vector = trainable.flatten(module)
    assert vector.dtype == torch.float32
    assert vector.shape == (trainable.dim,)
    assert trainable.dim == sum(parameter.numel() for parameter in module.parameters())
    other = initial(lookup(name, model=model), 4)
    trainable.unflatten_into(other, vector)
    assert torch.equal(trainable.flatten(other), vector)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=18, max_size=18))
def test_flatten_inverts_unflatten(values: list[float]) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(1, 1))
    trainable = Trainable(module)
    vector = torch.tensor(values[: trainable.dim], dtype=torch.float32)
    trainable.unflatten_into(module, vector)
    assert torch.equal(trainable.flatten(module), vector)


def test_a_tied_parameter_is_in_once_a_frozen_one_and_buffers_never() -> None:
    module = Tied()
    trainable = Trainable(module)
    assert [slot.name for slot in trainable.layout] == ["embed.weight", "norm.weight", "norm.bias", "output.bias"]
    assert trainable.dim == 15 + 3 + 3 + 5
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainable.unflatten_into(module, torch.full((trainable.dim,), 7.0))
    after = module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"embed.weight", "norm.weight", "norm.bias", "output.bias", "output.weight"}
    assert module.output.weight is module.embed.weight


def test_a_tied_parameter_is_chosen_by_any_of_its_names() -> None:
    layout = Trainable(Tied(), ("output.*",)).layout
    assert [slot.name for slot in layout] == ["embed.weight", "output.bias"]


def test_only_the_chosen_parameters_are_written_and_train() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    trainable = Trainable(module, ("2.*",))
    first = module[0].weight.clone()
    assert trainable.dim == 8
    trainable.unflatten_into(module, torch.zeros(8))
    assert torch.equal(module[0].weight, first)
    assert not module[2].weight.any()
    trainable.freeze_rest(module)
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True]


def test_gradients_come_in_the_order_of_the_vector() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    trainable = Trainable(module)
    assert not trainable.gradient(module).any()
    x = torch.tensor([[1.0, -2.0]])
    module(x).sum().backward()
    analytic = torch.autograd.functional.jacobian(
        lambda vector: torch.func.functional_call(module, dict(trainable.unflatten(vector)), (x,)).sum(),
        trainable.flatten(module),
    )
    assert torch.allclose(trainable.gradient(module), analytic)


def test_half_precision_is_held_exactly() -> None:
    module = nn.Linear(3, 2).to(torch.bfloat16)
    trainable = Trainable(module)
    before = module.weight.clone()
    trainable.unflatten_into(module, trainable.flatten(module))
    assert torch.equal(module.weight, before)


def test_the_layout_is_a_value_and_holds_no_module() -> None:
    a, b = (Trainable(nn.Linear(3, 2)) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert "module" not in repr(a)


def test_what_cannot_train_is_refused() -> None:
    with pytest.raises(TrainableError, match=r"'head\.\*' matches no parameter; the model has weight, bias"):
        Trainable(nn.Linear(2, 2), ("head.*",))
    with pytest.raises(TrainableError, match=r"float64.*\.float\(\)"):
        Trainable(nn.Linear(2, 2).double())
    with pytest.raises(TrainableError, match="requires_grad=False"):
        Trainable(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(TrainableError, match="nothing is trained"):
        Trainable(nn.ReLU())


@pytest.mark.parametrize("vector", [torch.zeros(7), torch.zeros(1, 6), torch.zeros(6, dtype=torch.int64)])
def test_a_vector_of_another_layout_is_refused(vector: torch.Tensor) -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(TrainableError, match="the trained parameters are 6"):
        Trainable(module).unflatten_into(module, vector)


def test_another_model_is_refused_before_anything_is_written() -> None:
    trainable = Trainable(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    before = other[0].weight.clone()
    with pytest.raises(TrainableError, match=r"1\.weight has shape \[3, 2\]"):
        trainable.unflatten_into(other, torch.zeros(12))
    assert torch.equal(other[0].weight, before)
    with pytest.raises(TrainableError, match="no parameter 1"):
        trainable.flatten(nn.Sequential(nn.Linear(2, 2)))


def test_batch_norm_is_reported_wherever_it_hides() -> None:
    module = nn.Sequential(
        nn.Sequential(nn.BatchNorm2d(3)), nn.LayerNorm(3), nn.InstanceNorm1d(3, track_running_stats=True)
    )
    assert batch_norm_layers(module) == ("0.0", "2")
    assert batch_norm_layers(nn.Sequential(nn.GroupNorm(1, 3), nn.InstanceNorm1d(3))) == ()


@pytest.mark.parametrize(("name", "model"), BUNDLED)
def test_no_bundled_model_mixes_examples_or_drops_units(name: str, model: str) -> None:
    module = TASKS[name](model=model).model()
    assert batch_norm_layers(module) == ()
    assert not any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in module.modules())
    assert not list(module.buffers())


def test_entries_lie_where_the_layout_says() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    trainable = Trainable(module)
    vector = trainable.flatten(module)
    for slot in trainable.layout:
        found = vector[slot.start : slot.stop].reshape(slot.shape).numpy()
        assert np.array_equal(found, module.get_parameter(slot.name).detach().numpy())
