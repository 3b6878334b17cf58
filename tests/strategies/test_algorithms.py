"""Algorithms: laws that all of them keep, then each one's formula over a few rounds, written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tacit.config import ConfigError, chosen, described
from tacit.privacy.entropy import SeededEntropy
from tacit.strategies.algorithms import (
    ALGORITHMS,
    Algorithm,
    AlgorithmError,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    FedYogi,
)
from tacit.strategies.learner import Learner
from tacit.strategies.local import streams_of
from tacit.strategies.solvers import Adam, Prox, Sgd
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

DIM = 6
ALL = [pytest.param(kind().for_cohort(0.5), id=name) for name, kind in ALGORITHMS.items()]


def means(algorithm: Algorithm, rounds: int, seed: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(algorithm.width * DIM, generator=generator) for _ in range(rounds)]


def run(algorithm: Algorithm, deltas: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    weights, state, path = torch.ones(DIM), algorithm.initial(DIM), []
    for number, delta in enumerate(deltas, start=1):
        weights, state = algorithm.apply(weights, state, delta, number, len(deltas))
        path.append(weights)
    return path, state


# --- laws of all ---


@pytest.mark.parametrize("algorithm", ALL)
def test_apply_is_pure_and_its_state_keeps_names_shapes_and_kinds(algorithm: Algorithm) -> None:
    weights, state = torch.ones(DIM), algorithm.initial(DIM)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    delta = means(algorithm, 1)[0]
    once, after = algorithm.apply(weights, state, delta, 1, 10)
    again, after_again = algorithm.apply(weights, state, delta, 1, 10)
    assert torch.equal(once, again)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert torch.equal(weights, torch.ones(DIM))
    for name in kept:
        assert torch.equal(after[name], after_again[name])
        assert (after[name].shape, after[name].dtype) == (kept[name].shape, kept[name].dtype)
    assert set(after) == set(kept)


@pytest.mark.parametrize("algorithm", ALL)
def test_a_zero_mean_at_the_start_moves_nothing(algorithm: Algorithm) -> None:
    weights, _ = algorithm.apply(torch.ones(DIM), algorithm.initial(DIM), torch.zeros(algorithm.width * DIM), 1, 5)
    assert torch.equal(weights, torch.ones(DIM))


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_tail_averaging_takes_all_of_them_and_changes_no_iterate(name: str) -> None:
    plain, tailed = (ALGORITHMS[name](tail_average=part).for_cohort(0.5) for part in (0.0, 0.5))
    deltas = means(plain, 7)
    path, state = run(tailed, deltas)
    expected, _ = run(plain, deltas)
    assert all(torch.equal(a, b) for a, b in zip(path, expected, strict=True))
    assert torch.equal(plain.final(path[-1], {}), path[-1])
    torch.testing.assert_close(tailed.final(path[-1], state), torch.stack(path[-3:]).mean(0))


def test_a_run_that_stops_before_its_tail_keeps_its_last_iterate() -> None:
    algorithm = FedAvg(tail_average=0.5)
    state = algorithm.initial(DIM)
    weights, state = algorithm.apply(torch.ones(DIM), state, torch.ones(DIM), 1, 10)
    assert torch.equal(algorithm.final(weights, state), weights)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_algorithm_is_its_row(name: str) -> None:
    algorithm = chosen({"use": name, "tail_average": 0.5, "server_lr": 2.0}, "use", ALGORITHMS, "strategy")
    assert (algorithm.tail_average, algorithm.server_lr) == (0.5, 2.0)
    assert chosen(described(algorithm, "use", ALGORITHMS), "use", ALGORITHMS, "strategy") == algorithm


@pytest.mark.parametrize("algorithm", ALL)
def test_a_mean_of_another_length_is_refused(algorithm: Algorithm) -> None:
    with pytest.raises(AlgorithmError, match="mean"):
        algorithm.apply(torch.ones(DIM), algorithm.initial(DIM), torch.ones(1), 1, 5)


# --- the owner half ---


def model() -> Learner:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    return Learner(module, cross_entropy, Trainable(module))


def owner(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator))


def test_fedavg_with_one_full_batch_step_is_centralised_gradient_descent() -> None:
    learner, owners = model(), [owner(10, seed) for seed in range(3)]
    union = Examples(torch.cat([o.inputs for o in owners]), torch.cat([o.targets for o in owners]))
    algorithm, solver = FedAvg(), Sgd(lr=0.5)
    weights = central = learner.weights()
    state = algorithm.initial(len(weights))
    for number in (1, 2, 3):
        rows = []
        for i, examples in enumerate(owners):
            streams = streams_of(SeededEntropy(1), number, i)
            row, memory = algorithm.contribute(
                learner, solver, weights, algorithm.broadcast(state), None, examples, streams
            )
            assert memory is None
            rows.append(row)
        weights, state = algorithm.apply(weights, state, torch.stack(rows).mean(0), number, 3)
        central = central - 0.5 * learner.gradient(central, union)
        torch.testing.assert_close(weights, central, atol=1e-6, rtol=1e-5)


def test_fedprox_is_fedavg_with_the_proximal_solver_and_takes_no_other() -> None:
    deltas = means(FedAvg(), 4)
    assert torch.equal(run(FedProx(server_lr=0.7), deltas)[0][-1], run(FedAvg(server_lr=0.7), deltas)[0][-1])
    FedProx().check(Prox())
    for solver in (Sgd(), Adam()):
        with pytest.raises(AlgorithmError, match="prox"):
            FedProx().check(solver)


# --- formulas, written out ---


def test_fedavg() -> None:
    deltas = means(FedAvg(), 3)
    torch.testing.assert_close(run(FedAvg(server_lr=0.3), deltas)[0][-1], 1 + 0.3 * sum(deltas))


def test_fedavgm() -> None:
    a, b, c = means(FedAvgM(), 3)
    found = run(FedAvgM(server_lr=0.5, momentum=0.8), [a, b, c])[0][-1]
    # v₁ = a, v₂ = 0.8a + b, v₃ = 0.64a + 0.8b + c.
    torch.testing.assert_close(found, 1 + 0.5 * ((1 + 0.8 + 0.64) * a + 1.8 * b + c))


def adaptive(kind: str, deltas: list[Tensor], lr: float, beta1: float, beta2: float, tau: float) -> Tensor:
    """Reddi et al. 2021, Algorithm 2, number by number."""
    weights = [1.0] * DIM
    for j in range(DIM):
        m, v = 0.0, tau**2
        for delta in deltas:
            x = float(delta[j])
            m = beta1 * m + (1 - beta1) * x
            if kind == "adagrad":
                v = v + x * x
            elif kind == "adam":
                v = beta2 * v + (1 - beta2) * x * x
            else:
                v = v - (1 - beta2) * x * x * math.copysign(1.0, v - x * x)
            weights[j] += lr * m / (math.sqrt(v) + tau)
    return torch.tensor(weights)


@pytest.mark.parametrize("kind", ["adagrad", "adam", "yogi"])
def test_the_adaptive_three(kind: str) -> None:
    algorithm: Algorithm = {
        "adagrad": FedAdagrad(server_lr=0.2, beta1=0.5, tau=0.1),
        "adam": FedAdam(server_lr=0.2, beta1=0.5, beta2=0.8, tau=0.1),
        "yogi": FedYogi(server_lr=0.2, beta1=0.5, beta2=0.8, tau=0.1),
    }[kind]
    deltas = means(algorithm, 5)
    torch.testing.assert_close(run(algorithm, deltas)[0][-1], adaptive(kind, deltas, 0.2, 0.5, 0.8, 0.1))


# --- refusals ---


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"use": "fedavgg"}, "did you mean 'fedavg'"),
        ({"use": "fedavg", "server_lr": 0.0}, "server_lr = 0.0.*above 0"),
        ({"use": "fedavg", "tail_average": 1.5}, "tail_average = 1.5.*0 to 1"),
        ({"use": "fedavg", "aggregator": "median"}, "only the sum of a round is ever readable"),
        ({"use": "fedavg", "aggregator": "trimmed-mean"}, "only the sum of a round is ever readable"),
        ({"use": "fedavg", "aggregator": "weighted-mean"}, "numbers of examples are private"),
        ({"use": "fedavg", "aggregator": "mode"}, "aggregator = 'mode'"),
        ({"use": "fedavgm", "momentum": 1.0}, "momentum = 1.0"),
        ({"use": "fedadam", "beta1": -0.1}, "beta1 = -0.1"),
        ({"use": "fedyogi", "beta2": 1.0}, "beta2 = 1.0"),
        ({"use": "fedadagrad", "tau": 0.0}, "tau = 0.0"),
        ({"use": "scaffold", "fraction": 0.0}, "fraction = 0.0"),
    ],
)
def test_impossible_rows_are_refused_with_key_value_and_remedy(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(row, "use", ALGORITHMS, "strategy")
