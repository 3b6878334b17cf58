"""Preview: what an owner would answer is what its guard does answer, and a foreign file runs no code of its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tacit.client.preview import Preview, preview
from tacit.client.settings import parse_settings
from tacit.client.vault import ledger_file
from tacit.config import parse
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.entry import Address, Price
from tacit.privacy.ledger.errors import LedgerError
from tacit.privacy.ledger.store import Store, create

AGENT = """
[policy]
tasks = [ { use = "breast-cancer" } ]
unit = "owner"
relation = "zero-out"
colluders = 0
smallest_cohort = 5
epsilon = 6.0
epsilon_run = 3.0
delta = 1e-5
[assets.ward3]
task = "breast-cancer"
source = "csv:gone.csv"
"""
FEDERATION = """
[task]
use = "breast-cancer"
[population]
owners = 12
[rounds]
total = 20
[local]
use = "sgd"
[privacy]
relation = "zero-out"
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "own-gaussian", noise_multiplier = 8.0 } ]
[budget]
observer = "server"
epsilon = 20.0
"""


def looked(ledgers: Path, agent: str = AGENT, **changes: Any) -> Preview:
    return preview(parse(FEDERATION, changes), parse_settings(agent), ledgers)


def test_a_federation_within_the_policy_is_joined_and_no_data_is_read(tmp_path: Path) -> None:
    found = looked(tmp_path)
    assert found.takes_part
    assert (found.asset, found.ledger) == ("ward3", None)  # whose file does not even exist
    offer = found.to_json()["offer"]
    assert offer["claim"]["releases"] == 20
    assert offer["claim"]["epsilon"] == pytest.approx(2.258, abs=1e-3)  # Gaussian of σ/√20, closed form
    assert offer["life"]["used"] == 0.0


def test_every_reason_is_told(tmp_path: Path) -> None:
    found = looked(tmp_path, AGENT.replace("smallest_cohort = 5", "smallest_cohort = 10"), **{"rounds.total": 80})
    assert [refusal.code for refusal in found.opinion.refusals] == ["cohort", "budget-run"]
    assert not found.takes_part


def test_what_was_spent_is_read_from_the_ledger(tmp_path: Path) -> None:
    path = ledger_file(tmp_path, "ward3")
    create(path, "ward3")
    policy = parse_settings(AGENT).policy
    with Store(path, "ward3") as store:
        for number in range(120):
            store.reserve(
                Address("earlier", number, 0), "0" * 64, lambda account: Price(policy.currency, Gaussian(8.0))
            )
    found = looked(tmp_path)
    assert found.ledger == path
    assert [refusal.code for refusal in found.opinion.refusals] == ["budget-life"]
    assert found.to_json()["offer"]["life"]["used"] > 0.9


def test_a_ledger_that_cannot_be_relied_on_stops_it(tmp_path: Path) -> None:
    ledger_file(tmp_path, "ward3").write_bytes(b"not a ledger")
    with pytest.raises(LedgerError):
        looked(tmp_path)


def test_a_recipe_that_is_unsound_here_is_one_reason(tmp_path: Path) -> None:
    central = [{"stage": "clip", "norm": 0.5}, {"stage": "central-gaussian", "noise_multiplier": 8.0}]
    found = looked(tmp_path, **{"privacy.pipeline": central, "budget.observer": "analyst"})
    (refusal,) = found.opinion.refusals
    assert refusal.code == "claim"
    assert "the server adds the noise" in refusal.reason


def test_code_that_lies_beside_a_foreign_file_is_never_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_beside.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = looked(tmp_path, **{"task.use": "evil_beside:Task"})
    assert [refusal.code for refusal in found.opinion.refusals] == ["task"]
    assert found.opinion.offer is None
    assert "evil_beside" not in sys.modules


def test_another_task_of_tacit_is_refused_with_its_price(tmp_path: Path) -> None:
    found = looked(tmp_path, **{"task.use": "digits"})
    assert [refusal.code for refusal in found.opinion.refusals] == ["task"]
    assert found.asset is None
    assert found.opinion.offer is not None
