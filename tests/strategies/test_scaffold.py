"""SCAFFOLD: its laws, and Algorithm 1 (option II) of the paper written out."""

from __future__ import annotations

import math

import pytest
import torch
from tacit.privacy.entropy import SeededEntropy
from tacit.strategies.algorithms import AlgorithmError, FedAvg
from tacit.strategies.gradients import ClippedGradient, DpSgd
from tacit.strategies.learner import Learner
from tacit.strategies.local import Solver, streams_of
from tacit.strategies.scaffold import Scaffold
from tacit.strategies.solvers import Adam, Prox, Sgd
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

STREAMS = streams_of(SeededEntropy(1), 1, 0)


def model() -> Learner:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    return Learner(module, cross_entropy, Trainable(module))


def owner(count: int, seed: int) -> Examples:
    """Owners that differ: each sees inputs around a place of its own, and mostly one class."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 4, generator=generator) + seed
    return Examples(inputs, torch.full((count,), seed % 3, dtype=torch.int64))


def paper(learner: Learner, owners: list[Examples], lr: float, steps: int, rounds: int, server_lr: float) -> Tensor:
    """Algorithm 1 with full batches and everyone taking part."""
    x = learner.weights()
    c, own = torch.zeros_like(x), [torch.zeros_like(x) for _ in owners]
    for _ in range(rounds):
        moves, changes = [], []
        for i, examples in enumerate(owners):
            y = x.clone()
            for _ in range(steps):
                y = y - lr * (learner.gradient(y, examples) - own[i] + c)
            after = own[i] - c + (x - y) / (steps * lr)
            moves.append(y - x)
            changes.append(after - own[i])
            own[i] = after
        x = x + server_lr * torch.stack(moves).mean(0)
        c = c + torch.stack(changes).mean(0)
    return x


def rounds_of(
    algorithm: Scaffold | FedAvg, solver: Solver, learner: Learner, owners: list[Examples], rounds: int
) -> tuple[Tensor, dict[str, Tensor], list[Tensor | None]]:
    weights = learner.weights()
    state, memories = algorithm.initial(len(weights)), [None for _ in owners]
    for number in range(1, rounds + 1):
        rows = []
        for i, examples in enumerate(owners):
            row, memories[i] = algorithm.contribute(
                learner, solver, weights, algorithm.broadcast(state), memories[i], examples, STREAMS
            )
            rows.append(row)
        weights, state = algorithm.apply(weights, state, torch.stack(rows).mean(0), number, rounds)
    return weights, state, memories


def test_it_is_the_paper() -> None:
    learner, owners = model(), [owner(6, seed) for seed in (0, 1, 2)]
    found, _, _ = rounds_of(Scaffold(server_lr=0.9, fraction=1.0), Sgd(lr=0.05, steps=4), learner, owners, 5)
    torch.testing.assert_close(found, paper(learner, owners, 0.05, 4, 5, 0.9), atol=1e-5, rtol=1e-4)


def test_the_server_s_control_is_the_mean_of_the_owners() -> None:
    _, state, memories = rounds_of(
        Scaffold(fraction=1.0), Sgd(lr=0.05, steps=4), model(), [owner(6, seed) for seed in (0, 1, 2)], 4
    )
    torch.testing.assert_close(state["control"], torch.stack([m for m in memories if m is not None]).mean(0))


def test_a_first_turn_is_fedavg() -> None:
    learner, examples = model(), owner(6, 1)
    weights, zero = learner.weights(), torch.zeros(learner.dim)
    solver = Sgd(lr=0.1, batch=4)
    both, memory = Scaffold().contribute(learner, solver, weights, zero, None, examples, STREAMS)
    plain, _ = FedAvg().contribute(learner, solver, weights, zero, None, examples, STREAMS)
    assert torch.equal(both[: learner.dim], plain)
    # Option II: the new control is the mean gradient of the turn.
    torch.testing.assert_close(both[learner.dim :], -plain / (2 * 0.1))
    assert memory is not None
    assert torch.equal(memory, both[learner.dim :])


def test_it_ends_nearer_to_the_optimum_than_fedavg_where_owners_differ() -> None:
    learner, owners = model(), [owner(6, seed) for seed in (0, 1, 2)]
    union = Examples(torch.cat([o.inputs for o in owners]), torch.cat([o.targets for o in owners]))
    solver = Sgd(lr=0.05, steps=20)
    ends = [rounds_of(algorithm, solver, learner, owners, 40)[0] for algorithm in (Scaffold(fraction=1.0), FedAvg())]
    lengths = [float(learner.gradient(weights, union).norm()) for weights in ends]
    assert lengths[0] < lengths[1] / 2


def test_only_a_fraction_of_the_owners_moves_the_control_by_its_part() -> None:
    mean = torch.ones(10)
    _, state = Scaffold(fraction=0.25).apply(torch.zeros(5), Scaffold().initial(5), mean, 1, 2)
    assert state["control"].tolist() == [0.25] * 5


def test_a_federation_fills_the_fraction_in_and_nobody_guesses_it() -> None:
    assert Scaffold().for_cohort(0.3) == Scaffold(fraction=0.3)
    assert Scaffold(fraction=0.5).for_cohort(0.3) == Scaffold(fraction=0.5)
    assert FedAvg().for_cohort(0.3) == FedAvg()
    with pytest.raises(AlgorithmError, match="for_cohort"):
        Scaffold().apply(torch.zeros(5), Scaffold().initial(5), torch.ones(10), 1, 2)


def test_an_owner_without_examples_keeps_its_memory() -> None:
    learner = model()
    own = torch.ones(learner.dim)
    both, memory = Scaffold().contribute(learner, Sgd(), learner.weights(), own, own, owner(3, 0).subset([]), STREAMS)
    assert not both.any()
    assert both.shape == (2 * learner.dim,)
    assert memory is not None
    assert torch.equal(memory, own)


def test_a_turn_that_blew_up_is_forgotten() -> None:
    learner = model()
    own, weights = torch.ones(learner.dim), torch.full((learner.dim,), math.inf)
    both, memory = Scaffold().contribute(learner, Sgd(), weights, own, own, owner(3, 0), STREAMS)
    assert not torch.isfinite(both).all()
    assert memory is not None
    assert torch.equal(memory, own)


@pytest.mark.parametrize(
    "solver",
    [
        Sgd(momentum=0.9),
        Adam(),
        Prox(),
        ClippedGradient(norm=1.0, denominator=5),
        DpSgd(norm=1.0, noise_multiplier=1.0, rate=0.5, denominator=5),
    ],
)
def test_solvers_whose_steps_are_no_plain_gradients_are_refused(solver: Solver) -> None:
    learner = model()
    with pytest.raises(AlgorithmError, match=r"scaffold.*local\.use"):
        Scaffold().check(solver)
    # Again where it runs: an owner does not rely on the server's check.
    with pytest.raises(AlgorithmError, match=r"scaffold.*local\.use"):
        Scaffold().contribute(learner, solver, learner.weights(), torch.zeros(learner.dim), None, owner(3, 0), STREAMS)
