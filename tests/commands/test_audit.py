"""`tacit audit`: a file or a run, a page, and the exit code that says whether the claim fell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tacit.commands.main import execute
from tacit.privacy.pipeline import Env
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.lattice import onto, real_values
from torch import Tensor

TEXT = """
[task]
use = "digits"
[population]
owners = 30
[rounds]
total = 3
[privacy]
delta = 1e-5
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = "calibrate" } ]
[budget]
epsilon = 1.0
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A federation's file in an empty folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "federation.toml"
    path.write_text(TEXT)
    return path


def test_a_file_is_audited(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["audit", str(config), "--canaries", "200", "--html", "page.html", "--view", "white-box"]) == 0
    shown = capsys.readouterr().out
    assert "ε claimed" in shown
    assert "verdict" in shown
    assert "Audit of federation" in Path("page.html").read_text(encoding="utf-8")


def test_a_run_is_audited_and_keeps_the_page(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", str(config), "--out", "run", "--quiet"]) == 0
    capsys.readouterr()
    assert execute(["audit", "run", "--canaries", "200", "--view", "white-box", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "pass"
    assert told["canaries"] == 200
    assert list(told["views"]) == ["white-box"]
    assert told["html"] == "run/audit.html"
    page = Path("run/audit.html").read_text(encoding="utf-8")
    assert "tacit audit run --canaries 200" in page
    assert "trained anew" in page  # not the run's own model, and the page says so


def test_a_claim_that_falls_ends_in_one(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(self: CentralGaussian, total: Tensor, signal: Signal, env: Env) -> Tensor:
        return real_values(total, onto("central-gaussian", signal))

    monkeypatch.setattr(CentralGaussian, "receive", silent)
    assert execute(["audit", str(config), "--canaries", "200", "--view", "white-box"]) == 1
    assert "does not hold" in capsys.readouterr().out


def test_what_cannot_be_audited_is_usage(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["audit", str(config), "--set", "budget.epsilon=inf", "--set",
                    "privacy.pipeline.1.noise_multiplier=1.0"]) == 2  # fmt: skip
    assert "nothing is claimed" in capsys.readouterr().err
    assert execute(["audit", "nowhere.toml"]) == 2
    assert execute(["audit", str(config), "--set", "privacy.delta=0.01", "--canaries", "300"]) == 2
    assert "with 300 canaries among its owners: privacy.delta = 0.01" in capsys.readouterr().err
