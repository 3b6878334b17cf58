"""Trials: whoever is drawn, however noise is added, canaries take part by their coins and the claim is theirs too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tacit.config import ConfigError, parse
from tacit.simulation.audits.audit import audit
from tacit.simulation.audits.canaries import AuditError
from tacit.simulation.audits.trial import example_trial, owner_trial

OWNERS = """
[task]
use = "digits"
[population]
owners = 40
[rounds]
total = 6
participation = { use = "everyone" }
[local]
use = "sgd"
lr = 1.0
[privacy]
delta = 1e-5
relation = "zero-out"
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 1.2 } ]
[budget]
epsilon = 1000.0
"""

SHARED = [
    {"stage": "clip", "norm": 0.3},
    {"stage": "encode"},
    {"stage": "skellam", "noise_multiplier": 1.2},
    {"stage": "mask"},
]
ADAPTIVE = [{"stage": "adaptive-clip", "norm": 0.3}, {"stage": "central-gaussian", "noise_multiplier": 1.2}]

WAYS: dict[str, dict[str, Any]] = {
    "everyone": {},
    "poisson": {"rounds.participation": {"use": "poisson", "rate": 0.6}, "privacy.relation": "add-remove"},
    "capped": {"rounds.participation": {"use": "poisson", "rate": 0.6, "cap": 30}, "privacy.relation": "add-remove"},
    "fixed": {"rounds.participation": {"use": "fixed", "cohort": 24}, "privacy.relation": "replace-one"},
    "cyclic": {"rounds.participation": {"use": "cyclic", "cohort": 20, "separation": 2}},
    "shared noise": {"privacy.pipeline": SHARED, "budget.observer": "server"},
    "adaptive clip": {"privacy.pipeline": ADAPTIVE, "privacy.relation": "add-remove"},
    "scaffold": {"strategy.use": "scaffold"},
    "dropouts": {"population.dropout": 0.05},
}


@pytest.mark.parametrize("way", WAYS)
def test_canaries_are_told_apart_where_noise_is_weak(way: str) -> None:
    """At about the sensitivity in noise, six rounds tell most coins, whatever the draw; without canaries in it none would."""
    config = parse(OWNERS, WAYS[way])
    trial = owner_trial(config, None, 100, 3, "cpu", "white-box")
    assert trial.federation.population == 140
    scores, inside = trial.scores["white-box"], trial.inside
    apart = (scores[inside].mean() - scores[~inside].mean()) / scores[~inside].std()
    assert apart > 0.6
    assert 30 < inside.sum() < 70


def test_a_trial_is_the_same_for_the_same_seed() -> None:
    config = parse(OWNERS)
    one, same = (owner_trial(config, None, 20, 3, "cpu", "white-box") for _ in range(2))
    assert np.array_equal(one.scores["white-box"], same.scores["white-box"])
    assert not np.array_equal(one.inside, owner_trial(config, None, 20, 4, "cpu", "white-box").inside)


def test_a_final_model_is_scored_by_its_losses() -> None:
    trial = owner_trial(parse(OWNERS, {"rounds.total": 3}), None, 60, 3, "cpu", "black-box")
    scores, inside = trial.scores["black-box"], trial.inside
    assert scores[inside].mean() > scores[~inside].mean()


EXAMPLES = {
    "population.owners": 4,
    "privacy.unit": "example",
    "privacy.relation": "add-remove",
    "privacy.delta": "N^-1.1",
    "budget.observer": "server",
}
SOLVERS: dict[str, dict[str, Any]] = {
    "clipped-gradient": {
        "local": {"use": "clipped-gradient", "norm": 0.5, "denominator": 400},
        "privacy.pipeline": [{"stage": "own-gaussian", "noise_multiplier": 1.2}],
    },
    "dp-sgd": {
        "local": {"use": "dp-sgd", "norm": 0.5, "denominator": 200, "rate": 0.5, "noise_multiplier": 1.0, "steps": 2},
        "privacy.pipeline": [],
    },
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_canary_examples_are_told_apart_where_noise_is_weak(solver: str) -> None:
    config = parse(OWNERS, {**EXAMPLES, **SOLVERS[solver]})
    trial = example_trial(config, None, 200, 3, "cpu")
    assert trial.federation.delta < config.privacy.delta_for(trial.federation.units)
    black = trial.scores["black-box"]
    assert black[trial.inside].mean() > black[~trial.inside].mean()
    scores = trial.scores["white-box"]
    assert (scores[trial.inside].mean() - scores[~trial.inside].mean()) / scores[~trial.inside].std() > 0.4


def test_there_is_no_power_with_few_canaries() -> None:
    """Thirteen right guesses at δ = 1e-5 show less than a claim of 2, so an audit of it says neither yes nor no."""
    calibrated = {"privacy.pipeline.1.noise_multiplier": "calibrate", "budget.epsilon": 2.0}
    found = audit(parse(OWNERS, calibrated), canaries=10, seed=1, device="cpu", views=("white-box",))
    assert found.verdict == "no power"
    assert found.looks["white-box"].finding.reach < found.claimed.epsilon <= 2.0


def test_more_canaries_than_a_model_has_numbers_are_cut() -> None:
    found = audit(parse(OWNERS), canaries=2000, seed=1, device="cpu", views=("white-box",))
    assert found.canaries == 1280
    assert "1280 canaries instead of 2000" in found.notes[0]


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(AuditError, match="nothing is claimed"):
        audit(parse(OWNERS, {"budget.epsilon": float("inf")}))
    with pytest.raises(AuditError, match="at least 2"):
        audit(parse(OWNERS), canaries=1)
    with pytest.raises(AuditError, match="no view"):
        audit(parse(OWNERS), views=())
    with pytest.raises(ConfigError):
        audit(parse(OWNERS, {"budget.observer": "server"}))
