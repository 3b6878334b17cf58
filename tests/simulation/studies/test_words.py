"""Words: keys short and yet apart, numbers that never promise more than was found."""

from __future__ import annotations

from typing import Any

import pytest
from tacit.simulation.studies import words


def test_keys_are_as_short_as_they_can_be_told_apart() -> None:
    keys = ["privacy.pipeline.0.norm", "local.norm", "rounds.total"]
    assert words.short_keys(keys) == {keys[0]: "0.norm", keys[1]: "local.norm", keys[2]: "total"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000, "1,000"), (0.30000001, "0.3"), ("sgd", "sgd"), ({"use": "x", "rate": 0.5}, "x rate 0.5"), (True, "True")],
)
def test_values_are_written_out(value: Any, text: str) -> None:
    assert words.value_text(value) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("accuracy", 0.0123, "+1.2\u00a0%"), ("accuracy", -0.2, "−20.0\u00a0%"), ("accuracy", 0.00012, "+0.012\u00a0%"),
     ("loss", -0.5, "−0.5")],
)  # fmt: skip
def test_changes_have_their_sign(metric: str, value: float, text: str) -> None:
    assert words.change_text(metric, value) == text


def point(number: int, epsilon: float, mean: float, values: dict[str, Any]) -> dict[str, Any]:
    return {"id": number, "values": values, "compared": epsilon, "mean": mean, "low": mean - 0.01, "high": mean + 0.01}


def result(**more: Any) -> dict[str, Any]:
    points = [point(0, 1.001, 0.8, {"rounds.total": 5}), point(1, 3.0, 0.9, {"rounds.total": 9})]
    return {
        "metric": "accuracy", "study": {"axes": [{"key": "rounds.total", "values": [5, 9]}], "search": "grid"},
        "points": points, "frontier": [0, 1], "answers": {}, "extrapolated": None, **more,
    }  # fmt: skip


def test_a_target_that_is_met_names_setting_cost_and_band() -> None:
    asked = {"target_epsilon": {"target": 2.0, "id": 0}}
    (sentence,) = words.answers(result(answers=asked))
    assert sentence == "Best accuracy at ε ≤ 2: 80.0\u00a0% ± 1.0\u00a0% at ε = 1.01, with total 5."


def test_a_target_that_is_missed_says_so() -> None:
    asked = {
        "target_epsilon": {"target": 0.1, "id": None},
        "target_accuracy": {"target": 0.95, "id": None, "surely": None},
    }
    first, second = words.answers(result(answers=asked))
    assert "the cheapest costs more" in first
    assert "No setting that was tried reaches accuracy 95.0\u00a0%" in second


def test_what_holds_with_confidence_is_told_apart_from_the_mean() -> None:
    asked = {"target_accuracy": {"target": 0.8, "id": 0, "surely": 1}}
    (sentence,) = words.answers(result(answers=asked))
    assert "ε = 1.01" in sentence
    assert "With 95 % confidence over seeds: ε = 3.00, with total 9." in sentence
    (alone,) = words.answers(result(answers={"target_accuracy": {"target": 0.7, "id": 0, "surely": 0}}))
    assert "Its whole 95 % band lies above." in alone


def test_every_number_of_an_extrapolation_is_marked() -> None:
    extrapolated = {"population": 10**6, "simulated": 100, "how": "so"}
    (sentence,) = words.answers(result(extrapolated=extrapolated))
    assert "(extrapolated)" in sentence
    assert "1,000,000 owners, not simulated" in words.extrapolated_text(result(extrapolated=extrapolated))


@pytest.mark.parametrize(
    ("search", "applies", "said"),
    [
        ("grid", "composed", "only the first number"),
        ("random", "selected", "so the second number applies where"),
    ],
)
def test_the_price_of_the_search_says_which_number_applies(search: str, applies: str, said: str) -> None:
    tuning = {
        "trials": 9,
        "composed": 9.1,
        "selected": 3.2,
        "law": "poisson",
        "mean": 9.0,
        "delta": 1e-5,
        "applies": applies,
    }
    found = words.tuning_text(result(tuning=tuning, study={"search": search, "axes": []}))
    assert "ε = 9.10 at δ = 10⁻⁵" in found[0]
    assert "ε = 3.20" in found[1]
    assert said in found[2]
