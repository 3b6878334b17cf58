"""Comparison: runs side by side, and what differed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tacit.simulation.comparison import comparison, letter

HOSTILE = "<script>alert('x')</script>\"' &"


def test_two_runs(result: dict[str, Any], changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]) -> None:
    other = changed(**{"config.name": HOSTILE, "config.privacy.pipeline.0.norm": 0.5, "final.accuracy": 0.9, "seed": 8})
    page = read(comparison([result, other]))
    for part in (HOSTILE, "privacy.pipeline.0.norm", "0.5", "97.4", "90.0", "4.00", "12.4", "5.88", "seed 8"):
        assert part in page.text
    assert "rounds.quorum" not in page.text
    assert "cannot be held against one another" not in page.text


def test_the_best_value_is_marked_once(result: dict[str, Any], changed: Callable[..., dict[str, Any]]) -> None:
    text = comparison([result, changed(**{"final.accuracy": 0.9})])
    assert text.count('<span class="best">97.4') == 1
    assert text.count('class="best"') == 1  # where runs are equal, none is best


@pytest.mark.parametrize("key", ["unit", "relation", "observer"])
def test_unlike_claims_are_not_to_be_compared(
    key: str, result: dict[str, Any], changed: Callable[..., dict[str, Any]]
) -> None:
    assert "cannot be held against one another" in comparison([result, changed(**{f"privacy.0.{key}": "example"})])


def test_unlike_deltas_are_pointed_out(result: dict[str, Any], changed: Callable[..., dict[str, Any]]) -> None:
    assert "different δ" in comparison([result, changed(**{"privacy.0.delta": 1e-6})])


def test_runs_without_privacy_metrics_or_curves(
    result: dict[str, Any], changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]
) -> None:
    bare = changed(privacy=[], curves=[], rounds=[], final={}, seed=None, config={})
    baseline = changed(**{"privacy.0.epsilon": "inf", "curves.0.epsilon": ["inf"] * 12})
    page = read(comparison([result, bare, baseline]))
    assert "not private or without a curve: B, C" in page.text
    assert "∞" in page.text


def test_one_run_and_many(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    assert "1 run side by side" in read(comparison([result])).text
    assert "the configurations are equal" in read(comparison([result] * 28)).text


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="name at least one run"):
        comparison([])


def test_letters_are_distinct() -> None:
    assert len({letter(index) for index in range(60)}) == 60
    assert letter(0) == "A"
