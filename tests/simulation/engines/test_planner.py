"""Planner: the first engine that accepts and pays, with the reasons of those before it; one by name if it can."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tacit.config import Config, parse
from tacit.simulation.engines.planner import NAMES, EngineError
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.transport import SimulationError, Vectorised

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
    ({}, "low-rank", "low rank, never formed"),
    ({"local": {"use": "sgd", "epochs": 3, "batch": 10}}, "stacked", "not low-rank: 2"),
    ({"local": {"use": "adam"}}, "stacked", "not low-rank: Adam does not step linearly"),
    ({"local": CLIPPED}, "example-level", "not low-rank: ClippedGradient does not step linearly"),
    ({"local": STEPPING, "privacy.pipeline": []}, "example-level", "not stacked: DpSgd is not plain descent"),
    ({"strategy": {"use": "scaffold"}}, "plain-loop", "Scaffold has owners do more than train"),
    ({"task.model": "cnn"}, "plain-loop", "(Cnn) is neither Linear nor an elementwise function"),
]


@pytest.mark.parametrize(("changes", "name", "why"), CHOICES)
def test_the_first_engine_that_accepts_and_pays_is_taken(changes: dict[str, Any], name: str, why: str) -> None:
    simulation = prepared(**changes)
    assert simulation.engine == name
    assert why in simulation.why
    assert "\n" not in simulation.why


@pytest.mark.parametrize("name", ["low-rank", "stacked", "plain-loop"])
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


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_ends_in_the_model_of_the_plain_loop(pipeline: str) -> None:
    """Noise is the same draw; where integers are rounded from updates 2⁻²⁰ apart, single coordinates may differ by a step."""
    given = {"privacy.pipeline": PIPELINES[pipeline]}
    expected, begun = weights("plain-loop", **given), prepared().progress.weights
    moved = float((expected - begun).norm())
    apart = 1e-2 if pipeline == "discrete" else 2.0**-14
    for name in NAMES[:2]:
        assert float((weights(name, **given) - expected).norm()) <= apart * moved


@pytest.mark.parametrize("engine", ["low-rank", "stacked"])
@pytest.mark.parametrize("pipeline", ["nothing", "central", "own"])
def test_an_owner_whose_update_is_not_finite_is_named(engine: str, pipeline: str) -> None:
    simulation = prepared(engine, **{"privacy.pipeline": PIPELINES[pipeline]})
    training, shares = simulation.population.training, simulation.population.shares
    training.inputs[shares[7]] = float("inf")
    with pytest.raises(SimulationError, match=r"round [12], owner 7: the local update is not finite"):
        list(simulation.rounds())
