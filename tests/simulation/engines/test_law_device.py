"""Law: on an accelerator everything of a group stays there, and no step waits for a number from it.

Tensors without contents stand for those of the accelerator: an operation that mixes devices fails with them, and so does
whatever would have to look at a number (`.item()`, `bool(…)`, `nonzero`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tacit.client.worker import Plan, agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.factors import Factors
from tacit.privacy.outer import Outer, Rows
from tacit.simulation.engines import vmapped
from tacit.simulation.engines.chain import known_chain
from tacit.simulation.engines.engine import Engine
from tacit.simulation.engines.example_level import Clipped, ExampleLevel, filled
from tacit.simulation.engines.fitness import Fit, routes_of
from tacit.simulation.engines.low_rank import LowRank
from tacit.simulation.engines.stacked import Stacked
from tacit.simulation.engines.vmapped import Vmapped
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.language import Block
from tacit.tasks.losses import cross_entropy
from tacit.tasks.models import mlp
from tacit.tasks.trainable import Trainable
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

DEVICE = "lazy:0"  # a kind of device that torch knows by name on every machine, and that no machine has
SIZES = [7, 1, 0, 12, 7]
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"use": "sgd", "lr": 0.2, "batch": 5, "epochs": 2},
    "momentum and decay": {"use": "sgd", "lr": 0.1, "batch": 5, "epochs": 2, "momentum": 0.9, "weight_decay": 0.05},
    "prox": {"use": "prox", "lr": 0.2, "mu": 0.4, "batch": 5, "epochs": 2},
    "adam": {"use": "adam", "lr": 0.01, "batch": 5, "epochs": 2},
}

CLIPPING: dict[str, dict[str, Any]] = {
    "clipped-gradient": {"use": "clipped-gradient", "norm": 0.7, "denominator": 10.0},
    "dp-sgd": {
        "use": "dp-sgd", "norm": 0.7, "noise_multiplier": 0.8, "rate": 0.4, "denominator": 4.0, "steps": 2, "momentum": 0.5,
    },
}  # fmt: skip


def chain() -> nn.Sequential:
    return mlp(18, 9, 7, 4)


def image() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(4, 6),
        nn.Tanh(),
        nn.Linear(6, 4),
    )


def recurrent() -> nn.Module:
    return nn.Sequential(nn.Embedding(4, 6), Last(nn.LSTM(6, 5, batch_first=True)), nn.Linear(5, 4))


class Last(nn.Module):
    """The outputs of a recurrent layer, without its states."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.cell(values)[0]
        return outputs


MODELS = {
    "chain": (chain, (18,)),
    "image": (image, (2, 3, 3)),
    "recurrent": (recurrent, (5,)),
    "block": (lambda: nn.Sequential(nn.Embedding(4, 6), Block(6, 2), nn.Linear(6, 4)), (5,)),
    "residual": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 2), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 4)),
        (2, 3, 3),
    ),
}
ENGINES: tuple[tuple[Engine, tuple[str, ...]], ...] = (
    (LowRank(), ("chain", "image")),
    (Stacked(), ("chain", "image")),
    (Vmapped(), ("chain", "recurrent", "block", "residual")),
)
CASES = [
    (engine, model, solver)
    for engine, models in ENGINES
    for model in models
    for solver in SOLVERS
    if not (engine.name == "low-rank" and solver == "adam")
]

BY_EXAMPLES = [(ExampleLevel(), model, solver) for model in ("chain", "image") for solver in CLIPPING]


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(nn.Module, "to", lambda module, device: module)  # models are made where they are to be
    # Whether a module fits is found out once, by numbers; here it does, and what is looked at is the training.
    monkeypatch.setattr(vmapped, "fit_of", lambda learner, training: Fit(routes_of(learner)[0], 1000))
    with FakeTensorMode():
        yield


def at(device: str, model: str, solver: dict[str, Any]) -> tuple[Plan, Learner, list[Request], Population]:
    make, shape = MODELS[model]
    with torch.device(device):
        module = make()
    learner = Learner(module, cross_entropy, Trainable(module), device)
    count = sum(SIZES)
    if model in ("recurrent", "block"):
        training = Examples(torch.randint(0, 4, (count, *shape)), torch.randint(0, 4, (count, *shape)))
    else:
        training = Examples(torch.randn(count, *shape), torch.randint(0, 4, (count,)))
    population = Population(training, np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1]))
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, len(SIZES), 5)
    recipe = Recipe(solver, {"use": "fedavg"}, (), 1, len(SIZES), terms)
    requests = [Request("run", 1, 0, owner, recipe, learner.weights()) for owner in range(len(SIZES))]
    return agreed(requests[0], learner), learner, requests, population


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize(("engine", "model", "solver"), CASES, ids=lambda value: getattr(value, "name", value))
def test_a_group_stays_on_the_device_and_no_step_waits_for_it(engine: Engine, model: str, solver: str) -> None:
    plan, learner, requests, population = at(DEVICE, model, SOLVERS[solver])
    updates = engine.train(plan, learner, requests, population, SeededEntropy(1), {})
    clipped = updates.scaled(torch.ones(len(SIZES), dtype=torch.float64, device=DEVICE))
    for each in (updates, clipped):
        assert each.total().device == torch.device(DEVICE)
        assert each.dense().device == torch.device(DEVICE)
    assert population.resident(DEVICE) is population.resident(DEVICE)
    if isinstance(updates, Factors):  # the one question that norms ask
        with pytest.raises(RuntimeError):
            updates.norms()


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize("model", ["chain", "image"])
def test_what_examples_are_clipped_by_stays_on_the_device(model: str) -> None:
    _, learner, requests, population = at(DEVICE, model, CLIPPING["clipped-gradient"])
    work = Clipped(known_chain(learner.module, learner.trainable), learner, population, requests, SeededEntropy(1))
    rows, used = (each.to(DEVICE) for each in filled(work.shares()))
    parts = work._parts(work.start()[None], rows, used)
    assert {type(part) for part in parts} == ({Outer} if model == "chain" else {Outer, Rows})
    for part in parts:
        held = [part.values] if isinstance(part, Rows) else [part.inputs, part.errors]
        assert all(each.device == torch.device(DEVICE) for each in held)


@pytest.mark.usefixtures("weightless")
def test_the_law_can_fail() -> None:
    plan, learner, requests, population = at(DEVICE, "chain", SOLVERS["sgd"])
    training = population.training
    with pytest.raises(RuntimeError):
        training.inputs.index_select(0, torch.arange(3, device=DEVICE))
    with pytest.raises(RuntimeError):
        float(torch.ones(3, device=DEVICE).sum())
    assert (plan, learner, requests) is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
@pytest.mark.parametrize(
    ("engine", "model", "solver"), [*CASES, *BY_EXAMPLES], ids=lambda value: getattr(value, "name", value)
)
def test_an_accelerator_gives_what_the_processor_gives(engine: Engine, model: str, solver: str) -> None:
    torch.manual_seed(0)
    how = {**SOLVERS, **CLIPPING}[solver]
    expected = [at("cpu", model, how)]
    torch.manual_seed(0)
    found = [at("cuda", model, how)]
    one, other = (engine.train(*each[:3], each[3], SeededEntropy(1), {}).dense().cpu() for each in (*expected, *found))
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
