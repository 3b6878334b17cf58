"""Study: goes on where it stopped and ends alike; settings share accounting; what cannot be run is listed."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import tacit
from tacit.config import Config, ConfigError, parse
from tacit.simulation.artefacts import ArtefactError
from tacit.simulation.studies.study import Status, study

NOISE = "privacy.pipeline.1.noise_multiplier"
VARY = {"rounds.total": [2, 4], NOISE: [1.0, 4.0], "local.lr": [0.2, 0.5]}


def asked(inline: Any, kind: str) -> int:
    return sum(each["do"] == kind for each in inline.asked)


def lasting(result: Any) -> Any:
    """A result without what differs from one run to the next: seconds."""
    if isinstance(result, dict):
        return {key: lasting(value) for key, value in result.items() if "seconds" not in key}
    return [lasting(each) for each in result] if isinstance(result, list | tuple) else result


def test_a_grid_tries_everything_and_accounts_equal_mechanisms_once(small: Config, inline: Any, tmp_path: Path) -> None:
    found = study(small, vary=VARY, seeds=2, out=tmp_path / "a")
    assert len(found.points) == asked(inline, "sketch") == 8
    assert asked(inline, "train") == 16
    assert asked(inline, "price") == 4  # local.lr costs nothing
    assert {len(point["trials"]) for point in found.points} == {2}
    epsilons = [point["epsilon"] for point in found.frontier]
    means = [point["mean"] for point in found.frontier]
    assert epsilons == sorted(epsilons)
    assert means == sorted(means)
    assert all(point["low"] <= point["mean"] <= point["high"] for point in found.points)


@pytest.mark.parametrize("search", ["grid", "random", "adaptive"])
@pytest.mark.parametrize("stop", [0, 5, 11])
def test_an_interrupted_study_goes_on_and_ends_in_the_same_result(
    small: Config, inline: Any, tmp_path: Path, search: str, stop: int
) -> None:
    points = None if search == "grid" else 4
    vary = {"rounds.total": [1, 2], NOISE: {"from": 1.0, "to": 4.0, "steps": 2}}
    whole = study(small, vary=vary, search=search, points=points, seeds=2, out=tmp_path / "whole")
    total = len(inline.asked)
    inline.asked, inline.stop = [], stop
    with pytest.raises(KeyboardInterrupt):
        study(small, vary=vary, search=search, points=points, seeds=2, out=tmp_path / "part")
    inline.asked, inline.stop = [], -1
    again = study(small, vary=vary, search=search, points=points, seeds=2, out=tmp_path / "part")
    assert len(inline.asked) == total - stop
    assert lasting(again.result) == lasting(whole.result)


def test_a_finished_study_answers_other_targets_without_training(small: Config, inline: Any, tmp_path: Path) -> None:
    first = study(small, vary={"rounds.total": [2, 4]}, seeds=1, runs=tmp_path)
    count = len(inline.asked)
    asked_again = study(
        small, vary={"rounds.total": [2, 4]}, seeds=1, runs=tmp_path, target_epsilon=1e3, target_accuracy=0.1
    )
    assert len(inline.asked) == count
    assert asked_again.folder == first.folder
    assert asked_again.result["answers"]["target_epsilon"]["id"] == first.result["frontier"][-1]
    assert asked_again.result["answers"]["target_accuracy"]["id"] == first.result["frontier"][0]
    assert asked_again.result["answers"]["target_accuracy"]["surely"] is None  # one seed gives no band
    out_of_reach = study(
        small, vary={"rounds.total": [2, 4]}, seeds=1, runs=tmp_path, target_epsilon=1e-3, target_accuracy=2.0
    )
    assert {each["id"] for each in out_of_reach.result["answers"].values()} == {None}


def test_another_study_has_another_folder_and_never_the_same(small: Config, inline: Any, tmp_path: Path) -> None:
    first = study(small, vary={"rounds.total": [2]}, seeds=1, runs=tmp_path)
    other = study(small, vary={"rounds.total": [2]}, seeds=1, runs=tmp_path, seed=1)
    assert first.folder != other.folder
    with pytest.raises(ConfigError, match="holds another study"):
        study(small, vary={"rounds.total": [3]}, seeds=1, out=first.folder.path)


def test_a_line_cut_off_by_a_crash_is_run_again(small: Config, inline: Any, tmp_path: Path) -> None:
    first = study(small, vary={"rounds.total": [2, 3]}, seeds=1, out=tmp_path / "a")
    content = first.folder.trials.read_bytes()
    first.folder.trials.write_bytes(content[:-30])
    again = study(small, vary={"rounds.total": [2, 3]}, seeds=1, out=tmp_path / "a")
    assert lasting(again.result) == lasting(first.result)
    assert len(first.folder.trials.read_bytes().splitlines()) == len(content.splitlines())
    first.folder.trials.write_bytes(b"{}\n" + content)
    with pytest.raises(ArtefactError, match="line 1 is damaged"):
        study(small, vary={"rounds.total": [2, 3]}, seeds=1, out=tmp_path / "a")


def test_settings_that_cannot_be_run_are_listed_with_the_reason(small: Config, inline: Any, tmp_path: Path) -> None:
    rows = [{"use": "everyone"}, {"use": "fixed", "cohort": 5}, {"use": "fixed", "cohort": 50}]
    found = study(small, vary={"rounds.participation": rows}, seeds=2, out=tmp_path / "a")
    assert len(found.points) == 1
    reasons = {each["values"]["rounds.participation"]["cohort"]: each["reason"] for each in found.result["refused"]}
    assert "replace-one" in reasons[5]
    assert "50 of 12 owners" in reasons[50]
    assert "50 of 12 owners" in found.folder.report.read_text()
    rows_ = list(csv.DictReader(found.folder.points.read_text().splitlines()))
    assert len(rows_) == 3
    assert sum(row["reason"] != "" for row in rows_) == 2


def test_a_study_of_nothing_but_refusals_says_why_and_does_not_train(
    small: Config, inline: Any, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"no setting can be run:\n.*rounds.totl = 2: unknown key; did you mean 'total'"
    ):
        study(small, vary={"rounds.totl": [2, 3]}, out=tmp_path / "a")
    assert asked(inline, "train") == 0


def test_the_file_says_what_is_tried_and_the_call_adds_to_it(small: Config, inline: Any, tmp_path: Path) -> None:
    text = small.to_toml() + f'\n[study]\nseeds = 1\n[study.vary]\nrounds.total = [2, 3]\n"{NOISE}" = [1.0]\n'
    config = parse(text, name="small")
    assert config.digest() == small.digest()  # a study is no part of a federation
    found = study(config, vary={NOISE: [2.0, 3.0]}, out=tmp_path / "a")
    assert len(found.points) == 4
    assert {point["values"][NOISE] for point in found.points} == {2.0, 3.0}
    again = study(config, vary={"rounds.total": [4]}, out=tmp_path / "b")  # the file wrote it as a table of tables
    assert [axis["key"] for axis in again.result["study"]["axes"]] == ["rounds.total", NOISE]
    assert [point["values"]["rounds.total"] for point in again.points] == [4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vary": {}}, "nothing is varied"),
        ({"vary": {"rounds.total": [1]}, "points": 5}, "a grid tries every combination"),
        ({"vary": {"rounds.total": [1]}, "search": "clever"}, "search = 'clever'"),
        ({"vary": {"rounds.total": [1]}, "seeds": 0}, "seeds = 0"),
        ({"vary": {"rounds.total": [1]}, "target_epsilon": -1.0}, "--target-epsilon -1"),
        ({"vary": {"budget.epsilon": [1.0, 2.0]}}, "changes nothing while the noise is given"),
        ({"vary": {"population.owners": [12]}, "predict": 100}, "varied already"),
        ({"vary": {"rounds.total": [1]}, "predict": 5}, "give a larger population"),
        ({"vary": {"rounds.participation": [{"use": "everyone"}], "rounds.participation.rate": [0.1]}}, "lies inside"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_written(
    small: Config, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        study(small, out=tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_numbers_of_owners_are_compared_at_one_delta(small: Config, inline: Any, tmp_path: Path) -> None:
    found = study(small, vary={"population.owners": [10, 20]}, seeds=1, out=tmp_path / "a")
    assert found.result["comparable"] == "epsilon_at_1e-5"
    assert len({point["delta"] for point in found.points}) == 2
    assert all(point["compared"] == point["epsilon_at_1e-5"] > point["epsilon"] for point in found.points)
    assert found.result["tuning"]["delta"] == 1e-5


def test_an_extrapolated_study_says_so_everywhere(small: Config, inline: Any, tmp_path: Path) -> None:
    found = study(small, vary={"rounds.total": [2, 4]}, seeds=2, predict=5000, out=tmp_path / "a")
    assert found.result["extrapolated"]["population"] == 5000
    assert found.result["extrapolated"]["simulated"] == 12
    assert all(
        row["extrapolated_to_owners"] == "5000" for row in csv.DictReader(found.folder.points.read_text().splitlines())
    )
    page = found.folder.report.read_text()
    assert "Extrapolated to 5,000 owners, not simulated" in page
    assert page.count("(extrapolated)") > 5
    plain = study(small, vary={"rounds.total": [2, 4]}, seeds=2, out=tmp_path / "b")
    assert "xtrapolat" not in plain.folder.report.read_text()


def test_the_search_has_its_price(small: Config, inline: Any, tmp_path: Path) -> None:
    grid = study(small, vary={NOISE: [1.0, 2.0]}, seeds=2, out=tmp_path / "a")
    found = grid.result["tuning"]
    assert found["trials"] == 4
    assert found["composed"] > max(point["epsilon"] for point in grid.points)
    assert found["applies"] == "composed"
    chance = study(small, vary={NOISE: [1.0, 2.0]}, search="random", points=2, seeds=2, out=tmp_path / "b")
    assert chance.result["tuning"]["applies"] == "selected"


def test_settings_without_privacy_are_shown_beside_the_frontier(small: Config, inline: Any, tmp_path: Path) -> None:
    open_ = parse(small.to_toml(), {"budget.epsilon": math.inf}, name="open")
    found = study(open_, vary={NOISE: [0.0, 2.0]}, seeds=1, out=tmp_path / "a")
    assert [point["epsilon"] for point in found.points] == [math.inf, pytest.approx(found.frontier[0]["epsilon"])]
    assert len(found.frontier) == 1
    assert found.result["tuning"]["composed"] == math.inf
    assert "Settings without privacy" in found.folder.report.read_text()


def test_progress_counts_to_the_end(small: Config, inline: Any, tmp_path: Path) -> None:
    seen: list[Status] = []
    study(small, vary={"rounds.total": [1, 2]}, seeds=2, out=tmp_path / "a", watch=seen.append)
    done = [status.done for status in seen]
    assert done == sorted(done)
    assert (done[-1], seen[-1].total, seen[-1].kept) == (4, 4, 0)
    assert "best accuracy" in seen[-1].best


def test_the_result_on_the_disk_is_the_result(small: Config, inline: Any, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    found = tacit.study(small, vary={"rounds.total": [1, 2]}, seeds=2, out=tmp_path / "a")
    assert json.loads(found.folder.result.read_text())["frontier"] == found.result["frontier"]
    assert list(found.table()["rounds.total"]) == [1, 2]


def test_a_folder_that_cannot_be_used_is_told(small: Config, inline: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match="is a file"):
        study(small, vary={"rounds.total": [1]}, out=tmp_path / "file")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").write_text("")
    with pytest.raises(ConfigError, match="holds a run"):
        study(small, vary={"rounds.total": [1]}, out=tmp_path / "run")
