"""Precision: large products in fewer bits give nearly the same updates, and nothing else is computed in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tacit.client.worker import Plan, agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.engines.low_rank import LowRank
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.engines.planner import EngineError, chosen_engine
from tacit.simulation.engines.precision import PRECISIONS
from tacit.simulation.engines.stacked import Stacked
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.models import mlp
from tacit.tasks.trainable import Trainable
from torch import nn

SGD = {"use": "sgd", "lr": 0.2, "batch": 5, "epochs": 2}
MODELS = {
    "chain": lambda: mlp(18, 60, 60, 4),
    "image": lambda: nn.Sequential(
        nn.Conv2d(2, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 20),
        nn.ReLU(), nn.Linear(20, 4),
    ),
}  # fmt: skip
SHAPES = {"chain": (18,), "image": (2, 3, 3)}


def work(model: str, solver: dict[str, Any]) -> tuple[Plan, Learner, list[Request], Population]:
    torch.manual_seed(1)
    module = MODELS[model]()
    learner = Learner(module, cross_entropy, Trainable(module))
    training = Examples(torch.randn(30, *SHAPES[model]), torch.randint(0, 4, (30,)))
    population = Population(training, list(np.arange(30).reshape(3, 10)))
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 3, 5)
    recipe = Recipe(solver, {"use": "fedavg"}, (), 1, 3, terms)
    requests = [Request("run", 1, 0, owner, recipe, learner.weights()) for owner in range(3)]
    return agreed(requests[0], learner), learner, requests, population


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("engine", [LowRank(), Stacked(), PlainLoop()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("model", MODELS)
def test_updates_are_nearly_those_of_float32_and_are_float32(model: str, engine: Any, precision: str) -> None:
    plan, learner, requests, population = work(model, SGD)
    expected = engine.train(plan, learner, requests, population, SeededEntropy(1), {}).dense()
    narrow = replace(engine, precision=PRECISIONS[precision])
    found = narrow.train(plan, learner, requests, population, SeededEntropy(1), {}).dense()
    apart = float((found - expected).norm() / expected.norm())
    assert found.dtype == torch.float32
    assert 1e-5 < apart < (0.1 if precision == "bfloat16" else 0.02)


def test_the_planner_takes_it_or_says_who_cannot() -> None:
    plan, learner, _, population = work("chain", SGD)
    choice = chosen_engine(plan, learner, population, precision="bfloat16")
    assert choice.engine.precision == torch.bfloat16  # type: ignore[attr-defined]  # not every engine has one
    with pytest.raises(EngineError, match="precision = 'half': unknown; give one of float32, bfloat16, float16"):
        chosen_engine(plan, learner, population, precision="half")
    plan, learner, _, population = work("chain", {"use": "clipped-gradient", "norm": 1.0, "denominator": 10.0})
    with pytest.raises(EngineError, match="example-level computes in float32 alone"):
        chosen_engine(plan, learner, population, precision="bfloat16")
