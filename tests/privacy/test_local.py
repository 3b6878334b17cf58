"""The local step: every example's own gradient, clipped exactly, summed exactly, noised on the grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.local import (
    GRID_BITS,
    LocalError,
    add_noise,
    check_layers,
    check_module,
    clipped,
    clipped_sum,
    per_example_gradients,
    step,
)
from tacit.tasks.catalogue import lookup
from tacit.tasks.losses import cross_entropy, squared_error
from torch import Tensor, nn

UNIT = 1 << GRID_BITS


def alone(module: nn.Module, loss, inputs: Tensor, targets: Tensor) -> Tensor:
    """Gradients `[B, d]`, one backward pass an example."""
    parameters = list(module.parameters())
    rows = []
    for i in range(len(inputs)):
        parts = torch.autograd.grad(loss(module(inputs[i : i + 1]), targets[i : i + 1]).sum(), parameters)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).train()


def batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    inputs = torch.randn(count, 5, generator=generator)
    return inputs, torch.randint(0, 3, (count,), generator=generator)


def exact_norm(row: Tensor) -> int:
    """⌈√Σx²⌉ in integers."""
    square = sum(int(x) ** 2 for x in row.tolist())
    return math.isqrt(square - 1) + 1 if square else 0


# --- laws ---

numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=5), st.floats(1e-12, 1e12))
@settings(max_examples=200, deadline=None)
def test_a_row_never_exceeds_the_norm(rows: list[list[float]], norm: float) -> None:
    for given_row, row in zip(rows, clipped(torch.tensor(rows, dtype=torch.float32), norm), strict=True):
        assert torch.equal(row, row.trunc())
        assert exact_norm(row) <= UNIT
        if not np.isfinite(given_row).all():
            assert not row.any()


@given(st.integers(0, 40), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_one_example_moves_the_sum_by_at_most_the_norm_exactly(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count + 1, 50, generator=generator) * 10.0 ** torch.randint(-20, 20, (count + 1, 1))
    whole, without = clipped(rows, 0.5).sum(0).long(), clipped(rows[:-1], 0.5).sum(0).long()
    assert exact_norm(whole - without) <= UNIT


def test_the_sum_depends_on_no_order_and_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    module, (inputs, targets) = mlp(), batch(40)
    parameters = list(module.parameters())
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    rows = per_example_gradients(module, parameters, cross_entropy, inputs, targets)
    total = clipped(rows, 0.3).sum(0).long()
    assert torch.equal(clipped(rows[order], 0.3).sum(0).long(), total)
    monkeypatch.setattr("tacit.privacy.local._BLOCK", 200)
    assert torch.equal(clipped_sum(module, parameters, cross_entropy, inputs, targets, 0.3), total)


def test_short_gradients_pass_unchanged_and_long_ones_keep_their_direction() -> None:
    rows = torch.tensor([[0.3, -0.4], [30.0, -40.0], [0.0, 0.0]])
    values = clipped(rows, 1.0) * step(1.0)
    torch.testing.assert_close(values[0], torch.tensor([0.3, -0.4], dtype=torch.float64), atol=1e-7, rtol=0)
    torch.testing.assert_close(values[1], torch.tensor([0.6, -0.8], dtype=torch.float64), atol=2e-6, rtol=0)
    assert not values[2].any()


# --- against one backward pass an example ---


@pytest.mark.parametrize(
    ("task", "model"),
    [("digits", "cnn"), ("digits", "softmax"), ("breast-cancer", "mlp"), ("topics", "lstm"), ("topics", "transformer")],
)
def test_per_example_gradients_are_those_of_one_by_one(task: str, model: str) -> None:
    chosen = lookup(task, None, model=model)
    torch.manual_seed(3)
    module = chosen.model().train()
    examples = chosen.training().subset(range(4))
    parameters = list(module.parameters())
    check_module(module, parameters, chosen.loss, examples.inputs, examples.targets)
    rows = per_example_gradients(module, parameters, chosen.loss, examples.inputs, examples.targets)
    expected = alone(module, chosen.loss, examples.inputs, examples.targets)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-4)


def test_clipped_sum_is_the_plain_loop() -> None:
    module, (inputs, targets) = mlp(), batch(11)
    rows = alone(module, cross_entropy, inputs, targets).double()
    expected = (rows * (0.2 / rows.norm(dim=1, keepdim=True)).clamp(max=1)).sum(0)
    found = clipped_sum(module, list(module.parameters()), cross_entropy, inputs, targets, 0.2).double() * step(0.2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_empty_batch_sums_to_zero_and_a_bad_example_counts_as_zero() -> None:
    module, (inputs, targets) = mlp(), batch(3)
    parameters = list(module.parameters())
    assert not clipped_sum(module, parameters, cross_entropy, inputs[:0], targets[:0], 1.0).any()
    rest = clipped_sum(module, parameters, cross_entropy, inputs[1:], targets[1:], 1.0)
    inputs[0, 0] = math.inf
    found = clipped_sum(module, parameters, cross_entropy, inputs, targets, 1.0)
    torch.testing.assert_close(found * step(1.0), rest * step(1.0), atol=1e-6, rtol=0)


def test_tied_and_chosen_parameters() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(5, 5)
    module = nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(5, 3)).train()
    inputs, targets = batch(4)
    expected = alone(module, cross_entropy, inputs, targets)
    parameters = list(module.parameters())
    found = per_example_gradients(module, parameters, cross_entropy, inputs, targets)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    some = parameters[:1]
    part = per_example_gradients(module, some, cross_entropy, inputs, targets)
    torch.testing.assert_close(part, expected[:, :25], atol=1e-6, rtol=1e-5)
    assert all(parameter.requires_grad for parameter in parameters)


def footprint(module: nn.Module) -> list[object]:
    """What hooks and attributes would show in."""
    layers = [
        (sorted(layer.__dict__), len(layer._forward_hooks), len(layer._backward_hooks), layer.training)
        for layer in module.modules()
    ]
    return [layers, [(sorted(vars(p)), p.grad is None, p.requires_grad, p.tolist()) for p in module.parameters()]]


def test_the_module_is_left_as_found() -> None:
    module, (inputs, targets) = nn.Sequential(mlp(), nn.Dropout(0.5)), batch(3)
    parameters = list(module.parameters())
    module.train()
    before = footprint(module)
    clipped_sum(module, parameters, cross_entropy, inputs, targets, 1.0)
    check_module(module, parameters, cross_entropy, inputs, targets)
    assert footprint(module) == before
    with pytest.raises(RuntimeError):
        clipped_sum(module, parameters, cross_entropy, inputs, targets[:, None, None, None], 1.0)
    assert footprint(module) == before


# --- noise ---


def test_noise_has_its_scale_and_is_that_of_its_stream() -> None:
    before = torch.full((3, 20_000), 7.0 * UNIT, dtype=torch.float64)
    sums = before.clone()
    add_noise(sums, 2.0, [SeededEntropy(seed).stream("noise") for seed in (1, 1, 2)])
    assert torch.equal(sums[0], sums[1])
    assert not torch.equal(sums[0], sums[2])
    assert torch.equal(sums, sums.round())
    # 20,000 draws: six standard errors of the mean and of the standard deviation.
    values = sums[0] * step(0.5)
    assert abs(float(values.mean()) - 3.5) < 6 / math.sqrt(20_000)
    assert abs(float(values.std()) - 1.0) < 6 / math.sqrt(2 * 20_000)
    alone = before[:1].clone()
    add_noise(alone, 2.0, [SeededEntropy(2).stream("noise")])
    assert torch.equal(alone[0], sums[2])


def test_no_noise_is_none() -> None:
    sums = torch.tensor([[1.0 * UNIT, -3.0 * UNIT]], dtype=torch.float64)
    add_noise(sums, 0.0, [SeededEntropy(1).stream("noise")])
    assert sums.tolist() == [[UNIT, -3 * UNIT]]


# --- refusals ---


@pytest.mark.parametrize(
    ("layer", "remedy"),
    [
        (nn.BatchNorm1d(5), "GroupNorm"),
        (nn.BatchNorm1d(5, affine=False), "GroupNorm"),
        (nn.LSTM(5, 5), "nn.Linear"),
        (nn.GRU(5, 5), "nn.Linear"),
        (nn.RNN(5, 5), "nn.Linear"),
        (nn.MultiheadAttention(5, 1), "nn.Linear"),
        (nn.InstanceNorm1d(5, affine=True, track_running_stats=True), "track_running_stats=False"),
    ],
)
def test_unfit_layers_are_named_with_the_remedy(layer: nn.Module, remedy: str) -> None:
    module = nn.Sequential(nn.Linear(5, 5), layer)
    with pytest.raises(LocalError, match=rf"1 \({type(layer).__name__}\).*{remedy}"):
        check_layers(module)


def test_layers_without_memory_are_fit() -> None:
    check_layers(
        nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4), nn.LayerNorm(4), nn.Dropout())
    )


class Centred(nn.Module):
    """Takes the batch's mean away: one example's gradient then holds the others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs)
        return outputs - outputs.mean(dim=0)


