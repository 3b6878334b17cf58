"""Plots of a study: the frontier of accuracy against ε with its bands, and ε over rounds of the settings on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..canvas import DASHES, GRID, INK, MUTED, SERIES, canvas, direct_labels, inline, name_axes
from ..curve import Curve, curve, draw, epsilon_axes, logarithmic, percent
from ..markup import Html
from ..numerals import epsilon_text, is_share, metric_name, metric_text, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 8.0  # from this ratio of largest to smallest ε on, the axis is logarithmic
_LETTERS = 12  # settings on the frontier that are called by letters in the plot


def letters(frontier: Sequence[int]) -> dict[int, str]:
    """What the settings on the frontier are called, by rising ε: A … Z, then A26 and so on."""
    return {each: chr(ord("A") + i) if i < 26 else f"A{i}" for i, each in enumerate(frontier)}


def frontier_plot(result: Mapping[str, Any], name: str) -> Html | None:
    """Every setting as a dot, the frontier as a line with the 95 % band of its settings; None without a finite ε."""
    metric = str(result["metric"])
    points = [each for each in result["points"] if math.isfinite(number(each["compared"])) and each["mean"] is not None]
    by_id = {each["id"]: each for each in points}
    on = [by_id[each] for each in result["frontier"] if each in by_id]
    if not on:
        return None
    figure, axes = canvas(height=3.3, right=0.95, top=0.88)
    rest = [each for each in points if not each["frontier"]]
    axes.plot([number(e["compared"]) for e in rest], [number(e["mean"]) for e in rest], "o", color=MUTED, markersize=3,
              alpha=0.45, zorder=2)  # fmt: skip
    x, y = [number(each["compared"]) for each in on], [number(each["mean"]) for each in on]
    low, high = [number(each["low"]) for each in on], [number(each["high"]) for each in on]
    if all(math.isfinite(value) for value in (*low, *high)):
        if is_share(metric):
            low, high = [max(0.0, value) for value in low], [min(1.0, value) for value in high]
        axes.fill_between(x, low, high, color=SERIES[0], alpha=0.16, linewidth=0, zorder=1)
    axes.plot(x, y, color=SERIES[0], linewidth=2.2, marker="o", markersize=4.5, zorder=4)
    wide = min(x) > 0 and max(number(e["compared"]) for e in points) / min(x) > _WIDE
    if wide:
        logarithmic(axes.set_xscale, axes.xaxis)
    else:
        axes.set_xlim(left=0)
    name_axes(axes, _epsilon_axis(result), f"{metric_name(metric)} on public test data")
    if is_share(metric):
        percent(axes.yaxis)
    _scale(axes, points, on)
    _budget(axes, result)
    _named(axes, result, x, y)
    described = f"{metric_name(metric)} against ε: " + ", ".join(
        f"{metric_text(metric, b)} at ε {epsilon_text(a)}" for a, b in zip(x, y, strict=True)
    )
    return inline(figure, described, name)


def _epsilon_axis(result: Mapping[str, Any]) -> str:
    at = " at δ = 10⁻⁵" if result["comparable"] != "epsilon" else ""
    extrapolated = result.get("extrapolated")
    return f"ε{at}" if extrapolated is None else f"ε{at}, extrapolated to {extrapolated['population']:,} owners"


def _scale(axes: Axes, points: Sequence[Mapping[str, Any]], on: Sequence[Mapping[str, Any]]) -> None:
    """Room for the frontier: settings far below the least of it are cut off rather than press it flat."""
    means = [number(each["mean"]) for each in points]
    ends = [number(each[key]) for each in on for key in ("low", "high", "mean") if math.isfinite(number(each[key]))]
    low, high = min(min(ends), sorted(means)[len(means) // 10]), max(*ends, *means)
    room = 0.06 * (high - low) or 0.05
    axes.set_ylim(low - room, high + room)


def _budget(axes: Axes, result: Mapping[str, Any]) -> None:
    budget, (left, right) = number(result.get("budget")), axes.get_xlim()
    if math.isfinite(budget) and left < budget < right and result["comparable"] == "epsilon":
        axes.axvline(budget, color=GRID, linewidth=1.4, zorder=1)
        axes.text(budget, axes.get_ylim()[0], f" budget {epsilon_text(budget)}", color=MUTED, fontsize=8.5, va="bottom")


def _named(axes: Axes, result: Mapping[str, Any], x: Sequence[float], y: Sequence[float]) -> None:
    called = list(letters(result["frontier"]).values())
    step = max(1, math.ceil(len(called) / _LETTERS))
    for index in sorted({*range(0, len(called), step), len(called) - 1}):
        axes.annotate(called[index], (x[index], y[index]), xytext=(0, 7), textcoords="offset points", color=INK,
                      fontsize=9, ha="center", parse_math=False, zorder=6)  # fmt: skip


def spent_plot(result: Mapping[str, Any], name: str) -> Html | None:
    """ε over rounds of settings on the frontier, called by their letters."""
    called = letters(result["frontier"])
    drawn: list[Curve] = []
    for each in result.get("curves") or ():
        found = curve(called.get(each["id"], ""), each["rounds"], each["epsilon"])
        if found is not None:
            drawn.append(found)
    if not drawn:
        return None
    figure, axes = canvas(right=0.93)
    for index, one in enumerate(drawn):
        draw(axes, one, SERIES[index % len(SERIES)], DASHES[index // len(SERIES)], zorder=3 + index)
    epsilon_axes(axes, drawn)
    direct_labels(axes, [(c.x[-1], c.y[-1], c.label, SERIES[i % len(SERIES)]) for i, c in enumerate(drawn)])
    return inline(figure, "ε over rounds. " + "; ".join(each.described(epsilon_text) for each in drawn), name)
