"""Law 6, one truth: real workers on real bytes and the engine on whole cohorts give the same rounds, and the same ledger.

Where integers are summed (every lattice and ring) they agree to the bit: weights, states, memories. Where floats are summed
(a baseline without lattice) the order of additions differs between a batch and single messages: a relative 2⁻²⁰.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from tacit.config import Config, parse
from tacit.privacy.ledger.memory import Entry
from tacit.privacy.stages.measure import Estimate
from tacit.server.coordinator import Progress
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.run import Simulation, prepare
from torch import Tensor

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 9
[rounds]
total = 3
quorum = 0.2
attempts = 20
[local]
use = "sgd"
lr = 0.5
[privacy]
delta = 1e-4
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = inf
[evaluation]
every = 1000
"""
CLIP, ENCODE = {"stage": "clip", "norm": 0.5}, {"stage": "encode"}


def noise(stage: str) -> dict[str, Any]:
    return {"stage": stage, "noise_multiplier": 2.0}


REALS: dict[str, list[dict[str, Any]]] = {"nothing": [], "clip": [CLIP], "rotate": [CLIP, {"stage": "rotate"}]}
INTEGERS: dict[str, list[dict[str, Any]]] = {
    "central": [CLIP, noise("central-gaussian")],
    "adaptive": [{"stage": "adaptive-clip", "norm": 0.5}, noise("central-gaussian")],
    "central in a ring": [CLIP, {"stage": "rotate"}, noise("central-gaussian"), {"stage": "encode", "bits": 48}],
    "own": [CLIP, noise("own-gaussian")],
    "measured": [CLIP, {"stage": "measure"}, noise("central-gaussian")],
    "measured in shares": [CLIP, {"stage": "measure"}, ENCODE, noise("skellam")],
    "skellam": [CLIP, ENCODE, noise("skellam")],
    "discrete": [{"stage": "adaptive-clip", "norm": 0.5}, {"stage": "rotate"}, ENCODE, noise("discrete-gaussian")],
}
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"use": "sgd", "lr": 0.5, "batch": 16, "momentum": 0.5},
    "adam": {"use": "adam", "lr": 0.01, "batch": 20},
    "prox": {"use": "prox", "lr": 0.2, "mu": 0.1, "steps": 2},
    "clipped-gradient": {"use": "clipped-gradient", "norm": 1.0, "denominator": 50.0},
    "dp-sgd": {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.2, "denominator": 10.0, "steps": 2},
}
PARTICIPATIONS: dict[str, dict[str, Any]] = {
    "everyone": {"use": "everyone"},
    "poisson": {"use": "poisson", "rate": 0.5},
    "fixed": {"use": "fixed", "cohort": 4},
    "cyclic": {"use": "cyclic", "cohort": 4, "separation": 2},
}
TROUBLE = {"population.dropout": 0.2, "population.straggler": 0.1}


@dataclass(frozen=True)
class Trace:
    """All that a run of some rounds leaves behind."""

    progress: tuple[Progress, ...]
    counts: tuple[tuple[int, int, int], ...]
    ledger: tuple[Entry, ...]
    memories: dict[int, Tensor]
    measured: tuple[Mapping[str, Estimate], ...]

    @property
    def weights(self) -> Tensor:
        return self.progress[-1].weights


def config(**changes: Any) -> Config:
    if any(row["stage"] == "measure" for row in changes.get("privacy.pipeline", ())):
        changes["evaluation.on"] = ["public-test", "owners"]
    return parse(TEXT, changes)


def run(simulation: Simulation) -> Trace:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = list(simulation.coordinator.rounds(simulation.progress, simulation.total))
    finally:
        torch.set_num_threads(threads)
    counts = tuple((record.attempt, record.sampled, record.survived) for _, record in found)
    memories, measured = dict(simulation.transport.memories), tuple(record.measured for _, record in found)
    return Trace(tuple(progress for progress, _ in found), counts, simulation.ledger.entries, memories, measured)


def trace(engine: str, seed: int = 5, **changes: Any) -> Trace:
    return run(prepare(config(**changes), seed=seed, engine=engine, device="cpu"))


def assert_same(one: Trace, other: Trace) -> None:
    """Equal to the bit."""
    assert one.counts == other.counts
    assert one.ledger == other.ledger
    assert one.measured == other.measured
    for mine, yours in zip(one.progress, other.progress, strict=True):
        assert mine.weights.numpy().tobytes() == yours.weights.numpy().tobytes()
        assert mine.pipeline == yours.pipeline
        assert mine.algorithm.keys() == yours.algorithm.keys()
        assert all(torch.equal(mine.algorithm[name], yours.algorithm[name]) for name in mine.algorithm)
    assert one.memories.keys() == other.memories.keys()
    assert all(torch.equal(one.memories[owner], other.memories[owner]) for owner in one.memories)
    assert float(one.weights.norm()) > 0


