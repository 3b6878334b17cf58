"""`tacit study`: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from tacit.commands.study import varied_of
from tacit.config import ConfigError
from tacit.simulation.studies import study as module
from tacit.simulation.studies.crew import StudyError
from tacit.simulation.studies.worker import ANSWERS, bench_of

NOISE = "privacy.pipeline.1.noise_multiplier"


class Inline:
    """A crew without processes; the answer number `fail_at` is `fault` instead."""

    fail_at, fault, given = -1, KeyboardInterrupt(), 0

    def __init__(self, config: Mapping[str, Any], folder: str | None, predict: int | None, size: int) -> None:
        self.bench = bench_of({"config": config, "folder": folder, "predict": predict})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def answers(self, asked: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, ask in enumerate(asked):
            if type(self).given == type(self).fail_at:
                raise type(self).fault
            type(self).given += 1
            yield index, ANSWERS[ask["do"]](self.bench, ask)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    kind = type("Here", (Inline,), {})
    monkeypatch.setattr(module, "Crew", kind)
    return kind


def test_it_prints_the_frontier_the_answers_and_the_price_and_leaves_a_page(program, small: Path, crew) -> None:
    ended = program("study", str(small), "--vary", "rounds.total=2,4", "--vary", f"{NOISE}=1,4", "--seeds", "2", "-q",
                    "--target-epsilon", "50", "--csv", "all.csv")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.err == ""
    for text in ("4 settings, 8 trainings", "The frontier", "Best accuracy at ε ≤ 50", "Composed:", "Selected:",
                 "What more of each buys", "protects nobody's real data", "report.html"):  # fmt: skip
        assert text in ended.out
    (folder,) = Path("runs").glob("study-small-*")
    assert {path.name for path in folder.iterdir()} == {
        "study.json", "trials.jsonl", "points.csv", "report.html", "frontier.json", "lock",
    }  # fmt: skip
    assert Path("all.csv").read_text() == (folder / "points.csv").read_text()


def test_json_is_the_result(program, small: Path, crew) -> None:
    ended = program("study", str(small), "--vary", "rounds.total=1,2", "--seeds", "1", "--json", "-q", "--out", "s")
    found = json.loads(ended.out)
    assert found["folder"] == "s"
    assert [point["values"] for point in found["points"]] == [{"rounds.total": 1}, {"rounds.total": 2}]
    assert found["kind"] == "study"
    assert all("events" not in point and point["mechanism"]["once"]["event"] == "poisson" for point in found["points"])


def test_progress_is_on_standard_error(program, small: Path, crew) -> None:
    ended = program("study", str(small), "--vary", "rounds.total=1,2", "--seeds", "1")
    assert "training 2/2" in ended.err
    assert "best accuracy" in ended.err


def test_interrupted_it_says_what_is_kept_and_how_to_go_on(program, small: Path, crew) -> None:
    crew.fail_at = 5  # two sketches, two prices, one training
    arguments = ("study", str(small), "--vary", "rounds.total=1,2", "--seeds", "2", "-q")
    ended = program(*arguments)
    assert ended.code == 130
    assert "1 of 4 trainings are kept; the same command goes on" in ended.err
    crew.fail_at = -1
    assert program(*arguments).code == 0
    curves = crew.given - (2 + 2 + 4)  # nothing twice: sketches, prices, trainings, and a curve of each on the frontier
    assert curves in (1, 2)


def test_a_worker_that_ends_is_a_failure(program, small: Path, crew) -> None:
    crew.fail_at, crew.fault = 2, StudyError("a worker ended with signal 9")
    ended = program("study", str(small), "--vary", "rounds.total=1,2", "-q")
    assert ended.code == 1
    assert "signal 9" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is varied"),
        (["--vary", "rounds.total"], "write key=values"),
        (["--vary", "rounds.total=1", "--vary", "rounds.total=2"], "given twice"),
        (["--vary", "rounds.total=[]"], "no value to try"),
        (["--vary", "task.split=1,2"], "the data it is learned from"),
        (["--vary", "rounds.totl=1,2"], "did you mean 'total'?"),
        (["--vary", "rounds.total=1,2", "--points", "3"], "a grid tries every combination"),
        (["--vary", "rounds.total=1,2", "--predict", "3"], "give a larger population"),
        (["--vary", "rounds.total=1,2", "--set", "rounds.totl=1"], "did you mean 'total'?"),
    ],
)
def test_what_cannot_be_studied_is_usage(program, small: Path, crew, arguments: list[str], message: str) -> None:
    ended = program("study", str(small), *arguments)
    assert ended.code == 2, ended.err
    assert message in " ".join(ended.err.split())


def test_an_extrapolation_is_called_that(program, small: Path, crew) -> None:
    ended = program("study", str(small), "--vary", "rounds.total=1,2", "--seeds", "2", "--predict", "1200", "-q")
    assert ended.code == 0, ended.err
    assert "Extrapolated to 1,200 owners, not simulated" in ended.out
    assert ended.out.count("(extrapolated)") >= 4


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a=1,2.5", [1, 2.5]),
        ("a=[1, 2]", [1, 2]),
        ("a=sgd,adam", ["sgd", "adam"]),
        ('a={from=1,to=2,scale="log"}', {"from": 1, "to": 2, "scale": "log"}),
        ("a=[{use='everyone'},{use='fixed',cohort=9}]", [{"use": "everyone"}, {"use": "fixed", "cohort": 9}]),
        ("a=7", [7]),
    ],
)
def test_values_are_lists_ranges_or_rows(given: str, found: object) -> None:
    assert varied_of([given]) == {"a": found}


def test_a_broken_row_is_refused() -> None:
    with pytest.raises(ConfigError, match="is one value"):
        module.space_of(varied_of(["a=[1, "]))
