"""Correlated noise in a whole run: charged before the first round, resumed in the same bits, refused where it is unsound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tacit.config import ConfigError, parse
from tacit.privacy.claim import ClaimError
from tacit.privacy.entropy import SystemEntropy
from tacit.privacy.event import BandedMatrix, Nothing
from tacit.server.coordinator import Coordinator, RoundError
from tacit.simulation.audits.audit import audit
from tacit.simulation.run import prepare, simulate
from tacit.strategies.budget import budget_for
from tacit.strategies.federation import OverBudgetError, build

TEXT = """
[task]
use = "digits"
[population]
owners = 60
[rounds]
total = 9
participation = { use = "cyclic", cohort = 20, separation = 3 }
[local]
use = "sgd"
lr = 1.0
[privacy]
delta = 1e-5
pipeline = [
  { stage = "clip", norm = 0.3 },
  { stage = "correlated-gaussian", noise_multiplier = "calibrate", bands = 4 },
]
[budget]
epsilon = 2.0
[evaluation]
every = 3
"""
BLT = {"stage": "correlated-gaussian", "noise_multiplier": "calibrate", "decay": [0.9, 0.5], "scale": [0.12, 0.3]}


def test_the_schedule_is_charged_before_its_first_round() -> None:
    simulation = prepare(parse(TEXT), seed=1, device="cpu")
    progress, _ = simulation.coordinator.step(simulation.progress)
    (first,) = simulation.ledger.entries
    assert isinstance(first.event, BandedMatrix)
    assert (first.event.rounds, first.event.separation, first.event.participations) == (9, 3, 3)
    simulation.coordinator.step(progress)
    assert simulation.ledger.entries[1].event == Nothing()
    for rounds in (1, 5, 9):  # stopping early gives nothing back
        assert simulation.federation.epsilon(rounds) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("stage", [{}, {"privacy.pipeline.1": BLT}], ids=["banded", "blt"])
@pytest.mark.parametrize("engine", ["auto", "in-memory"])
def test_a_run_that_goes_on_ends_in_the_same_bits(tmp_path: Path, stage: dict[str, Any], engine: str) -> None:
    config = parse(TEXT, stage)
    whole = simulate(config, seed=3, device="cpu", engine=engine)
    place = tmp_path / "state"
    stopped = prepare(config, seed=3, device="cpu", engine=engine, checkpoint=place)
    rows = stopped.rounds()
    next(rows)
    rows.close()  # type: ignore[attr-defined]  # of a generator
    resumed = prepare(config, seed=3, device="cpu", engine=engine, checkpoint=place, resume=True)
    list(resumed.rounds())
    assert torch.equal(resumed.result().weights, whole.weights)
    assert len(resumed.ledger.entries) == 9


def test_engines_and_workers_agree() -> None:
    one, other = (simulate(parse(TEXT), seed=3, device="cpu", engine=name) for name in ("plain-loop", "in-memory"))
    assert torch.equal(one.weights, other.weights)


def test_a_schedule_beyond_its_budget_does_not_start() -> None:
    with pytest.raises(OverBudgetError, match="cost"):
        prepare(parse(TEXT, {"privacy.pipeline.1.noise_multiplier": 0.5}))


def test_a_secret_draw_is_refused() -> None:
    with pytest.raises((ConfigError, ClaimError), match="cyclic"):
        build(parse(TEXT, {"rounds.participation": {"use": "poisson", "rate": 0.5}}))


def test_without_a_seed_it_runs_only_where_its_releases_are_kept() -> None:
    simulation = prepare(parse(TEXT), seed=1, device="cpu")
    with pytest.raises(RoundError, match="give a keeper"):
        Coordinator(simulation.federation, simulation.transport, simulation.ledger, SystemEntropy(), "run", 9)
    assert not budget_for(simulation.federation, 9).affords(Nothing())


def test_an_audit_does_not_refute_it_and_comes_near() -> None:
    """The guesser undoes the correlation; what it shows stays below the claim, its estimate is about the claim."""
    found = audit(parse(TEXT), canaries=600, seed=2, level=1e-6, device="cpu", views=("white-box",))
    assert found.verdict != "fail"
    assert 1.0 < found.looks["white-box"].finding.estimate < 3.2
