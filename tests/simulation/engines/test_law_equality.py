"""Law: every engine gives the updates of the plain loop, to the stated tolerance, whatever the task, solver and sizes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.client.worker import Plan, agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.updates import Updates
from tacit.simulation.engines.engine import TOLERANCE, Engine
from tacit.simulation.engines.example_level import ExampleLevel
from tacit.simulation.engines.low_rank import LowRank
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.engines.planner import ENGINES
from tacit.simulation.engines.stacked import Stacked
from tacit.simulation.population import Population
from tacit.strategies.federation import learner_for
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.catalogue import lookup
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.models import mlp
from tacit.tasks.task import Task
from torch import nn

ENTROPY = SeededEntropy(11)
UNEVEN = [7, 1, 0, 12, 7, 3, 25, 10]  # examples of each owner: nobody, one, exact and partial batches

TASKS: dict[str, dict[str, Any]] = {
    "digits softmax": {"use": "digits"},
    "digits mlp": {"use": "digits", "model": "mlp"},
    "digits cnn": {"use": "digits", "model": "cnn"},
    "breast-cancer logistic": {"use": "breast-cancer"},
    "breast-cancer mlp": {"use": "breast-cancer", "model": "mlp"},
    "topics lstm": {"use": "topics", "context": 6},
    "topics transformer": {"use": "topics", "model": "transformer", "context": 6},
}
CLIPPED = {"use": "clipped-gradient", "norm": 0.7, "denominator": 10.0}
NOISED = {"use": "dp-sgd", "norm": 0.7, "noise_multiplier": 0.8, "rate": 0.4, "denominator": 4.0, "lr": 0.3}
SOLVERS: dict[str, dict[str, Any]] = {
    "one full batch": {"use": "sgd", "lr": 0.5},
    "sgd": {"use": "sgd", "lr": 0.2, "batch": 5, "epochs": 2},
    "steps": {"use": "sgd", "lr": 0.2, "batch": 4, "steps": 5},
    "momentum and decay": {"use": "sgd", "lr": 0.1, "batch": 5, "epochs": 2, "momentum": 0.9, "weight_decay": 0.05},
    "prox": {"use": "prox", "lr": 0.2, "mu": 0.4, "batch": 5, "epochs": 2, "momentum": 0.5, "weight_decay": 0.01},
    "adam": {"use": "adam", "lr": 0.01, "batch": 5, "epochs": 2, "weight_decay": 0.01},
    "clipped-gradient": CLIPPED,
    "dp-sgd": {**NOISED, "steps": 3, "momentum": 0.5},
    "dp-sgd without noise": {**NOISED, "noise_multiplier": 0.0, "steps": 4},
}


@cache
def task_of(name: str) -> Task:
    given = dict(TASKS[name])
    return lookup(given.pop("use"), None, **given)


@cache
def learner_of(name: str) -> Learner:
    return learner_for(task_of(name), 3)


def dealt(training: Examples, sizes: list[int]) -> Population:
    """Owners with these numbers of examples, in some order."""
    order = np.random.default_rng(5).permutation(len(training))
    return Population(training, np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1]))


def asked(learner: Learner, solver: dict[str, Any], owners: int, round: int = 1) -> tuple[Plan, list[Request]]:
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, owners, 5)
    recipe = Recipe(solver, {"use": "fedavg"}, (), 1, owners, terms)
    start = learner.weights() + 0.05 * torch.randn(learner.dim, generator=torch.Generator().manual_seed(round))
    requests = [Request("run", round, 0, owner, recipe, start) for owner in range(owners)]
    return agreed(requests[0], learner), requests


def trained(engine: Engine, learner: Learner, plan: Plan, requests: list[Request], population: Population) -> Updates:
    return engine.train(plan, learner, requests, population, ENTROPY, {})


def assert_close(engine: Engine, learner: Learner, solver: dict[str, Any], population: Population) -> None:
    """Vectors, norms and sum are those of the plain loop; the engine takes the owners in any order."""
    plan, requests = asked(learner, solver, len(population))
    expected = trained(PlainLoop(), learner, plan, requests, population).dense().to(torch.float64)
    found = trained(engine, learner, plan, requests, population)
    lengths = expected.norm(dim=1)
    apart = (found.dense() - expected).norm(dim=1)
    assert bool((apart <= TOLERANCE * lengths).all()), f"apart by {float((apart / lengths).nan_to_num().max()):.1e}"
    assert len(found) == len(requests)
    torch.testing.assert_close(found.norms(), lengths, rtol=TOLERANCE, atol=1e-12)
    assert float((found.total() - expected.sum(dim=0)).norm()) <= TOLERANCE * float(lengths.sum())
    backwards = trained(engine, learner, plan, requests[::-1], population)
    assert float((backwards.dense().flip(0) - expected).norm()) <= TOLERANCE * float(expected.norm())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_every_engine_that_accepts_gives_what_the_plain_loop_gives(task: str, solver: str) -> None:
    learner, population = learner_of(task), dealt(task_of(task).training(), UNEVEN)
    plan, _ = asked(learner, SOLVERS[solver], len(population))
    took = []
    for engine in ENGINES:
        if engine.accepts(plan, learner, population) is None:
            took.append(engine.name)
            if engine.name != "plain-loop":
                assert_close(engine, learner, SOLVERS[solver], population)
    linear = task.endswith(("softmax", "logistic", "mlp"))
    example = SOLVERS[solver]["use"] in ("clipped-gradient", "dp-sgd")
    fast = ["example-level"] if example else ["stacked"] if solver == "adam" else ["low-rank", "stacked"]
    assert took == [*(fast if linear or task.endswith("cnn") else []), "plain-loop"]


MODELS: dict[str, Any] = {
    "deep": lambda: mlp(6, 9, 8, 7, 4),
    "flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 4)),
    "functions": lambda: nn.Sequential(
        nn.Identity(), nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8), nn.ELU(0.7),
        nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.Softplus(2.0), nn.Linear(8, 8), nn.Sigmoid(),
        nn.Linear(8, 4), nn.Tanh(),
    ),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.GELU("tanh")), nn.Sequential(nn.Linear(8, 4))),
    "inplace": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 4)),
}  # fmt: skip
FROZEN = {
    "all trains": None,
    "head alone": ("*4.weight", "*4.bias", "2.weight", "3.weight", "*14.*", "13.*", "1.0.*"),
    "no biases": ("*weight",),
    "biases alone": ("*bias",),
}


def made(model: str, patterns: tuple[str, ...] | None) -> Learner | None:
    """A learner of which the patterns that match something train; None where none does."""
    from fnmatch import fnmatchcase

    from tacit.tasks.trainable import Trainable

    torch.manual_seed(1)
    module = MODELS[model]()
    names = [name for name, _ in module.named_parameters()]
    wanted = patterns and tuple(p for p in patterns if any(fnmatchcase(name, p) for name in names))
    return None if wanted == () else Learner(module, cross_entropy, Trainable(module, wanted))


def made_up(count: int) -> Examples:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(count, 6, generator=generator)
    return Examples(inputs, torch.randint(0, 4, (count,), generator=generator))


PARTS = [(frozen, "momentum and decay") for frozen in FROZEN] + [(frozen, "clipped-gradient") for frozen in FROZEN]


@pytest.mark.parametrize(("frozen", "solver"), [*PARTS, ("all trains", "adam"), ("all trains", "dp-sgd")])
@pytest.mark.parametrize("model", MODELS)
def test_every_chain_and_every_part_of_it_that_trains(model: str, frozen: str, solver: str) -> None:
    learner = made(model, FROZEN[frozen])
    if learner is None:
        pytest.skip("nothing of this model would train")
    population = dealt(made_up(80), UNEVEN)
    plan, _ = asked(learner, SOLVERS[solver], len(population))
    engines = [engine for engine in ENGINES[:-1] if engine.accepts(plan, learner, population) is None]
    refused = model == "inplace" and solver in ("clipped-gradient", "dp-sgd")  # as Opacus does
    assert len(engines) == (0 if refused else 2 if solver == "momentum and decay" else 1)
    for engine in engines:
        assert_close(engine, learner, SOLVERS[solver], population)


IMAGES: dict[str, Any] = {
    "one": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 4)),
    "usual": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(20, 7), nn.ReLU(), nn.Linear(7, 4),
    ),
    "strange": lambda: nn.Sequential(
        nn.AvgPool2d(2, stride=1), nn.Conv2d(2, 4, (2, 3), stride=(1, 2), padding=(1, 2), dilation=(2, 1), bias=False),
        nn.Tanh(), nn.MaxPool2d(2, stride=1, padding=1, ceil_mode=True), nn.Conv2d(4, 3, 1), nn.Flatten(),
        nn.GELU(), nn.Linear(90, 4),
    ),
    "inside": lambda: nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True)), nn.MaxPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 4)),
    ),
}  # fmt: skip
PARTS_OF_IMAGES = [
    ("usual", ("0.*", "8.*"), "momentum and decay"), ("usual", ("3.weight", "3.bias"), "momentum and decay"),
    ("usual", ("6.*", "8.*"), "sgd"), ("usual", ("*bias",), "adam"),
    ("one", ("0.*",), "momentum and decay"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "trained_parts", "solver"),
    [*((m, None, s) for m in IMAGES for s in ("sgd", "momentum and decay", "prox", "adam")), *PARTS_OF_IMAGES],
)
def test_convolutions_before_linear_layers(model: str, trained_parts: tuple[str, ...] | None, solver: str) -> None:
    from tacit.tasks.trainable import Trainable

    torch.manual_seed(4)
    module = IMAGES[model]()
    learner = Learner(module, cross_entropy, Trainable(module, trained_parts))
    generator = torch.Generator().manual_seed(2)
    images = Examples(torch.randn(80, 2, 6, 6, generator=generator), torch.randint(0, 4, (80,), generator=generator))
    population = dealt(images, UNEVEN)
    plan, _ = asked(learner, SOLVERS[solver], len(population))
    engines = [engine for engine in ENGINES if engine.accepts(plan, learner, population) is None]
    assert [engine.name for engine in engines[:2]] == (
        ["stacked", "plain-loop"] if solver == "adam" else ["low-rank", "stacked"]
    )
    for engine in engines:
        if engine.name in ("low-rank", "stacked"):
            assert_close(engine, learner, SOLVERS[solver], population)


@pytest.mark.parametrize("rows", [1, 12, 1000])
@pytest.mark.parametrize("frozen", [None, ("*weight",), ("*bias",)])
def test_layers_that_low_rank_is_not_worth_are_held_as_numbers(rows: int, frozen: tuple[str, ...] | None) -> None:
    """One wide and two narrow layers, of which as many are formed as there are rows for; `assert_close` is blind to it."""
    from tacit.simulation.engines.chain import chain_of
    from tacit.simulation.engines.formed import formed_of
    from tacit.tasks.trainable import Trainable

    torch.manual_seed(6)
    module = mlp(6, 40, 3, 4)
    learner = Learner(module, cross_entropy, Trainable(module, frozen))
    chain = chain_of(module, learner.trainable)
    assert not isinstance(chain, str)
    assert formed_of(chain, rows).held == {1: frozenset(), 12: frozenset({1, 2}), 1000: frozenset({0, 1, 2})}[rows]
    population = dealt(made_up(80), [min(rows, 30), 2, 5])
    solver = {**SOLVERS["momentum and decay"], "batch": 4, "epochs": 3 if rows > 30 else 1}
    assert_close(LowRank(), learner, solver, population)


def test_all_owners_at_once_are_what_one_after_the_other_gives() -> None:
    """What an accelerator computes as grouped convolutions, on the processor."""
    from tacit.simulation.engines.chain import chain_of
    from tacit.simulation.engines.front import Passage
    from tacit.tasks.trainable import Trainable

    class Together(Passage):
        def _turns(self, count: int) -> Any:
            return iter([slice(0, count)])

    for model, make in IMAGES.items():
        module = make()
        chain = chain_of(module, Trainable(module))
        assert not isinstance(chain, str)
        generator = torch.Generator().manual_seed(3)
        images = torch.randn(3, 4, 2, 6, 6, generator=generator)
        for vectors in (torch.randn(3, chain.dim, generator=generator), torch.randn(1, chain.dim, generator=generator)):
            apart, together = Passage(chain.front, vectors), Together(chain.front, vectors)
            features = apart.forward(images)
            torch.testing.assert_close(together.forward(images), features, rtol=1e-4, atol=1e-5, msg=model)
            errors = torch.randn(features.shape, generator=generator)
            one, other = torch.zeros(3, chain.dim), torch.zeros(3, chain.dim)
            apart.add_gradients(errors, one, 0.5)
            together.add_gradients(errors, other, 0.5)
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4, msg=model)
            rows = torch.zeros(3, 4, chain.dim), torch.zeros(3, 4, chain.dim)
            for passage, into in zip((apart, together), rows, strict=True):
                passage.add_gradients_of_examples(errors, into)
            torch.testing.assert_close(rows[0].sum(dim=1) * 0.5, one, rtol=1e-4, atol=1e-4, msg=model)
            torch.testing.assert_close(rows[1], rows[0], rtol=1e-4, atol=1e-4, msg=model)


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=7),
    batch=st.none() | st.integers(1, 6),
    pace=st.tuples(st.integers(1, 3), st.none()) | st.tuples(st.just(1), st.integers(1, 7)),
    momentum=st.sampled_from([0.0, 0.8]),
    decay=st.sampled_from([0.0, 0.1]),
    mu=st.sampled_from([None, 0.0, 0.5]),
)
@settings(max_examples=30, deadline=None)
def test_any_sizes_and_paces(
    sizes: list[int], batch: int | None, pace: tuple[int, int | None], momentum: float, decay: float, mu: float | None
) -> None:
    learner = made("deep", None)
    assert learner is not None
    solver = {"lr": 0.2, "batch": batch, "epochs": pace[0], "steps": pace[1], "momentum": momentum}
    solver |= {"use": "sgd", "weight_decay": decay} if mu is None else {"use": "prox", "weight_decay": decay, "mu": mu}
    for engine in (LowRank(), Stacked()):
        assert_close(engine, learner, solver, dealt(made_up(70), sizes))


@pytest.mark.parametrize("engine", [LowRank(3), Stacked(3), ExampleLevel(3), PlainLoop(3)], ids=lambda e: e.name)
def test_groups_deal_every_request_once_and_alike(engine: Engine) -> None:
    learner, population = learner_of("digits mlp"), dealt(task_of("digits mlp").training(), UNEVEN)
    solver = SOLVERS["clipped-gradient" if engine.name == "example-level" else "sgd"]
    plan, requests = asked(learner, solver, len(population))
    groups = engine.groups(plan, requests, population)
    assert sorted(request.owner for group in groups for request in group) == list(range(len(UNEVEN)))
    assert all(1 <= len(group) <= 3 for group in groups)
    assert engine.groups(plan, [], population) == []
    sizes = [[UNEVEN[request.owner] for request in group] for group in groups]
    if engine.name != "plain-loop":
        flat = [size for group in sizes for size in group]
        assert flat == sorted(flat, reverse=True)


@pytest.mark.parametrize("engine", [LowRank(), Stacked(), ExampleLevel()], ids=lambda e: e.name)
def test_an_owner_is_trained_alone_as_among_others_and_draws_its_own(engine: Engine) -> None:
    learner, population = learner_of("digits mlp"), dealt(task_of("digits mlp").training(), UNEVEN)
    solver = SOLVERS["dp-sgd" if engine.name == "example-level" else "sgd"]
    plan, requests = asked(learner, solver, len(population))
    together = trained(engine, learner, plan, requests, population).dense()
    for place in (0, 3, 6):
        alone = trained(engine, learner, plan, [requests[place]], population).dense()[0]
        assert float((alone - together[place]).norm()) <= TOLERANCE * float(alone.norm())
    again = trained(engine, learner, plan, requests, population).dense()
    assert torch.equal(again, together)
    later = [replace(request, round=2) for request in requests]
    assert not torch.equal(trained(engine, learner, plan, later, population).dense()[6], together[6])
