"""Planner: the first engine that accepts and pays, with the reasons of those before it; one by name if it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tacit.client.worker import Plan
from tacit.config import Config, parse
from tacit.privacy.pipeline import pipeline
from tacit.simulation.engines.planner import NAMES, EngineError, chosen_engine
from tacit.simulation.population import Population
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.transport import SimulationError, Vectorised
from tacit.strategies.algorithm import Algorithm
from tacit.strategies.learner import Learner
from tacit.strategies.solvers import Sgd
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.models import mlp
from tacit.tasks.trainable import Trainable
from torch import nn

TEXT = """
[task]
use = "digits"
model = "mlp"
[population]
owners = 20
[rounds]
total = 2
[local]
use = "sgd"
lr = 0.3
batch = 10
steps = 1
[privacy]
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = inf
[evaluation]
every = 2
"""
CLIPPED = {"use": "clipped-gradient", "norm": 1.0, "denominator": 70.0}
STEPPING = {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.1, "denominator": 7.0}


def config(**changes: Any) -> Config:
    return parse(TEXT, changes)


def prepared(engine: str = "auto", **changes: Any) -> Simulation:
    return prepare(config(**changes), seed=2, engine=engine, device="cpu")


CHOICES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "stacked", "not low-rank: 2410 weights of Linear layers are few enough"),
    ({"local": {"use": "adam"}}, "stacked", "not low-rank: Adam does not step linearly"),
    ({"local": CLIPPED}, "example-level", "not low-rank: ClippedGradient does not step linearly"),
    ({"local": STEPPING, "privacy.pipeline": []}, "example-level", "not stacked: DpSgd is not plain descent"),
    ({"strategy": {"use": "scaffold"}}, "plain-loop", "Scaffold has owners do more than train"),
    ({"task.model": "cnn"}, "stacked", "not low-rank: 1290 weights of Linear layers are few enough"),
    ({"task.model": "cnn", "local": {"use": "adam"}}, "stacked", "not low-rank: Adam does not step linearly"),
    ({"task": {"use": "topics", "context": 8}}, "vmapped", "(Lstm) is neither Linear nor an elementwise function"),
    (
        {"task.model": "cnn", "local": CLIPPED},
        "example-level",
        "not low-rank: ClippedGradient does not step linearly in the gradients",
    ),
    ({"task.model": "cnn", "strategy": {"use": "scaffold"}}, "plain-loop", "not vmapped: Scaffold has owners do more"),
]


@pytest.mark.parametrize(("changes", "name", "why"), CHOICES)
def test_the_first_engine_that_accepts_and_pays_is_taken(changes: dict[str, Any], name: str, why: str) -> None:
    simulation = prepared(**changes)
    assert simulation.engine == name
    assert why in simulation.why
    assert "\n" not in simulation.why


@pytest.mark.parametrize(
    ("examples", "name", "why"), [(20, "low-rank", "never formed"), (90, "stacked", "90 rows an owner")]
)
def test_wide_layers_and_few_examples_are_of_low_rank(examples: int, name: str, why: str) -> None:
    module = mlp(64, 200, 200, 10)
    learner = Learner(module, cross_entropy, Trainable(module))
    training = Examples(torch.randn(2 * examples, 64), torch.zeros(2 * examples, dtype=torch.int64))
    population = Population(training, list(np.arange(2 * examples).reshape(2, examples)))
    solver = Sgd(batch=10)
    choice = chosen_engine(
        Plan(solver, Algorithm(), pipeline(solver.declare(learner.dim, 2, 2), [])), learner, population
    )
    assert choice.engine.name == name
    assert why in choice.why


def test_what_becomes_of_each_layer_is_said() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 100), nn.ReLU(), nn.Linear(100, 2)
    )
    learner = Learner(module, cross_entropy, Trainable(module))
    training = Examples(torch.randn(20, 3, 16, 16), torch.zeros(20, dtype=torch.int64))
    population = Population(training, list(np.arange(20).reshape(2, 10)))
    solver = Sgd(batch=10)
    plan = Plan(solver, Algorithm(), pipeline(solver.declare(learner.dim, 2, 2), []))
    choice = chosen_engine(plan, learner, population)
    assert choice.engine.name == "low-rank"
    assert choice.why.endswith("(288→100 of low rank, 100→2 as numbers, 3∗8 owner by owner)")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"use": "topics", "context": 8}, "(Embedding, Linear by the weights of their owners)"),
        ({"use": "digits", "model": "cnn"}, "asked for (mapped over the owners as a whole)"),
    ],
)
def test_by_which_way_a_module_runs_side_by_side_is_said(task: dict[str, Any], said: str) -> None:
    assert prepared("vmapped", task=task).why.endswith(said)


@pytest.mark.parametrize("name", ["low-rank", "stacked", "vmapped", "plain-loop"])
def test_an_engine_can_be_asked_for(name: str) -> None:
    simulation = prepared(name, local={"use": "sgd", "epochs": 3, "batch": 10})
    assert simulation.engine == name
    assert isinstance(simulation.transport, Vectorised)
    assert simulation.transport.engine.name == name


def test_an_engine_that_cannot_is_refused_with_its_reason_and_an_unknown_one_by_name() -> None:
    with pytest.raises(
        EngineError, match='engine = "low-rank": Adam does not step linearly in the gradients; leave it out'
    ):
        prepared("low-rank", local={"use": "adam"})
    with pytest.raises(ValueError, match=r"'steam': unknown; give auto, in-memory or one of low-rank, .*plain-loop"):
        prepared("steam")


def weights(engine: str, **changes: Any) -> torch.Tensor:
    simulation = prepared(engine, **changes)
    list(simulation.rounds())
    return simulation.progress.weights


CLIP = {"stage": "clip", "norm": 0.5}
PIPELINES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "clip": [CLIP],
    "two clips": [CLIP, {"stage": "clip", "norm": 0.4}],
    "central": [CLIP, {"stage": "central-gaussian", "noise_multiplier": 1.0}],
    "central in a ring": [
        CLIP,
        {"stage": "central-gaussian", "noise_multiplier": 1.0},
        {"stage": "encode", "bits": 48},
    ],
    "adaptive": [{"stage": "adaptive-clip", "norm": 0.5}, {"stage": "central-gaussian", "noise_multiplier": 1.0}],
    "own": [CLIP, {"stage": "own-gaussian", "noise_multiplier": 1.0}],
    "discrete": [CLIP, {"stage": "encode"}, {"stage": "discrete-gaussian", "noise_multiplier": 1.0}],
}


@pytest.mark.parametrize("stages", PIPELINES)
def test_every_pipeline_ends_in_the_model_of_the_plain_loop(stages: str) -> None:
    """Noise is the same draw; where integers are rounded from updates 2⁻²⁰ apart, single coordinates may differ by a step."""
    given = {"privacy.pipeline": PIPELINES[stages]}
    expected, begun = weights("plain-loop", **given), prepared().progress.weights
    moved = float((expected - begun).norm())
    apart = 1e-2 if stages == "discrete" else 2.0**-14
    for name in (*NAMES[:2], "vmapped"):
        assert float((weights(name, **given) - expected).norm()) <= apart * moved


@pytest.mark.parametrize("engine", ["low-rank", "stacked", "vmapped"])
@pytest.mark.parametrize("stages", ["nothing", "central", "own"])
def test_an_owner_whose_update_is_not_finite_is_named(engine: str, stages: str) -> None:
    simulation = prepared(engine, **{"privacy.pipeline": PIPELINES[stages]})
    training, shares = simulation.population.training, simulation.population.shares
    training.inputs[shares[7]] = float("inf")
    with pytest.raises(SimulationError, match=r"round [12], owner 7: the local update is not finite"):
        list(simulation.rounds())


def test_the_command_line_offers_the_engines_that_there_are() -> None:
    from tacit.commands.simulate import Engine

    assert [each.value for each in Engine] == ["auto", *NAMES, "in-memory"]


@pytest.mark.parametrize("engine", ["low-rank", "stacked", "vmapped"])
def test_a_run_that_stopped_ends_in_the_same_bits(engine: str, tmp_path: Path) -> None:
    whole = prepared(engine, **{"rounds.total": 4})
    list(whole.rounds())
    given: dict[str, Any] = {"seed": 2, "engine": engine, "device": "cpu", "checkpoint": tmp_path / "kept"}
    stopped = prepare(config(**{"rounds.total": 4}), **given)
    next(stopped.rounds())  # leaves at the first evaluation, after two of four
    again = prepare(config(**{"rounds.total": 4}), resume=True, **given)
    assert again.progress.round == 2
    list(again.rounds())
    assert torch.equal(again.progress.weights, whole.progress.weights)
