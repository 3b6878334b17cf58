"""init, simulate, compare, export, evaluate, doctor, demo: what each leaves and prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tacit.commands import starters
from tacit.config import parse
from tacit.simulation.health import checks
from tacit.simulation.kept import folder_for
from tacit.strategies.federation import build

FILES = {"config.toml", "origin.json", "rounds.jsonl", "model.safetensors", "report.html", "result.json", "state"}


def trained(program, small: Path, name: str = "run", *more: str) -> Path:
    """The folder of a finished run."""
    ended = program("simulate", str(small), "--out", name, "-q", *more)
    assert ended.code == 0, ended
    return Path(name)


# --- init ---


@pytest.mark.parametrize("task", starters.STARTERS)
def test_a_starter_is_a_sound_federation_and_is_never_overwritten(program, task: str) -> None:
    ended = program("init", "mine", "--task", task)
    assert ended.code == 0
    path = Path("mine/federation.toml")
    assert str(path) in ended.out
    federation = build(parse(path.read_text()))
    assert federation.config.private
    assert federation.task.name == task
    path.write_text("precious")
    again = program("init", "mine")
    assert again.code == 2
    assert "exists already" in again.err
    assert path.read_text() == "precious"


def test_every_key_of_a_starter_is_said_in_words() -> None:
    for text in starters.STARTERS.values():
        assert text.count("#") > 10
        assert tomllib.loads(text)["budget"]["epsilon"] < 10


def test_the_starter_of_the_issue_runs_as_it_is(program) -> None:
    assert program("init", "few", "--task", "breast-cancer").code == 0
    ended = program("simulate", "few/federation.toml", "--json", "-q")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["final"]["accuracy"] > 0.93
    assert result["privacy"][0]["epsilon"] <= 3.0
    assert result["privacy"][0]["observer"] == "server"


# --- simulate ---


def test_a_run_folder_holds_what_it_should(program, small: Path) -> None:
    run = trained(program, small)
    assert {path.name for path in run.rglob("*") if path.is_file()} == FILES
    result = json.loads((run / "result.json").read_text())
    assert [row["round"] for row in result["rounds"]] == [2, 4]
    assert result["final"] == result["rounds"][-1]["metrics"]
    assert result["seed"] == 0
    report = (run / "report.html").read_text()
    assert "tacit simulate" in report
    assert "<html" in report


def test_the_same_seed_gives_the_same_bits_in_both_engines_and_another_seed_others(program, small: Path) -> None:
    one, same = trained(program, small, "one"), trained(program, small, "same")
    other = trained(program, small, "other", "--seed", "1")
    bits = [(run / "model.safetensors").read_bytes() for run in (one, same, other)]
    assert bits[0] == bits[1] != bits[2]
    results = [json.loads((run / "result.json").read_text()) for run in (one, same)]
    for result in results:
        del result["timing"]
        for row in result["rounds"]:
            del row["seconds"]
    assert results[0] == results[1]
    real = trained(program, small, "real", "--engine", "in-memory")
    close = load_file(real / "model.safetensors"), load_file(one / "model.safetensors")
    for name, tensor in close[0].items():
        assert torch.allclose(tensor, close[1][name], atol=1e-5)


def test_a_summary_names_metrics_claims_report_and_the_command(program, small: Path) -> None:
    ended = program("simulate", str(small), "--out", "run", "--set", "rounds.total=2")
    assert ended.code == 0
    for word in ("accuracy", "analyst", "server", "∞", "run/report.html", "seeded", "--set rounds.total=2"):
        assert word in ended.out
    assert "clip(norm 0.5) → central-gaussian" in ended.err
    assert "round 2/2" in ended.err
    assert re.search(r"  engine  (low-rank|stacked): .*\n", ended.err)
    assert program("simulate", str(small), "--out", "quiet", "-q").err == ""


def test_a_precision_is_part_of_the_engine_and_of_the_command_that_makes_the_run_again(program, small: Path) -> None:
    ended = program("simulate", str(small), "--out", "run", "--precision", "bfloat16", "--set", "rounds.total=2")
    assert ended.code == 0, ended
    assert "--precision bfloat16" in ended.out
    result = json.loads(Path("run/result.json").read_text())
    assert result["engine"].endswith(" in bfloat16")
    other = program("simulate", str(small), "--out", "run", "--resume", "--set", "rounds.total=2")
    assert other.code == 1
    assert "engine stacked in bfloat16, now seed 0 and engine stacked; give the same again" in other.err
    real = program("simulate", str(small), "--out", "real", "--engine", "in-memory", "--precision", "float16")
    assert real.code == 2
    assert 'precision = "float16": in-memory owners train as deployed ones do, in float32; leave it out' in real.err


def test_json_is_the_result_and_nothing_else(program, small: Path) -> None:
    ended = program("simulate", str(small), "--out", "run", "--json")
    found = json.loads(ended.out)
    assert found.pop("folder") == "run"
    assert found.pop("report") == "run/report.html"
    assert found == json.loads(Path("run/result.json").read_text())


def test_by_default_a_run_has_a_folder_of_its_own_and_resume_finds_it(program, small: Path) -> None:
    assert program("simulate", str(small), "-q").code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("small-")
    before = (run / "model.safetensors").read_bytes()
    (run / "result.json").unlink()
    ended = program("simulate", str(small), "-q", "--resume", "--json")
    assert ended.code == 0, ended
    assert json.loads(ended.out)["folder"] == str(run)
    assert (run / "model.safetensors").read_bytes() == before


def test_a_budget_that_stops_keeps_to_the_rounds_that_fit(program, small: Path) -> None:
    ended = program(
        "simulate", str(small), "--out", "run", "--json", "--set", "rounds.total=40", "--set", "budget.epsilon=1",
        "--set", "budget.on_exhausted=stop",
    )  # fmt: skip
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["rounds"][-1]["round"] < 40
    assert result["privacy"][0]["epsilon"] <= 1
    assert "stops there" in result["notes"][0]


def test_python_has_the_same(small: Path, tmp_path: Path) -> None:
    import tacit

    folder = folder_for(small, tmp_path / "run")
    run, result = tacit.simulate_into(folder, small, seed=2)
    assert result["final"]["accuracy"] == run.final.accuracy
    assert tacit.saved_run(folder.path).metrics("test") == pytest.approx(result["final"])
    assert tacit.simulate(small, seed=2).final.accuracy == run.final.accuracy


# --- export, evaluate, compare ---


def test_an_exported_model_goes_back_into_its_module(program, small: Path) -> None:
    from safetensors import safe_open

    run = trained(program, small)
    ended = program("export", str(run), "out.safetensors", "--json")
    assert ended.code == 0, ended
    config = parse((run / "config.toml").read_text())
    module = build(config).task.model()
    module.load_state_dict(load_file("out.safetensors"))
    from tacit.simulation.saved import saved_run

    for found, want in zip(module.state_dict().values(), saved_run(run).model().state_dict().values(), strict=True):
        assert torch.equal(found, want)
    with safe_open("out.safetensors", "pt") as file:
        metadata = {key: json.loads(text) for key, text in file.metadata().items()}
    assert metadata["task"]["use"] == "breast-cancer"
    assert metadata["layout"] == [{"name": "weight", "shape": [1, 30]}, {"name": "bias", "shape": [1]}]
    assert metadata["claims"] == json.loads((run / "result.json").read_text())["privacy"]
    assert program("export", str(run), "out.safetensors").code == 1


def test_evaluate_measures_on_the_test_data_and_on_files(program, small: Path) -> None:
    from tacit.tasks.breast_cancer import MEASURES

    run = trained(program, small)
    final = json.loads((run / "result.json").read_text())["final"]
    found = json.loads(program("evaluate", str(run), "--json").out)
    assert found["metrics"] == pytest.approx(final)
    Path("ward.csv").write_text("\n".join([",".join([*MEASURES, "target"]), ",".join(["1"] * 31)]))
    ended = program("evaluate", str(run), "--on", "csv:ward.csv")
    assert ended.code == 0, ended
    assert "csv:ward.csv" in ended.out
    assert "without noise" in ended.out


def test_evaluate_finds_a_task_of_ones_own_from_another_folder(
    program, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small.parent / "mine.py").write_text(
        "import numpy as np, tacit\nfrom torch import nn\nfrom torch.nn.functional import cross_entropy\n"
        "X = np.eye(4, dtype=np.float32).repeat(9, 0)\nY = np.arange(36) // 9 % 2\n"
        "def task():\n    return tacit.Task(model=lambda: nn.Linear(4, 2), train=(X, Y), test=(X, Y),\n"
        "        loss=lambda o, t: cross_entropy(o, t, reduction='none'))\n"
    )
    sys.modules.pop("mine", None)
    run = trained(program, small, "run", "--set", "task.use=mine:task").resolve()
    (small.parent / "elsewhere").mkdir()
    monkeypatch.chdir(small.parent / "elsewhere")
    sys.modules.pop("mine")
    assert program("evaluate", str(run)).code == 0


def test_compare_shows_metrics_privacy_and_what_differs(program, small: Path) -> None:
    one = trained(program, small, "one")
    two = trained(program, small, "two", "--set", "strategy.server_lr=2.0")
    ended = program("compare", str(one), str(two), "--html", "page.html")
    assert ended.code == 0, ended
    for word in ("accuracy", "ε", "strategy.server_lr", "protects one"):
        assert word in ended.out
    assert "privacy.unit" not in ended.out
    assert Path("page.html").read_text().lstrip().lower().startswith("<!doctype html")
    found = json.loads(program("compare", str(one), str(two), "--json").out)
    assert found["differences"]["strategy.server_lr"] == [None, 2.0]
    assert [row["run"] for row in found["runs"]] == ["one", "two"]


def test_compare_of_equal_configurations_says_so(program, small: Path) -> None:
    one, two = trained(program, small, "one"), trained(program, small, "two", "--seed", "4")
    assert "are the same" in program("compare", str(one), str(two)).out


# --- doctor, demo ---


def test_doctor_finds_this_machine_well(program, tmp_path: Path) -> None:
    ended = program("doctor", "--json")
    assert ended.code == 0, ended.out
    found = json.loads(ended.out)
    assert found["healthy"] is True
    names = [check["name"] for check in found["checks"]]
    for name in ("Python", "torch", "memory", "disk space", "write access", "entropy", "CUDA", "noise", "accountant"):
        assert name in names
    assert "tacit demo" in program("doctor").out


def test_doctor_names_what_is_wrong_and_what_mends_it(program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.simulation.health.KNOWN_NOISE", (1, 2, 3, 4, 5, 6))
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy<1", "nothing-of-this-name>=2"])
    ended = program("doctor")
    assert ended.code == 1
    assert "pip install -c constraints.txt 'numpy<1'" in ended.out
    assert "'nothing-of-this-name>=2'" in ended.out
    assert "3 of" in ended.err
    assert all(word in ended.err for word in ("numpy", "nothing-of-this-name", "noise"))


def test_doctor_is_well_without_compiled_loops_and_says_how_to_have_them(
    program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacit.privacy.compiled.loops", lambda: None)
    ended = program("doctor")
    assert ended.code == 0
    assert "pip install -c constraints.txt numba" in ended.out


def test_a_folder_that_cannot_be_written_is_a_check_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "wall").touch()
    by_name = {check.name: check for check in checks(tmp_path / "wall" / "runs")}
    assert by_name["write access"].verdict == "wrong"
    assert by_name["disk space"].verdict == "ok"


@pytest.mark.wheel
def test_the_demo_trains_both_settings_within_their_budgets(tmp_path: Path) -> None:
    """The real program in a real process: what `make demo` runs."""
    ended = subprocess.run(
        [sys.executable, "-m", "tacit", "demo", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert set(found) == {"digits", "breast-cancer"}
    assert found["digits"]["final"]["accuracy"] > 0.95
    assert found["digits"]["privacy"][0]["epsilon"] <= 4
    assert found["digits"]["privacy"][0]["unit"] == "owner"
    assert found["breast-cancer"]["final"]["accuracy"] > 0.93
    assert found["breast-cancer"]["privacy"][0]["epsilon"] <= 3
    assert found["breast-cancer"]["privacy"][0]["unit"] == "example"
    for each in found.values():
        assert (tmp_path / each["report"]).stat().st_size > 10_000


def test_the_demo_ends_in_three_lines(program, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        name: text.replace("total = 80", "total = 4").replace("total = 40", "total = 4")
        for name, text in starters.STARTERS.items()
    }
    monkeypatch.setattr(starters, "STARTERS", short)
    ended = program("demo")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert len(lines) == 3
    assert "ε = 4.00" in lines[0]
    assert "report.html" in lines[0]
    assert "ε = 3.00" in lines[1]
    assert "tacit init" in lines[2]
