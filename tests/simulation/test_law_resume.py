"""Law 8 in the simulator: stopped after any round, or anywhere within one, a run goes on to the same bits.

Each kind carries another state between rounds: an adapting norm, owners' memories, the server's moments, the tail's sum.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tacit.config import Config, parse
from tacit.privacy.pipeline import Pipeline
from tacit.server.coordinator import Round
from tacit.simulation.run import Simulation, prepare

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 8
dropout = 0.1
straggler = 0.1
[rounds]
total = 5
quorum = 0.2
attempts = 20
participation = { use = "poisson", rate = 0.6 }
[local]
use = "sgd"
lr = 0.3
batch = 20
[privacy]
delta = 1e-4
pipeline = [ { stage = "adaptive-clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = inf
[evaluation]
every = 2
"""
ROUNDS = 5
KINDS: dict[str, dict[str, Any]] = {
    "adaptive": {},
    "scaffold": {"strategy": {"use": "scaffold", "tail_average": 0.5}},
    "fedadam": {"strategy": {"use": "fedadam", "tail_average": 0.8}},
    "measured": {
        "privacy.pipeline": [
            {"stage": "adaptive-clip", "norm": 0.5}, {"stage": "measure"},
            {"stage": "central-gaussian", "noise_multiplier": 2.0},
        ],
        "evaluation.on": "owners",
    },
    "shares": {
        "privacy.pipeline": [
            {"stage": "adaptive-clip", "norm": 0.5}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0},
        ],
        "strategy": {"use": "fedavgm"},
    },
}  # fmt: skip


def config(kind: str) -> Config:
    return parse(TEXT, KINDS[kind])


def made(kind: str, engine: str, **options: Any) -> Simulation:
    return prepare(config(kind), seed=9, engine=engine, device="cpu", **options)


def fingerprint(simulation: Simulation) -> dict[str, Any]:
    """All that a finished run is, but its seconds."""
    progress = simulation.progress
    return {
        "round": progress.round,
        "weights": progress.weights.numpy().tobytes(),
        "final": simulation.model_vector().numpy().tobytes(),
        "algorithm": {name: tensor.numpy().tobytes() for name, tensor in progress.algorithm.items()},
        "pipeline": progress.pipeline,
        "ledger": simulation.ledger.entries,
        "rows": [(row.number, dict(row.metrics), row.epsilon, row.measured) for row in simulation.rows],
        "memories": {owner: tensor.numpy().tobytes() for owner, tensor in simulation.transport.memories.items()},
        "trained": simulation.trained,
        "notes": simulation.notes,
    }


WHOLE: dict[tuple[str, str], dict[str, Any]] = {}


def undisturbed(kind: str, engine: str) -> dict[str, Any]:
    if (kind, engine) not in WHOLE:
        simulation = made(kind, engine)
        list(simulation.rounds())
        WHOLE[kind, engine] = fingerprint(simulation)
    return WHOLE[kind, engine]


class Stopped(Exception):
    """What stops a run from inside."""


Stop = Callable[[Simulation, int, pytest.MonkeyPatch], None]


def closing(simulation: Simulation, after: int, patch: pytest.MonkeyPatch) -> None:
    """The caller leaves the loop: the generator is closed while it waits at a row, or never got so far."""

    def watch(running: Simulation, record: Any, row: Any) -> None:
        if record.number == after:
            raise Stopped

    with pytest.raises(Stopped):
        list(simulation.rounds(watch))


def training(simulation: Simulation, after: int, patch: pytest.MonkeyPatch) -> None:
    """An error in the middle of the next round, when its owners have trained and remember it."""
    gather = simulation.transport.gather

    class Failing:
        def gather(self, requests: Any, deadline: float) -> Any:
            replies = gather(requests, deadline)
            if requests and requests[0].round > after:
                raise Stopped
            return replies

    simulation.coordinator._transport = Failing()
    with pytest.raises(Stopped):
        list(simulation.rounds())


def revealing(simulation: Simulation, after: int, patch: pytest.MonkeyPatch) -> None:
    """An error after the next round's charge, while its sum is decoded."""
    receive = Pipeline.receive

    def failing(self: Pipeline, total: Any, env: Any) -> Any:
        if env.round > after:
            raise Stopped
        return receive(self, total, env)

    patch.setattr(Pipeline, "receive", failing)
    with pytest.raises(Stopped):
        list(simulation.rounds())
    assert len(simulation.ledger.entries) == after + 1


