"""Engines: the plain loop takes owners one after the other, in the order that it was asked, and mixes nothing of theirs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from tacit.client.worker import agreed, train
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

ENTROPY = SeededEntropy(3)
OWNERS = 6
TERMS = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, OWNERS, 5)


def learner(module: nn.Module | None = None) -> Learner:
    torch.manual_seed(0)
    made = module or nn.Linear(3, 2)
    return Learner(made, cross_entropy, Trainable(made))


def population() -> Population:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 3, generator=generator)
    return Population(Examples(inputs, (inputs[:, 0] > 0).long()), list(np.arange(30).reshape(OWNERS, 5)))


def requests(order: list[int], dim: int, algorithm: str = "fedavg", round: int = 1) -> list[Request]:
    solver = {"use": "sgd", "lr": 0.3, "steps": 3, "batch": 2}
    recipe = Recipe(solver, {"use": algorithm}, ({"stage": "clip", "norm": 1.0},), 1, OWNERS, TERMS)
    broadcast = torch.zeros(dim if algorithm == "scaffold" else 0)
    return [Request("run", round, 0, owner, recipe, torch.zeros(dim), broadcast) for owner in order]


def trained(
    order: list[int], memories: dict[int, Tensor] | None = None, algorithm: str = "fedavg", **given: int
) -> Tensor:
    model = learner()
    asked = requests(order, model.dim, algorithm, **given)
    memories = {} if memories is None else memories
    return PlainLoop().train(agreed(asked[0], model), model, asked, population(), ENTROPY, memories).dense()


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
@pytest.mark.parametrize("order", [[0], [5, 0, 3], [2, 1, 0, 5, 4, 3]])
def test_rows_come_in_the_order_asked_and_are_each_owners_own_work(order: list[int], algorithm: str) -> None:
    rows = trained(order, algorithm=algorithm)
    model = learner()
    for row, asked in zip(rows, requests(order, model.dim, algorithm), strict=True):
        alone, _ = train(agreed(asked, model), model, asked, population().examples(asked.owner), ENTROPY, None)
        assert torch.equal(row, alone)


def test_memories_are_read_and_brought_up_to_date() -> None:
    memories: dict[int, Tensor] = {}
    trained([0, 1], memories, "scaffold")
    assert sorted(memories) == [0, 1]
    kept = memories[0].clone()
    trained([1, 2], memories, "scaffold", round=2)
    assert sorted(memories) == [0, 1, 2]
    assert torch.equal(memories[0], kept)
    assert torch.equal(trained([0], {0: kept}, "scaffold", round=2), trained([0], dict(memories), "scaffold", round=2))
    assert not torch.equal(trained([0], {}, "scaffold", round=2), trained([0], {0: kept}, "scaffold", round=2))


def test_an_algorithm_without_memory_leaves_none() -> None:
    memories: dict[int, Tensor] = {}
    trained([0, 1], memories)
    assert memories == {}


def test_what_a_model_draws_is_each_owners_own() -> None:
    """Dropout: a cohort of two draws what each would draw alone."""
    model = learner(nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)))
    both = requests([3, 4], model.dim)
    plan = agreed(both[0], model)
    together = PlainLoop().train(plan, model, both, population(), ENTROPY, {}).dense()
    alone = PlainLoop().train(plan, model, both[1:], population(), ENTROPY, {}).dense()
    assert torch.equal(together[1:], alone)


NOISE = {"use": "dp-sgd", "norm": 2.0, "noise_multiplier": 3.0, "rate": 0.5, "denominator": 4.0, "lr": 0.5, "steps": 2}


def test_owners_with_the_same_data_draw_their_own_batches() -> None:
    """Two owners with the same share part ways, and so do two rounds of one owner."""
    shared = Population(population().training, [np.arange(20)] * OWNERS)
    model = learner()
    first, second = requests([0, 1], model.dim), requests([0, 1], model.dim, round=2)
    plan = agreed(first[0], model)
    rows = [
        row for asked in (first, second) for row in PlainLoop().train(plan, model, asked, shared, ENTROPY, {}).dense()
    ]
    assert len({row.numpy().tobytes() for row in rows}) == 4


def test_the_noise_of_dp_sgd_is_each_owners_and_each_rounds_own_and_as_large_as_declared() -> None:
    """Owners without examples send −lr·Σ noise/denominator and nothing else: 300 of them, uncorrelated, by χ² (10⁻⁶)."""
    nobody = Population(population().training, [np.arange(0)] * 60)
    model = learner()
    rows = []
    for number in range(1, 6):
        asked = [
            replace(each, recipe=replace(each.recipe, solver=NOISE, pipeline=()))
            for each in requests(list(range(60)), model.dim, round=number)
        ]
        rows.append(PlainLoop().train(agreed(asked[0], model), model, asked, nobody, ENTROPY, {}).dense())
    noise = torch.cat(rows).to(torch.float64).numpy()
    deviation = 0.5 * math.sqrt(2) * 3.0 * 2.0 / 4.0
    found = float((noise**2).sum()) / deviation**2
    assert 2 * min(stats.chi2.cdf(found, noise.size), stats.chi2.sf(found, noise.size)) > 1e-6
    correlations = np.corrcoef(noise)[np.triu_indices(len(noise), 1)]
    assert np.abs(correlations).max() < 0.9999  # eight numbers a row: only a copy is this close
    assert abs(correlations.mean()) < 5.5 * correlations.std() / math.sqrt(len(noise))
