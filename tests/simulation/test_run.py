"""Run: same seed, same bits; what is released is charged once; a checkpoint holds whole rounds only."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tacit.config import Config, parse
from tacit.privacy.ledger.memory import BudgetError
from tacit.server.checkpoint import CheckpointError, load
from tacit.simulation.run import config_of, epsilon_after, prepare, rounds, simulate
from tacit.tasks import catalogue
from tacit.tasks.breast_cancer import breast_cancer
from tacit.tasks.evaluation import evaluate
from tacit.tasks.losses import binary_cross_entropy
from tacit.tasks.task import Task
from torch import nn

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 12
dropout = 0.1
[rounds]
total = 6
quorum = 0.2
participation = { use = "poisson", rate = 0.6 }
[privacy]
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 20.0
[evaluation]
every = 2
"""
CONFIG: Config = parse(TEXT, name="run")


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    one, same, other = (simulate(CONFIG, seed=seed).weights for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_run_leaves_torch_as_it_was() -> None:
    torch.manual_seed(4)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    simulate(CONFIG)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_what_does_not_train_is_the_same_for_owners_evaluation_and_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen random layer under a trained head: were it drawn anew anywhere, the head would not fit it."""
    wide = Task(
        model=lambda: nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 1)),
        loss=binary_cross_entropy, train=breast_cancer().training(), test=breast_cancer().testing(), trained=("2.*",),
    )  # fmt: skip
    monkeypatch.setitem(catalogue.TASKS, "own", lambda: wide)  # type: ignore[arg-type]  # the table is a plain dict
    config = parse(TEXT, {"task.use": "own", "budget.epsilon": math.inf, "privacy.pipeline": [], "rounds.total": 30})
    run = simulate(config, seed=3)
    assert run.final.accuracy > 0.85
    assert evaluate(wide, run.model(), wide.testing()) == run.rounds[-1].metrics


def test_every_round_is_charged_once_and_epsilon_only_rises() -> None:
    simulation = prepare(CONFIG)
    rows = list(simulation.rounds())
    assert [entry.round for entry in simulation.ledger.entries] == [1, 2, 3, 4, 5, 6]
    assert [row.number for row in rows] == [2, 4, 6]
    assert [row.epsilon for row in rows] == sorted(row.epsilon for row in rows)
    claims = simulation.result().claims
    assert rows[-1].epsilon == claims[0].epsilon == epsilon_after(simulation.federation, 6)
    assert claims[0].epsilon < claims[0].epsilon_unamplified
    assert math.isinf(claims[1].epsilon)  # the server adds the noise, so sees without it


def test_not_one_round_more_than_was_paid_for() -> None:
    simulation = prepare(CONFIG)
    list(simulation.rounds())
    with pytest.raises(BudgetError, match="round 7"):
        simulation.coordinator.step(simulation.progress)


def test_overrides_reach_a_configuration_that_is_a_value_too(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    changes = {"rounds.total": 2, "name": "run"}
    assert config_of(CONFIG, changes)[0] == config_of(path, changes)[0]
    assert config_of(path)[1] == tmp_path
    assert [row.number for row in rounds(CONFIG, set={"rounds.total": 2})] == [2]


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_left_in_the_middle_goes_on_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    whole = simulate(CONFIG, seed=1)
    path = tmp_path / "state"
    simulation = prepare(CONFIG, seed=1, checkpoint=path)
    running = simulation.rounds()
    for _ in range(stop):
        next(running)
    running.close()
    resumed = prepare(CONFIG, seed=1, checkpoint=path, resume=True)
    assert resumed.progress.round == 2 * stop
    list(resumed.rounds())
    found = resumed.result()
    assert torch.equal(found.weights, whole.weights)
    assert [(row.number, row.metrics, row.epsilon) for row in found.rounds] == [
        (row.number, row.metrics, row.epsilon) for row in whole.rounds
    ]
    assert resumed.ledger.entries == tuple(prepare_and_run().ledger.entries)


def prepare_and_run():
    """An undisturbed run."""
    simulation = prepare(CONFIG, seed=1)
    list(simulation.rounds())
    return simulation


def test_an_error_between_charge_and_evaluation_leaves_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = prepare(CONFIG, seed=1, checkpoint=tmp_path / "state")

    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tacit.simulation.run.evaluate", fails)
    with pytest.raises(KeyboardInterrupt):
        list(simulation.rounds())
    assert len(simulation.ledger.entries) == 2
    found = load(tmp_path / "state", CONFIG.digest())
    assert found.round == 1
    assert [entry["round"] for entry in found.facts["ledger"]] == [1]
    assert found.facts["rows"] == []


def test_a_checkpoint_of_another_seed_or_engine_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    list(prepare(CONFIG, checkpoint=path, set={"rounds.total": 2}).rounds())
    short = parse(TEXT, {"rounds.total": 2}, name="run")
    with pytest.raises(CheckpointError, match="seed 0"):
        prepare(short, seed=1, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="engine"):
        prepare(short, engine="in-memory", checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="another configuration"):
        prepare(CONFIG, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        prepare(CONFIG, checkpoint=tmp_path / "none", resume=True)


def test_a_run_without_privacy_says_so() -> None:
    run = simulate(CONFIG, set={"budget.epsilon": math.inf, "privacy.pipeline": []})
    assert "not private" in run.notes[0]
    assert math.isinf(run.rounds[-1].epsilon)
    assert all(math.isinf(each.epsilon) for each in run.claims)