def evaluating(simulation: Simulation, after: int, patch: pytest.MonkeyPatch) -> None:
    """An interruption while the next evaluated round is measured."""
    original = Simulation._evaluate

    def failing(self: Simulation, record: Round) -> Any:
        if record.number > after:
            raise KeyboardInterrupt
        return original(self, record)

    patch.setattr(Simulation, "_evaluate", failing)
    with pytest.raises(KeyboardInterrupt):
        list(simulation.rounds())


@pytest.mark.parametrize("stop", [closing, training, revealing, evaluating], ids=lambda stop: stop.__name__)
@pytest.mark.parametrize("engine", ["plain-loop", "in-memory"])
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_after_any_round_in_any_way(
    kind: str, engine: str, stop: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(kind, engine)
    for after in range(1, ROUNDS):
        path = tmp_path / f"{after}"
        with monkeypatch.context() as patch:
            stop(made(kind, engine, checkpoint=path), after, patch)
        resumed = made(kind, engine, checkpoint=path, resume=True)
        assert after <= resumed.progress.round <= after + 1
        assert [entry.round for entry in resumed.ledger.entries] == list(range(1, resumed.progress.round + 1))
        list(resumed.rounds())
        assert fingerprint(resumed) == expected


def test_each_kind_carries_what_it_is_here_for() -> None:
    """The laws above would hold for nothing if no state came about."""
    found = {kind: undisturbed(kind, "plain-loop") for kind in KINDS}
    assert all(found[kind]["pipeline"][0] != (0.5,) for kind in KINDS)
    assert len(found["scaffold"]["memories"]) > 2
    assert {"moment", "variance", "tail.sum"} <= set(found["fedadam"]["algorithm"])
    assert found["fedadam"]["final"] != found["fedadam"]["weights"]
    assert all(row[3]["accuracy"]["error"] > 0 and not row[1] for row in found["measured"]["rows"])
    assert len({each["weights"] for each in found.values()}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_again_and_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "state"
    for number in range(1, ROUNDS + 1):
        simulation = made(kind, "plain-loop", checkpoint=path, resume=number > 1)
        assert simulation.progress.round == number - 1
        if number < ROUNDS:
            closing(simulation, number, pytest.MonkeyPatch())
        else:
            list(simulation.rounds())
    assert fingerprint(simulation) == undisturbed(kind, "plain-loop")


def test_a_finished_run_resumed_is_the_finished_run(tmp_path: Path) -> None:
    path = tmp_path / "state"
    list(made("scaffold", "plain-loop", checkpoint=path).rounds())
    again = made("scaffold", "plain-loop", checkpoint=path, resume=True)
    assert list(again.rounds()) == []
    assert fingerprint(again) == undisturbed("scaffold", "plain-loop")


def test_stopped_in_the_first_round_there_is_nothing_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    training(made("adaptive", "plain-loop", checkpoint=path), 0, monkeypatch)
    assert not path.exists()


PROGRAM = """
import hashlib, sys
from pathlib import Path
from tacit.config import parse
from tacit.simulation.run import prepare
simulation = prepare(parse(sys.stdin.read()), seed=9, device="cpu", checkpoint=Path(sys.argv[1]), resume=True)
for _ in simulation.rounds():
    pass
print(hashlib.sha256(simulation.model_vector().numpy().tobytes()).hexdigest())
"""


def test_a_fresh_process_goes_on(tmp_path: Path) -> None:
    kind = "scaffold"
    path = tmp_path / "state"
    closing(made(kind, "plain-loop", checkpoint=path), 2, pytest.MonkeyPatch())
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        input=config(kind).to_toml(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == hashlib.sha256(undisturbed(kind, "plain-loop")["final"]).hexdigest()


def test_the_resumed_run_still_pays(tmp_path: Path) -> None:
    """With a finite budget the entries of before count: the resumed run opens the rest and not one round more."""
    finite = {"budget.epsilon": 20.0, "rounds.total": 4}
    path = tmp_path / "state"
    closing(prepare(config("adaptive"), seed=9, set=finite, checkpoint=path), 2, pytest.MonkeyPatch())
    resumed = prepare(config("adaptive"), seed=9, set=finite, checkpoint=path, resume=True)
    event = resumed.ledger.entries[0].event
    list(resumed.rounds())
    assert len(resumed.ledger.entries) == 4
    assert not resumed.ledger.affords(event)
    assert math.isfinite(resumed.rows[-1].epsilon)
    assert bool(torch.isfinite(resumed.progress.weights).all())