def assert_near(one: Trace, other: Trace) -> None:
    """Equal up to the order of float32 additions."""
    assert one.counts == other.counts
    assert one.ledger == other.ledger
    distance = float((one.weights - other.weights).norm())
    assert distance <= 2.0**-20 * float(other.weights.norm())
    assert float(one.weights.norm()) > 0


def fits(solver: str, pipeline: str) -> bool:
    """Whether build takes the two together: the quantile bit is an owner's; dp-sgd brings its noise."""
    noisy = pipeline not in ("nothing", "clip", "rotate")
    return not (solver == "clipped-gradient" and pipeline in ("adaptive", "discrete")) and not (
        solver == "dp-sgd" and noisy
    )


@pytest.mark.parametrize(("solver", "pipeline"), [(s, p) for s in SOLVERS for p in (*REALS, *INTEGERS) if fits(s, p)])
def test_every_solver_through_every_pipeline(solver: str, pipeline: str) -> None:
    rows = (REALS | INTEGERS)[pipeline]
    given = {"local": SOLVERS[solver], "privacy.pipeline": rows, "rounds.total": 2, "population.owners": 5}
    workers, engine = trace("in-memory", **given), trace("plain-loop", **given)
    (assert_same if pipeline in INTEGERS else assert_near)(workers, engine)


@pytest.mark.parametrize("participation", PARTICIPATIONS)
@pytest.mark.parametrize("pipeline", INTEGERS)
@pytest.mark.parametrize("trouble", [{}, TROUBLE], ids=["calm", "dropouts and stragglers"])
def test_every_participation_with_and_without_dropouts(
    participation: str, pipeline: str, trouble: dict[str, Any]
) -> None:
    given = {"rounds.participation": PARTICIPATIONS[participation], "privacy.pipeline": INTEGERS[pipeline], **trouble}
    workers, engine = trace("in-memory", **given), trace("plain-loop", **given)
    assert_same(workers, engine)
    lost = sum(sampled - survived for _, sampled, survived in workers.counts)
    assert (lost > 0) == bool(trouble)


@pytest.mark.parametrize("pipeline", ["skellam", "discrete", "central"])
def test_rounds_that_were_tried_again(pipeline: str) -> None:
    given = {"privacy.pipeline": INTEGERS[pipeline], "rounds.quorum": 0.8, "rounds.attempts": 100, **TROUBLE}
    workers = trace("in-memory", **given)
    assert_same(workers, trace("plain-loop", **given))
    assert any(attempt > 0 for attempt, _, _ in workers.counts)


@pytest.mark.parametrize("algorithm", ["fedavgm", "fedadam", "fedyogi", "fedadagrad", "scaffold"])
def test_every_algorithm_with_state(algorithm: str) -> None:
    given = {
        "strategy": {"use": algorithm, "tail_average": 0.5}, "local": {"use": "sgd", "lr": 0.2, "steps": 3, "batch": 8},
        "rounds.participation": PARTICIPATIONS["poisson"], "rounds.total": 4, **TROUBLE,
    }  # fmt: skip
    workers = trace("in-memory", **given)
    assert_same(workers, trace("plain-loop", **given))
    assert (len(workers.memories) > 2) == (algorithm == "scaffold")


TASKS: dict[str, dict[str, Any]] = {
    "digits softmax": {"task.use": "digits"},
    "digits mlp": {"task.use": "digits", "task.model": "mlp"},
    "digits cnn": {"task.use": "digits", "task.model": "cnn"},
    "topics lstm": {"task.use": "topics", "task.context": 8},
    "topics transformer": {"task.use": "topics", "task.model": "transformer", "task.context": 8},
}


