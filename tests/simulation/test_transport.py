"""Transports of the simulator: real bytes, who answers, and what a simulation must not hide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tacit.client.worker import Worker
from tacit.config import parse
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.population import Availability
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.transport import InMemory, SimulationError, Vectorised
from tacit.strategies.messages import Reply, Request
from tacit.strategies.steps import Asked

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 6
[rounds]
total = 2
[local]
use = "sgd"
lr = 0.3
[privacy]
delta = 1e-4
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "encode" }, { stage = "skellam", noise_multiplier = 2.0 } ]
[budget]
epsilon = inf
"""
ENGINES = ["in-memory", "plain-loop"]


def simulation(engine: str, **changes: Any) -> Simulation:
    return prepare(parse(TEXT, changes), seed=4, engine=engine, device="cpu")


def requests(made: Simulation, owners: list[int] | None = None, **changes: Any) -> list[Request]:
    recipe = made.federation.recipe(made.federation.pipeline)
    first = Request("run", 1, 0, 0, recipe, torch.zeros(31))
    return [replace(first, owner=owner, **changes) for owner in (range(6) if owners is None else owners)]


def gathered(made: Simulation, asked: Sequence[Asked]) -> list[Reply]:
    return list(made.transport.gather(asked, 1.0))


def test_one_reply_an_owner_in_memory_and_one_for_all_from_an_engine() -> None:
    workers, engine = (simulation(name) for name in ENGINES)
    each = gathered(workers, requests(workers))
    (together,) = gathered(engine, requests(engine))
    assert [reply.owners for reply in each] == [(owner,) for owner in range(6)]
    assert together.owners == tuple(range(6))
    ring = together.ring
    assert ring == each[0].ring == 20
    total = sum(reply.total for reply in each) % (1 << ring)
    assert torch.equal(together.total, total)
    assert {(r.run, r.round, r.attempt, r.status) for r in (*each, together)} == {("run", 1, 0, "ok")}


def test_every_request_and_reply_becomes_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[tuple[bytes, bytes]] = []
    handle = Worker.handle

    def listening(self: Worker, frame: bytes) -> bytes:
        frames.append((frame, handle(self, frame)))
        return frames[-1][1]

    monkeypatch.setattr(Worker, "handle", listening)
    made = simulation("in-memory")
    gathered(made, requests(made))
    assert len(frames) == 6
    assert all(isinstance(part, bytes) for pair in frames for part in pair)
    assert {len(reply) for _, reply in frames} == {len(frames[0][1])}


@pytest.mark.parametrize("engine", ENGINES)
def test_who_does_not_answer_has_no_reply_and_did_not_train(engine: str) -> None:
    made = simulation(engine, **{"strategy": {"use": "scaffold"}, "population.dropout": 0.5})
    asked = requests(made, weights=torch.zeros(31), broadcast=torch.zeros(31))
    replies = gathered(made, asked)
    answered = {owner for reply in replies for owner in reply.owners}
    usual = Availability(0.5)
    assert answered == {o for o in range(6) if usual.answers(made.transport.entropy, 1, 0, o)}
    assert 0 < len(answered) < 6
    assert set(made.transport.memories) == answered


@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_asked_or_nobody_there_is_no_reply(engine: str) -> None:
    made = simulation(engine)
    assert gathered(made, []) == []
    made.transport.availability = Availability(dropout=1.0)
    assert gathered(made, requests(made)) == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_contribution_that_is_not_finite_stops_the_simulation_and_names_the_owner(engine: str, value: float) -> None:
    made = simulation(engine)
    made.population.training.inputs[int(made.population.shares[4][0]), 2] = value
    with pytest.raises(SimulationError, match=r"round 1, owner 4: the local update is not finite \(lower local\.lr"):
        gathered(made, requests(made))
    assert gathered(made, requests(made, [0, 1, 2, 3, 5]))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_owner_is_named_in_any_batch(engine: str) -> None:
    made = simulation(engine)
    if isinstance(made.transport, Vectorised):
        made.transport.engine = PlainLoop(2)
    made.population.training.inputs[int(made.population.shares[5][0]), 2] = math.nan
    with pytest.raises(SimulationError, match="owner 5"):
        gathered(made, requests(made))


def test_a_recipe_that_every_owner_refuses() -> None:
    for engine in ENGINES:
        made = simulation(engine)
        bad = requests(made, weights=torch.zeros(30))
        if engine == "in-memory":
            replies = gathered(made, bad)
            assert {(reply.status, reply.total) for reply in replies} == {("refused", None)}
            assert "carries 30" in replies[0].reason
        else:
            with pytest.raises(SimulationError, match="every owner refuses: the model has 31 numbers"):
                gathered(made, bad)


def test_nothing_leaves_unmasked_under_the_name_of_a_mask() -> None:
    rows = [
        {"stage": "clip", "norm": 0.5},
        {"stage": "encode"},
        {"stage": "skellam", "noise_multiplier": 2.0},
        {"stage": "mask"},
    ]
    made = simulation("in-memory", **{"privacy.pipeline": rows})
    assert made.federation.pipeline.final.masked
    replies = gathered(made, requests(made))  # a coordinator that asks for messages in the clear
    assert {(reply.status, reply.code, reply.total) for reply in replies} == {("refused", "mask", None)}


def test_a_transport_shows_neither_data_nor_randomness() -> None:
    for engine in ENGINES:
        made = simulation(engine)
        assert "entropy" not in repr(made.transport).lower().replace("entropyerror", "")
        assert "shares" not in repr(made.transport)
        assert isinstance(made.transport, InMemory if engine == "in-memory" else Vectorised)
    assert PlainLoop().name == "plain-loop"
