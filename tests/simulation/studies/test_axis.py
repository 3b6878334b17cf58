"""Axes: values and ranges by key; what cannot be swept is refused with the remedy."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.config import ConfigError
from tacit.simulation.studies.axis import Choices, Range, axes_of


@given(
    low=st.floats(1e-3, 10), factor=st.floats(1.1, 1e3), steps=st.integers(2, 20), scale=st.sampled_from(["linear", "log"]),
    place=st.floats(0, 1),
)  # fmt: skip
def test_a_range_keeps_within_its_ends_and_rises(
    low: float, factor: float, steps: int, scale: Any, place: float
) -> None:
    (axis,) = axes_of({"k": {"from": low, "to": low * factor, "steps": steps, "scale": scale}})
    grid = axis.grid()
    assert list(grid) == sorted(set(grid))
    assert len(grid) <= steps
    assert low <= axis.at(place) <= low * factor
    assert axis.at(axis.place(axis.at(place))) == pytest.approx(axis.at(place), rel=1e-3)


@given(values=st.lists(st.integers(-100, 100), min_size=1, unique=True), place=st.floats(0, 1, exclude_max=True))
def test_every_choice_has_its_place(values: list[int], place: float) -> None:
    (axis,) = axes_of({"k": values})
    assert axis.grid() == tuple(sorted(values))
    assert [axis.at(axis.place(each)) for each in axis.grid()] == sorted(values)
    assert axis.at(place) in values


def test_logarithmic_steps_multiply() -> None:
    (axis,) = axes_of({"k": {"from": 1.0, "to": 16.0, "steps": 5, "scale": "log"}})
    assert axis.grid() == (1.0, 2.0, 4.0, 8.0, 16.0)


def test_a_range_of_whole_numbers_gives_whole_numbers() -> None:
    (axis,) = axes_of({"rounds.total": {"from": 1, "to": 4, "steps": 9}})
    assert axis.grid() == (1, 2, 3, 4)
    assert all(isinstance(value, int) for value in axis.grid())


def test_nested_tables_and_quoted_keys_are_the_same() -> None:
    rows = [{"use": "everyone"}, {"use": "poisson", "rate": 0.5}]
    nested = {"rounds": {"total": [1, 2], "participation": rows}, "local": {"lr": {"from": 1.0, "to": 2.0}}}
    flat = {"rounds.total": [1, 2], "rounds.participation": rows, "local.lr": {"from": 1.0, "to": 2.0}}
    assert axes_of(nested) == axes_of(flat)
    assert axes_of(flat)[1] == Choices("rounds.participation", tuple(rows))
    assert axes_of(flat)[2] == Range("local.lr", 1.0, 2.0)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "nothing is varied"),
        ({"rounds.total": []}, "rounds.total = \\[\\]: no value"),
        ({"rounds.total": 10}, "rounds.total = 10: is one value"),
        ({"rounds.total": "many"}, "is one value"),
        ({"rounds.total": [1, 1]}, "holds 1 twice"),
        ({"task.split": [1, 2]}, "task.split: changes what is learned or the data"),
        ({"population": {"partition": [{"use": "iid"}]}}, "population.partition: deals the task's data otherwise"),
        ({"privacy.unit": ["owner", "example"]}, "different units"),
        ({"privacy.relation": ["zero-out"]}, "different relations"),
        ({"privacy.delta": [1e-5]}, "different δ"),
        ({"budget.observer": ["server"]}, "different observers"),
        ({"evaluation.every": [1]}, "changes what is measured"),
        ({"study.seeds": [1]}, "no part of a federation"),
        ({"local.lr": {"from": 2, "to": 1}}, "the smaller one first"),
        ({"local.lr": {"from": 0.0, "to": 1.0, "scale": "log"}}, "begin above 0"),
        ({"local.lr": {"from": 1.0, "to": math.inf}}, "give two numbers"),
        ({"local.lr": {"from": 1.0, "to": 2.0, "scale": "cubic"}}, 'give "linear" or "log"'),
        ({"local.lr": {"from": 1.0, "to": 2.0, "steps": 1}}, "steps = 1"),
        ({"local.lr": {"from": 1.0, "to": 2.0, "stepps": 3}}, "stepps: unknown"),
    ],
)
def test_what_cannot_be_swept_is_refused(vary: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        axes_of(vary)


def test_taskless_keys_that_only_begin_alike_are_not_refused() -> None:
    (axis,) = axes_of({"tasks": [1, 2]})
    assert axis.key == "tasks"
