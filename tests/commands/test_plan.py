"""`plan`: numbers known from elsewhere, the same from a file and from options, and no unsound question answered."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

KEYS = {
    "epsilon", "epsilon_rdp", "epsilon_lower", "epsilon_upper", "epsilon_unamplified", "noise_multiplier", "delta",
    "relation", "unit", "accountant", "curve", "risk",
}  # fmt: skip
POISSON = ["--sampling", "poisson", "--rate", "0.01", "--rounds", "1000", "--delta", "1e-5"]


def planned(program, *arguments: str) -> dict[str, object]:
    ended = program("plan", *arguments, "--json")
    assert ended.code == 0, ended
    return json.loads(ended.out)


def test_poisson_sampled_noise_costs_what_dp_accounting_says(program) -> None:
    """dp_accounting's PLD at a discretisation of 1e-4 gives 1.51537."""
    found = planned(program, "--noise-multiplier", "1.1", *POISSON)
    assert found.keys() >= KEYS
    assert found["epsilon"] == pytest.approx(1.51537, abs=2e-3)
    assert found["epsilon_lower"] <= found["epsilon"] == found["epsilon_upper"] <= found["epsilon_rdp"]
    assert found["epsilon_unamplified"] > 100
    assert (found["relation"], found["unit"], found["delta"]) == ("add-remove", "owner", 1e-5)
    assert len(found["curve"]) == 20
    assert found["curve"][-1] == {"rounds": 1000, "epsilon": found["epsilon"]}
    assert 0 < found["risk"]["membership_advantage"] < 1
    assert 0.01 < found["risk"]["tpr_at_1_percent_fpr"] < 1


def test_a_fixed_cohort_is_an_interval_under_replace_one(program) -> None:
    """The pair of real neighbours costs 6.476, subsampled Rényi accounting 11.21."""
    found = planned(
        program, "--noise-multiplier", "1", "--sampling", "fixed", "--cohort", "10", "--population", "1000",
        "--rounds", "100", "--delta", "1e-5",
    )  # fmt: skip
    assert found["relation"] == "replace-one"
    assert 6.45 < found["epsilon_lower"] < 6.49
    assert 6.48 <= found["epsilon"] == found["epsilon_upper"] < 11.2


def test_no_sampling_is_the_gaussian_mechanism(program) -> None:
    """One release at σ = 1 and δ = 1e-5: 4.37718 (Balle and Wang 2018, Theorem 8)."""
    found = planned(program, "--noise-multiplier", "1", "--sampling", "none", "--rounds", "1", "--delta", "1e-5")
    assert found["epsilon"] == pytest.approx(4.37718, abs=1e-4)
    assert found["epsilon_unamplified"] == found["epsilon"]


def test_a_target_is_met_and_not_by_far(program) -> None:
    found = planned(program, "--target-epsilon", "2", *POISSON)
    assert 1.99 < found["epsilon"] <= 2
    again = planned(program, "--noise-multiplier", str(found["noise_multiplier"]), *POISSON)
    assert again["epsilon"] == pytest.approx(found["epsilon"], rel=1e-9)


def test_zero_noise_is_infinite_and_says_so(program) -> None:
    found = planned(program, "--noise-multiplier", "0", "--rounds", "3", "--delta", "1e-5")
    assert found["epsilon"] == "inf"
    assert found["risk"]["membership_advantage"] == 1
    ended = program("plan", "--noise-multiplier", "0", "--rounds", "3", "--delta", "1e-5")
    assert ended.code == 0
    assert "∞" in ended.out
    assert not Path("plan.svg").exists()


def test_a_configuration_and_the_same_numbers_agree(program, small: Path) -> None:
    found = planned(program, str(small))
    numbers = planned(
        program, "--noise-multiplier", "2", "--sampling", "poisson", "--rate", "0.5", "--rounds", "4",
        "--delta", str(found["delta"]),
    )  # fmt: skip
    assert found["epsilon"] == pytest.approx(numbers["epsilon"], rel=1e-9)
    assert [claim["observer"] for claim in found["claims"]] == ["analyst", "server", "owners"]
    assert found["claims"][1]["epsilon"] == "inf"
    assert found["within_budget"] is True


def test_the_plan_is_what_the_run_reports(program, small: Path) -> None:
    found = planned(program, str(small))
    assert program("simulate", str(small), "--out", "run", "-q").code == 0
    result = json.loads(Path("run/result.json").read_text())
    assert result["privacy"] == found["claims"]


def test_a_configuration_takes_another_target_or_noise(program, small: Path) -> None:
    found = planned(program, str(small), "--target-epsilon", "1")
    assert 0.99 < found["epsilon"] <= 1
    assert found["budget"] == 1
    louder = planned(program, str(small), "--noise-multiplier", "5")
    assert louder["noise_multiplier"] == 5
    longer = planned(program, str(small), "--set", "rounds.total=40")
    assert longer["epsilon"] > found["epsilon"]