@pytest.mark.parametrize("pipeline", ["central", "skellam"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str, pipeline: str) -> None:
    given = {
        **TASKS[task], "population.owners": 3, "rounds.total": 2, "privacy.pipeline": INTEGERS[pipeline],
        "population.partition": {"use": "bootstrap", "per_owner": 3},
    }  # fmt: skip
    assert_same(trace("in-memory", **given), trace("plain-loop", **given))


@pytest.mark.parametrize("engine", ["low-rank", "plain-loop"])
def test_every_engine_measures_what_owners_do(engine: str) -> None:
    """Before the noise up to float32; an accuracy by less than one example of one owner."""
    given = {"privacy.pipeline": [{"stage": "measure"}], "evaluation.on": ["owners"]}
    workers, fast = trace("in-memory", **given), trace(engine, **given)
    for mine, yours in zip(workers.measured, fast.measured, strict=True):
        for name in ("accuracy", "loss"):
            assert mine[name].value == pytest.approx(yours[name].value, abs=1e-3)
            assert 0 < mine[name].value < 1
            assert mine[name].error == yours[name].error == 0


# --- what must not matter ---


@pytest.mark.parametrize("pipeline", INTEGERS)
@pytest.mark.parametrize("batch", [1, 2, 4, 1000])
def test_the_batch_of_the_engine_does_not_matter(pipeline: str, batch: int) -> None:
    made = prepare(config(**{"privacy.pipeline": INTEGERS[pipeline]}), seed=5, engine="plain-loop")
    made.transport.engine = PlainLoop(batch)  # type: ignore[union-attr]  # Vectorised, by its engine
    assert_same(run(made), trace("plain-loop", **{"privacy.pipeline": INTEGERS[pipeline]}))


@pytest.mark.parametrize("engine", ["in-memory", "plain-loop"])
@pytest.mark.parametrize("pipeline", INTEGERS)
def test_the_order_of_owners_does_not_matter(engine: str, pipeline: str) -> None:
    """A draw depends on purpose, round, attempt and owner: neither on who was before, nor on how many."""
    given = {
        "privacy.pipeline": INTEGERS[pipeline],
        "strategy": {"use": "scaffold"},
        "local": {"use": "sgd", "batch": 9},
    }
    made = prepare(config(**given), seed=5, engine=engine)
    gather = made.transport.gather
    shuffle = np.random.default_rng(1)

    class Shuffled:
        def gather(self, requests: Any, deadline: float) -> Any:
            return list(gather([requests[i] for i in shuffle.permutation(len(requests))], deadline))[::-1]

    made.coordinator._transport = Shuffled()
    assert_same(run(made), trace(engine, **given))


def test_a_whole_run_takes_the_same_rounds_and_leaves_the_number_of_threads_as_it_was() -> None:
    simulation = prepare(config(), seed=5, engine="plain-loop")
    before = torch.get_num_threads()
    list(simulation.rounds())
    assert torch.get_num_threads() == before
    assert torch.equal(simulation.progress.weights, trace("plain-loop").weights)


# --- seeds ---


@pytest.mark.parametrize("engine", ["in-memory", "plain-loop"])
def test_another_seed_is_another_run(engine: str) -> None:
    assert_same(trace(engine, seed=5), trace(engine, seed=5))
    assert not torch.equal(trace(engine, seed=5).weights, trace(engine, seed=6).weights)


def test_a_seed_decides_shares_draws_noise_and_initial_weights() -> None:
    """Every source of randomness hangs on the seed: none stays when it changes."""
    given: dict[str, Any] = {
        "task.use": "digits",
        "task.model": "mlp",
        "rounds.participation": PARTICIPATIONS["poisson"],
        "population.owners": 40,
    }
    one, other = (prepare(config(**given), seed=seed) for seed in (1, 2))
    assert not torch.equal(one.progress.weights, other.progress.weights)
    assert any(list(a) != list(b) for a, b in zip(one.population.shares, other.population.shares, strict=True))
    sampled = [[record.sampled for _, record in s.coordinator.rounds(s.progress, 3)] for s in (one, other)]
    assert sampled[0] != sampled[1]


PROGRAM = """
import hashlib, sys
from tacit.config import parse
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.run import prepare
config = parse(sys.stdin.read())
for engine in sys.argv[1:]:
    simulation = prepare(config, seed=5, engine=engine, device="cpu")
    for _ in simulation.rounds():
        pass
    print(hashlib.sha256(simulation.progress.weights.numpy().tobytes()).hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    """Nothing hangs on the hash seed of the process, its number, or what ran in it before."""
    made = config(**TROUBLE, **{"privacy.pipeline": INTEGERS["discrete"]})
    engines = ["plain-loop", "in-memory"]
    weights = [run(prepare(made, seed=5, engine=engine)).weights for engine in engines]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *engines], input=made.to_toml(), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )  # fmt: skip
    assert ended.stdout.split() == [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in weights]


def test_the_tolerance_is_not_empty() -> None:
    """`assert_near` tells runs apart that differ by one owner's rounding: a thousandth of the model."""
    one = trace("plain-loop", **{"privacy.pipeline": []})
    moved = replace(one, progress=(*one.progress[:-1], replace(one.progress[-1], weights=one.weights * 1.001)))
    with pytest.raises(AssertionError):
        assert_near(one, moved)
    assert math.isfinite(float(one.weights.norm()))
