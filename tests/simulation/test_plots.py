"""Plots: what is drawn is what was found, and what cannot be drawn is not."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest
from tacit.simulation.curve import curve
from tacit.simulation.overlay import epsilon_overlay, metric_overlay, run_colour, run_dash
from tacit.simulation.plan_plot import plan_plot, plan_png
from tacit.simulation.plots import epsilon_plot, headline_plot, leading_metric, metric_plot, spread_plot


def test_a_curve_keeps_finite_points_in_order() -> None:
    found = curve("x", [3, 1, 2, 4], [0.3, 0.1, math.nan, "inf"])
    assert found is not None
    assert (found.x, found.y) == ((1.0, 3.0), (0.1, 0.3))
    assert curve("x", [1, 2], [None, "inf"]) is None


def test_a_metric_ends_in_its_value(result: dict[str, Any]) -> None:
    drawn = metric_plot(result["rounds"], "accuracy", "a")
    assert drawn is not None
    assert ">97.4\u00a0%</text>" in drawn
    assert 'aria-label="accuracy from' in drawn
    assert metric_plot(result["rounds"], "absent", "a") is None


def test_epsilon_shows_three_curves_or_those_that_differ(result: dict[str, Any]) -> None:
    own = result["curves"][0]
    drawn = epsilon_plot(own, "e")
    assert drawn is not None
    for part in ("4.00", "12.4", "5.88", "draw known"):
        assert part in drawn
    alone = epsilon_plot({**own, "epsilon_unamplified": own["epsilon"], "epsilon_at_1e-5": own["epsilon"]}, "e")
    assert alone is not None
    assert "draw known" not in alone
    assert epsilon_plot(result["curves"][1], "e") is None
    assert epsilon_plot({}, "e") is None


def test_epsilon_far_apart_is_logarithmic(result: dict[str, Any]) -> None:
    own = result["curves"][0]
    far = epsilon_plot({**own, "epsilon_unamplified": [100 * value for value in own["epsilon"]]}, "e")
    assert far is not None
    assert all(f">{tick}</text>" in far for tick in (1, 10, 100))


def test_the_spread_names_its_quantiles(result: dict[str, Any]) -> None:
    drawn = spread_plot(result["spread"], "s")
    assert drawn is not None
    assert "lowest 33.0" in drawn
    assert spread_plot({}, "s") is None


def test_the_headline_picture(result: dict[str, Any], changed: Callable[..., dict[str, Any]]) -> None:
    picture = headline_plot(result)
    words = "".join(ElementTree.fromstring(picture).itertext())
    assert "ε spent" in words
    assert "97.4\u00a0%" in words
    assert "4.00" in words
    assert len(picture) < 30_000
    baseline = changed(rounds=[{**row, "epsilon": "inf"} for row in result["rounds"]])
    assert "ε spent" not in headline_plot(baseline).decode()


def test_no_headline_without_a_value(changed: Callable[..., dict[str, Any]]) -> None:
    for made in (changed(final={}, rounds=[]), changed(rounds=[])):
        with pytest.raises(ValueError, match="no finite metric"):
            headline_plot(made)


@pytest.mark.parametrize(
    ("final", "leading"),
    [
        ({"loss": 1, "accuracy": 1}, "accuracy"),
        ({"loss": 1, "perplexity": 1}, "perplexity"),
        ({"loss": 1}, "loss"),
        ({}, None),
    ],
)
def test_the_metric_that_leads(final: dict[str, float], leading: str | None) -> None:
    assert leading_metric({"final": final}) == leading


def _plan(**more: Any) -> dict[str, Any]:
    rows = [{"rounds": n, "epsilon": 0.5 * n**0.5} for n in (1, 5, 10, 50, 100)]
    return {"delta": 1e-5, "epsilon": 5.0, "epsilon_lower": 5.0, "epsilon_unamplified": 5.0, "curve": rows, **more}


def test_a_plan(result: dict[str, Any]) -> None:
    words = "".join(ElementTree.fromstring(plan_plot(_plan())).itertext())
    assert "5.00" in words
    assert "ε at δ = 10⁻⁵" in words
    assert "draw" not in words
    assert "at least" not in words
    assert plan_png(_plan())[:4] == b"\x89PNG"


def test_a_plan_of_an_interval_says_both_ends() -> None:
    words = "".join(ElementTree.fromstring(plan_plot(_plan(epsilon_lower=4.444, epsilon_unamplified=50.0))).itertext())
    for part in ("at most", "4.44", "at least", "ε = 50.0 for whoever knows each draw"):
        assert part in words
    rows = [
        {**row, "epsilon_lower": row["epsilon"] * 0.8, "epsilon_unamplified": row["epsilon"] * 60}
        for row in _plan()["curve"]
    ]
    words = "".join(ElementTree.fromstring(plan_plot(_plan(curve=rows))).itertext())
    for part in ("4.00", "at least", "300", "draw known"):
        assert part in words


def test_a_plan_of_one_round() -> None:
    assert plan_plot(_plan(curve=[{"rounds": 1, "epsilon": 0.7}]))


def test_a_plan_without_privacy() -> None:
    for rows in ([], [{"rounds": 1, "epsilon": "inf"}]):
        with pytest.raises(ValueError, match="no finite"):
            plan_plot(_plan(curve=rows))


def test_overlays_name_their_runs_and_never_repeat_a_look() -> None:
    letters = [chr(ord("A") + index) for index in range(24)]
    assert len({(run_colour(each), str(run_dash(each))) for each in letters}) == 24
    curves = [made for each in letters[:3] if (made := curve(each, [1, 2], [0.5, 0.9])) is not None]
    for drawn in (metric_overlay(curves, "accuracy", "m"), epsilon_overlay(curves, "e")):
        assert drawn is not None
        assert all(f">{each}</text>" in drawn for each in "ABC")
    assert metric_overlay([], "accuracy", "m") is None
    assert epsilon_overlay([], "e") is None


def test_no_tick_names_a_share_above_everything(result: dict[str, Any]) -> None:
    """The axis leaves room above 100 % for the line's width, but a tick there would name what cannot be."""
    for drawn in (metric_plot(result["rounds"], "accuracy", "a"), headline_plot(result).decode()):
        assert drawn is not None
        ticks = [float(value) for value in re.findall(r">([\d.]+) %</text>", drawn)]
        assert len(ticks) >= 2
        assert max(ticks) <= 100
