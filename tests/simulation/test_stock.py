"""A run under a stock Flower server: what its run configuration may say, and the run folder that it leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import tacit
import torch
from tacit.config import ConfigError
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.population import dealt
from tacit.simulation.stock import ENGINE, LACKS, Order, order_from, perform, prepared
from tacit.simulation.transport import InMemory
from tacit.strategies.federation import learner_for

APP = Path(__file__).resolve().parents[2] / "examples" / "flower-app"


def order(tmp_path: Path, text: str | None = None, **settings: Any) -> Order:
    path = tmp_path / "file.toml"
    path.write_text(text if text is not None else (APP / "digits.toml").read_text())
    return order_from({"config": "file.toml", "out": str(tmp_path / "run"), **settings}, lambda: [tmp_path])


def performed(made: Order) -> tacit.Run:
    federation = prepared(made)
    transport = InMemory(
        dealt(federation, made.seed or 0), learner_for(federation.task, made.seed or 0), SeededEntropy(made.seed or 0)
    )
    return perform(made, federation, "run-1", transport)


def test_a_seeded_run_is_the_simulated_one_and_claims_nothing(tmp_path: Path) -> None:
    made = order(tmp_path, seed=5)
    run, simulated = performed(made), tacit.simulate(made.config, seed=5, engine="in-memory")
    assert torch.equal(run.weights, simulated.weights)
    assert [row.metrics for row in run.rounds] == [row.metrics for row in simulated.rounds]
    assert all(math.isinf(figure.epsilon) for figure in run.claims)
    assert all(math.isinf(row.epsilon) for row in run.rounds)


def test_a_run_leaves_the_files_of_a_simulation_and_says_what_it_lacks(tmp_path: Path) -> None:
    made = order(tmp_path)
    run = performed(made)
    folder, result = made.folder, json.loads(made.folder.result.read_text())
    assert all(path.is_file() for path in (folder.config, folder.rows, folder.model, folder.report, folder.result))
    assert (result["engine"], result["seed"]) == (ENGINE, None)
    assert LACKS in result["notes"]
    simulated = tacit.simulate(made.config, engine="in-memory")
    assert [claim.epsilon for claim in run.claims] == [claim.epsilon for claim in simulated.claims]
    assert [row.epsilon for row in run.rounds] == [row.epsilon for row in simulated.rounds]


def test_times_of_a_secret_draw_are_not_published(tmp_path: Path) -> None:
    text = (APP / "digits.toml").read_text().replace('{ use = "everyone" }', '{ use = "poisson", rate = 0.5 }')
    run = performed(order(tmp_path, text))
    assert math.isnan(run.timing.seconds)
    assert all(math.isnan(row.seconds) for row in run.rounds)


def test_secure_aggregation_is_refused_with_the_way_out(tmp_path: Path) -> None:
    text = (APP / "digits.toml").read_text()
    masked = text.replace(
        'pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }]',
        'pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "encode", bits = 24 }, { stage = "mask" }]',
    ).replace("epsilon = 8.0", "epsilon = inf")
    with pytest.raises(ConfigError, match="tacit up"):
        prepared(order(tmp_path, masked))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"config": ""}, "name a file"),
        ({"config": 3}, "name a file"),
        ({"config": "nowhere.toml"}, "whole path"),
        ({"seed": -1}, "whole number"),
        ({"seed": True}, "whole number"),
        ({"seed": "five"}, "whole number"),
        ({"out": 3}, "as a string"),
        ({"wait": 0}, "more than 0"),
        ({"wait": math.inf}, "more than 0"),
        ({"sede": 5}, "unknown key sede"),
    ],
)
def test_a_mistaken_run_configuration_says_what_to_give(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        order(tmp_path, **settings)


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").touch()
    with pytest.raises(ConfigError, match="another run"):
        order(tmp_path)


def test_a_relative_file_is_the_apps_own_first(tmp_path: Path) -> None:
    for name in ("app", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "digits.toml").write_text((APP / "digits.toml").read_text())
    settings = {"config": "digits.toml", "out": str(tmp_path / "run")}
    assert order_from(settings, lambda: [tmp_path / "app", tmp_path / "here"]).tasks == (tmp_path / "app").resolve()