class Positions(nn.Module):
    """An embedding of positions, whose leading dimension is not the batch."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.position = nn.Embedding(length, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        where = self.position(torch.arange(self.position.num_embeddings))
        outputs: Tensor = self.layer(inputs)
        return outputs + where.sum(dim=0)


class Fused(nn.Module):
    """A parameter and a module of two inputs, which Opacus cannot see through."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(5, 5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.bilinear(inputs, inputs)
        return outputs


@pytest.mark.parametrize("module", [Centred(), Positions(2), Positions(3), Positions(4), Fused()])
def test_a_model_that_mixes_examples_is_refused(module: nn.Module) -> None:
    inputs, targets = batch(2)
    with pytest.raises(LocalError, match=r"batch"):
        check_module(module.train(), list(module.parameters()), cross_entropy, inputs, targets)


def test_a_loss_that_hides_the_examples_is_refused() -> None:
    module, (inputs, targets) = mlp(), batch(2)
    with pytest.raises(LocalError, match="one number per example"):
        check_module(module, list(module.parameters()), nn.CrossEntropyLoss(), inputs, targets)


def test_the_check_looks_at_no_data() -> None:
    module, (inputs, targets) = mlp(), batch(2)
    check_module(module, list(module.parameters()), cross_entropy, inputs * math.nan, targets + 1000)
    regression = nn.Linear(5, 1).train()
    check_module(regression, list(regression.parameters()), squared_error, inputs[:0], torch.zeros(0))


def test_evaluation_mode_is_refused() -> None:
    module, (inputs, targets) = mlp().eval(), batch(2)
    with pytest.raises(LocalError, match=r"module\.train\(\)"):
        check_module(module, list(module.parameters()), cross_entropy, inputs, targets)