def test_what_measuring_costs_and_tells_is_priced(program, small: Path) -> None:
    """√(1 + 2·0.5²/4) on the noise of the model, ε as before; the error that a round then has, and its run too."""
    stages = (
        '[{stage="clip",norm=0.5},{stage="measure",weight=0.5,largest_loss=2.0},'
        '{stage="central-gaussian",noise_multiplier=2.0}]'
    )
    changes = ["--set", f"privacy.pipeline={stages}", "--set", "evaluation.on=owners"]
    bare, found = planned(program, str(small)), planned(program, str(small), *changes)
    assert found["epsilon"] == bare["epsilon"]
    assert "measures" not in bare
    assert found["measures"]["noise_factor"] == pytest.approx(math.sqrt(1.125))
    error = 2 * math.sqrt(1.125) / 0.5 / 6  # six of twelve owners are expected
    assert found["measures"]["errors"] == pytest.approx({"accuracy": error, "loss": 2 * error}, rel=1e-5)
    shown = program("plan", str(small), *changes).out
    assert "accuracy ± 70.7" in shown
    assert "by 6.1 %" in shown
    ended = program("simulate", str(small), *changes, "--out", "run")
    assert ended.code == 0
    assert "owners' accuracy" in ended.err
    assert "measured by the owners before round 4" in ended.out
    result = json.loads(Path("run/result.json").read_text())
    assert result["final"] == {}
    assert [row["measured"]["accuracy"]["error"] for row in result["rounds"]] == pytest.approx([error] * 2, rel=1e-5)
    assert "± 70.7" in Path("run/report.html").read_text()


def test_a_plan_over_budget_says_so_and_is_no_failure(program, small: Path) -> None:
    ended = program("plan", str(small), "--set", "budget.epsilon=0.1")
    assert ended.code == 0
    assert "does not fit budget.epsilon = 0.1" in ended.out


@pytest.mark.parametrize(("name", "starts"), [("plan.svg", b"<svg"), ("p.png", b"\x89PNG")])
def test_a_table_and_a_plot(program, name: str, starts: bytes) -> None:
    ended = program("plan", "--noise-multiplier", "1", "--rounds", "9", "--delta", "1e-5", "--plot", name)
    assert ended.code == 0
    assert "noise multiplier" in ended.out
    assert f"Plot: {name}" in ended.out
    assert Path(name).read_bytes().startswith(starts)


GOOD = ["--noise-multiplier", "1", "--rounds", "10", "--delta", "1e-5"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--noise-multiplier or --target-epsilon"),
        ([*GOOD, "--target-epsilon", "1"], "give one of them"),
        ([*GOOD, "--sampling", "poisson"], "its rate is missing"),
        ([*GOOD, "--sampling", "poisson", "--rate", "0"], "--rate = 0.0"),
        ([*GOOD, "--sampling", "poisson", "--rate", "1.5"], "--rate = 1.5"),
        ([*GOOD, "--rate", "0.1"], "add --sampling poisson"),
        ([*GOOD, "--sampling", "fixed"], "the cohort is missing"),
        ([*GOOD, "--sampling", "fixed", "--cohort", "5"], "the population is missing"),
        ([*GOOD, "--sampling", "fixed", "--cohort", "50", "--population", "20"], "give at most 20"),
        ([*GOOD, "--sampling", "fixed", "--cohort", "0", "--population", "20"], "--cohort = 0"),
        (
            [*GOOD, "--sampling", "fixed", "--cohort", "5", "--population", "20", "--relation", "add-remove"],
            "replace-one",
        ),
        ([*GOOD, "--sampling", "fixed", "--cohort", "5", "--population", "200000"], "give less than"),
        ([*GOOD, "--cohort", "5"], "add --sampling fixed"),
        (["--noise-multiplier", "1", "--rounds", "0", "--delta", "1e-5"], "--rounds = 0"),
        (["--noise-multiplier", "1", "--rounds", "10", "--delta", "1"], "--delta = 1.0"),
        (["--noise-multiplier", "1", "--rounds", "10"], "--delta is missing"),
        (["--noise-multiplier", "1", "--delta", "1e-5"], "--rounds is missing"),
        (["--noise-multiplier", "-1", "--rounds", "10", "--delta", "1e-5"], "--noise-multiplier = -1.0"),
        (["--target-epsilon", "0", "--rounds", "10", "--delta", "1e-5"], "--target-epsilon = 0.0"),
        (["--target-epsilon", "inf", "--rounds", "10", "--delta", "1e-5"], "--target-epsilon = inf"),
        ([*GOOD, "--set", "rounds.total=3"], "none was given"),
        ([*GOOD, "--plot", "plan.jpg"], ".svg or .png"),
        (["small.toml", "--rounds", "3"], "--set rounds.total=80"),
        (
            ["small.toml", "--set", "privacy.pipeline=[]", "--set", "budget.epsilon=inf", "--target-epsilon", "2"],
            "0 places",
        ),
    ],
)
def test_a_question_without_a_sound_answer_is_usage(program, small: Path, arguments: list[str], words: str) -> None:
    ended = program("plan", *arguments)
    assert ended.code == 2, ended
    assert words in ended.err
    assert ended.out == ""
    assert not Path("plan.svg").exists()
    as_json = program("plan", *arguments, "--json")
    assert words in json.loads(as_json.out)["error"]["message"]


def test_numbers_alone_load_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tacit.commands.main import execute; "
        f"assert execute(['plan', '--json', *{GOOD!r}]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_epsilon_is_a_number_of_json_or_inf(program) -> None:
    assert math.isfinite(planned(program, *GOOD)["epsilon"])
