"""Plain solvers: laws of descent, then torch's own optimizers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.config import ConfigError, chosen, described
from tacit.privacy.entropy import SeededEntropy
from tacit.strategies.learner import Learner
from tacit.strategies.local import Streams, local_update, streams_of
from tacit.strategies.solvers import SOLVERS, Adam, Prox, Sgd, Solver, drawn_batches, step_count
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn


def owner(count: int = 23, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator))


def learner(*extra: nn.Module) -> Learner:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), *extra, nn.Linear(6, 3))
    return Learner(module, cross_entropy, Trainable(module))


def streams(seed: int = 1, round: int = 1, number: int = 0, attempt: int = 0) -> Streams:
    return streams_of(SeededEntropy(seed), round, number, attempt)


def mean_gradient(model: Learner, weights: Tensor, examples: Examples) -> Tensor:
    """By backward() on the mean loss, through the module's own parameters."""
    model.trainable.unflatten_into(model.module, weights)
    model.module.zero_grad()
    model.loss(model.module(examples.inputs), examples.targets).mean().backward()
    gradient = model.trainable.gradient(model.module)
    model.module.zero_grad()
    return gradient


def optimized(model: Learner, examples: Examples, make: Any, batches: list[Examples]) -> Tensor:
    """The update of one of torch's own optimizers over `batches`."""
    start = model.weights()
    optimizer = make(model.module.parameters())
    for batch in batches:
        optimizer.zero_grad()
        model.loss(model.module(batch.inputs), batch.targets).mean().backward()
        optimizer.step()
    update = model.trainable.flatten(model.module) - start
    model.trainable.unflatten_into(model.module, start)
    return update


PLAIN: list[Solver] = [Sgd(), Sgd(batch=5, epochs=2, momentum=0.9), Prox(mu=0.5, batch=4), Adam(batch=7)]


# --- laws ---


@pytest.mark.parametrize("solver", PLAIN)
def test_the_same_streams_give_the_same_bits_whoever_came_before(solver: Solver) -> None:
    model = learner(nn.Dropout(0.5))
    start = model.weights()
    first = local_update(model, solver, start, owner(), streams())
    local_update(model, solver, start, owner(seed=9), streams(number=9))
    assert torch.equal(local_update(model, solver, start, owner(), streams()), first)
    assert not torch.equal(local_update(model, solver, start, owner(), streams(seed=2)), first)


@pytest.mark.parametrize("solver", PLAIN)
def test_a_plain_solver_declares_an_owner_without_bound(solver: Solver) -> None:
    signal = solver.declare(10, 3, 7)
    assert (signal.dim, signal.unit, signal.least, signal.most) == (10, "owner", 3, 7)
    assert signal.sensitivity == signal.bound == math.inf
    assert signal.prior is None
    assert not signal.noise


@pytest.mark.parametrize("solver", PLAIN)
def test_no_examples_give_no_update(solver: Solver) -> None:
    model = learner()
    assert not local_update(model, solver, model.weights(), owner().subset([]), streams()).any()


@pytest.mark.parametrize("solver", PLAIN)
def test_the_correction_is_added_to_every_gradient(solver: Solver) -> None:
    # A constant added to every gradient is a linear term added to the loss.
    model, examples = learner(), owner()
    start = model.weights()
    push = torch.randn(model.dim, generator=torch.Generator().manual_seed(5))

    class Tilted(Learner):
        def gradient(self, weights: Tensor, examples: Examples) -> Tensor:
            return mean_gradient(self, weights, examples) + push

    tilted = Tilted(model.module, model.loss, model.trainable)
    expected = local_update(tilted, solver, start, examples, streams())
    found = local_update(model, solver, start, examples, streams(), correction=push)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@given(st.integers(0, 30), st.integers(1, 3), st.none() | st.integers(1, 12), st.none() | st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_batches_are_passes_over_the_examples(count: int, epochs: int, batch: int | None, steps: int | None) -> None:
    examples = Examples(torch.arange(count).float()[:, None], torch.zeros(count, dtype=torch.int64))
    drawn = [b.inputs[:, 0].tolist() for b in drawn_batches(examples, epochs, batch, steps, streams())]
    assert len(drawn) == step_count(count, epochs, batch, steps)
    if count == 0:
        assert drawn == []
        return
    size = min(batch or count, count)
    a_pass = math.ceil(count / size)
    for first in range(0, len(drawn), a_pass):
        part = drawn[first : first + a_pass]
        seen = [x for b in part for x in b]
        assert len(set(seen)) == len(seen)
        if len(part) == a_pass:
            assert sorted(seen) == list(range(count))
        assert all(len(b) == size for b in part[:-1])


def test_every_pass_has_its_own_order() -> None:
    examples = Examples(torch.arange(64).float()[:, None], torch.zeros(64, dtype=torch.int64))
    drawn = [b.inputs[:, 0].tolist() for b in drawn_batches(examples, 2, 32, None, streams())]
    assert drawn[0] + drawn[1] != drawn[2] + drawn[3]


# --- formulas ---


def test_one_full_batch_step_is_gradient_descent() -> None:
    model, examples = learner(), owner()
    start = model.weights()
    found = local_update(model, Sgd(lr=0.7), start, examples, streams())
    torch.testing.assert_close(found, -0.7 * mean_gradient(model, start, examples), atol=1e-7, rtol=1e-6)


def test_sgd_is_that_of_torch() -> None:
    model, examples = learner(), owner()
    solver = Sgd(lr=0.3, epochs=3, batch=8, momentum=0.9, weight_decay=0.01)
    batches = list(drawn_batches(examples, 3, 8, None, streams()))
    expected = optimized(
        model, examples, lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.01), batches
    )
    found = local_update(model, solver, model.weights(), examples, streams())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_adam_is_that_of_torch() -> None:
    model, examples = learner(), owner()
    solver = Adam(lr=0.05, epochs=2, batch=8, beta1=0.8, beta2=0.95, weight_decay=0.01)
    batches = list(drawn_batches(examples, 2, 8, None, streams()))
    expected = optimized(
        model, examples, lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.01), batches
    )
    found = local_update(model, solver, model.weights(), examples, streams())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_prox_is_sgd_on_the_loss_with_the_proximal_term() -> None:
    model, examples = learner(), owner()
    start = model.weights()
    found = local_update(model, Prox(lr=0.2, mu=1.5, epochs=3), start, examples, streams())
    weights = start.clone()
    for _ in range(3):
        weights = weights - 0.2 * (mean_gradient(model, weights, examples) + 1.5 * (weights - start))
    torch.testing.assert_close(found, weights - start, atol=1e-6, rtol=1e-5)


def test_prox_without_pull_is_sgd() -> None:
    model, examples = learner(), owner()
    parts = [
        local_update(model, solver, model.weights(), examples, streams())
        for solver in (Prox(lr=0.2, mu=0.0, batch=5), Sgd(lr=0.2, batch=5))
    ]
    assert torch.equal(*parts)


def test_a_strong_pull_stays_at_the_start() -> None:
    # The fixed point of w = start − ∇/mu: ‖update‖ → ‖∇‖/mu.
    model, examples = learner(), owner()
    start = model.weights()
    lengths = [
        float(local_update(model, Prox(lr=1 / mu, mu=mu, steps=20), start, examples, streams()).norm())
        for mu in (1e2, 1e4, 1e6)
    ]
    assert lengths[1] < lengths[0] / 50
    assert lengths[2] < lengths[1] / 50


def test_the_count_of_steps_is_exact_where_it_is_given() -> None:
    model, examples = learner(), owner()
    three = local_update(model, Sgd(lr=0.1, steps=3), model.weights(), examples, streams())
    epochs = local_update(model, Sgd(lr=0.1, epochs=3), model.weights(), examples, streams())
    assert torch.equal(three, epochs)
    assert Sgd(batch=5, steps=3).count(23) == 3
    assert Sgd(batch=5, epochs=2).count(23) == 10


# --- rows and refusals ---


@pytest.mark.parametrize("name", list(SOLVERS))
def test_every_solver_is_its_row(name: str) -> None:
    rows: dict[str, dict[str, Any]] = {
        "clipped-gradient": {"norm": 1.0, "denominator": 10},
        "dp-sgd": {"norm": 1.0, "noise_multiplier": "calibrate", "rate": 0.1, "denominator": 2.0},
    }
    solver = chosen({"use": name, **rows.get(name, {})}, "use", SOLVERS, "local")
    assert chosen(described(solver, "use", SOLVERS), "use", SOLVERS, "local") == solver


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"use": "sdg"}, "local.use = 'sdg'.*did you mean 'sgd'"),
        ({"use": "sgd", "lr": 0.0}, "lr = 0.0.*above 0"),
        ({"use": "sgd", "lr": math.nan}, "lr = nan"),
        ({"use": "sgd", "batch": 0}, "batch = 0.*at least 1"),
        ({"use": "sgd", "epochs": 0}, "epochs = 0.*at least 1"),
        ({"use": "sgd", "epochs": 2, "steps": 3}, "epochs = 2.*leave it out"),
        ({"use": "sgd", "momentum": 1.0}, "momentum = 1.0.*below 1"),
        ({"use": "sgd", "weight_decay": -1.0}, "weight_decay = -1.0"),
        ({"use": "sgd", "epochs": 1.5}, "local.epochs = 1.5"),
        ({"use": "prox", "mu": -1.0}, "mu = -1.0"),
        ({"use": "prox", "lr": 1.0, "mu": 3.0}, "lr·mu = 3.0.*below 2"),
        ({"use": "adam", "beta2": 1.0}, "beta2 = 1.0"),
        ({"use": "adam", "epsilon": 0.0}, "epsilon = 0.0"),
    ],
)
def test_impossible_rows_are_refused_with_key_value_and_remedy(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(row, "use", SOLVERS, "local")
