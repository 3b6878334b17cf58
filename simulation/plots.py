"""Plots: what the reports draw. Each takes rows of `result.json` and gives SVG, or None where there is nothing to draw.

Curves are labelled at their ends, not in a legend; every plot has a text alternative with its first and last values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .canvas import DASHES, GRID, INK, MUTED, SERIES, canvas, direct_labels, inline, name_axes, standalone
from .curve import Curve, coincide, curve, draw, epsilon_axes, metric_axes, metric_curve, percent
from .markup import Html
from .numerals import epsilon_text, is_share, metric_name, metric_text, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def metric_plot(rows: Sequence[Mapping[str, Any]], metric: str, name: str) -> Html | None:
    """A metric over rounds with its last value written out; `name` keeps the ids of the plots of a page apart."""
    found = metric_curve(rows, metric)
    if found is None:
        return None
    figure, axes = canvas(right=0.86)
    draw(axes, found, SERIES[0])
    metric_axes(axes, metric, [found])
    direct_labels(axes, [(found.x[-1], found.y[-1], metric_text(metric, found.y[-1]), SERIES[0])])
    return inline(figure, found.described(lambda value: metric_text(metric, value)), name)


def epsilon_plot(curves: Mapping[str, Any], name: str) -> Html | None:
    """ε over rounds of one claim: as claimed, with the draw known, and at δ = 1e-5. None where ε is infinite."""
    rounds = curves.get("rounds") or ()
    claimed = curve("as claimed", rounds, curves.get("epsilon") or ())
    if claimed is None:
        return None
    others = [
        (curve("draw known", rounds, curves.get("epsilon_unamplified") or ()), SERIES[1], DASHES[1]),
        (curve("at δ = 10⁻⁵", rounds, curves.get("epsilon_at_1e-5") or ()), SERIES[2], DASHES[2]),
    ]
    drawn: list[tuple[Curve, str, Any]] = [
        (c, colour, dash) for c, colour, dash in others if c is not None and not coincide(c, claimed)
    ]
    drawn.append((claimed, SERIES[0], DASHES[0]))
    figure, axes = canvas(right=0.77)
    for each, colour, dash in drawn:
        draw(axes, each, colour, dash)
    epsilon_axes(axes, [each for each, _, _ in drawn])
    labels = [
        (c.x[-1], c.y[-1], f"{epsilon_text(c.y[-1])}\n{c.label}" if len(drawn) > 1 else epsilon_text(c.y[-1]), colour)
        for c, colour, _ in drawn
    ]
    direct_labels(axes, labels)
    return inline(
        figure, "ε over rounds. " + "; ".join(each.described(epsilon_text) for each, _, _ in reversed(drawn)), name
    )


def spread_plot(spread: Mapping[str, Any], name: str) -> Html | None:
    """How a metric spreads over owners: range, middle 80 %, middle half and median as one box."""
    cuts = {key: number(value) for key, value in (spread.get("quantiles") or {}).items()}
    if not all(math.isfinite(cuts.get(key, math.nan)) for key in ("0", "0.1", "0.25", "0.5", "0.75", "0.9", "1")):
        return None
    metric = str(spread.get("metric", "loss"))
    figure, axes = canvas(height=1.55, right=0.96, top=0.8)
    axes.grid(visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    for low, high, width, alpha in (("0", "1", 1.2, 1.0), ("0.1", "0.9", 9, 0.35), ("0.25", "0.75", 20, 0.8)):
        axes.plot([cuts[low], cuts[high]], [0, 0], color=SERIES[0], linewidth=width, alpha=alpha, solid_capstyle="butt")
    axes.plot([cuts["0.5"]] * 2, [-0.62, 0.62], color=INK, linewidth=2.2)
    name_axes(axes, "range · middle 80 % · middle half · median", f"{metric_name(metric)} of single owners")
    if is_share(metric):
        percent(axes.xaxis)
        axes.set_xlim(max(-0.01, min(cuts.values()) - 0.06), 1.02)
    told = ", ".join(
        f"{text} {metric_text(metric, cuts[key])}"
        for key, text in (("0", "lowest"), ("0.1", "10 %"), ("0.5", "median"), ("0.9", "90 %"), ("1", "highest"))
    )
    return inline(figure, f"{metric_name(metric)} of single owners: {told}", name)


def headline_plot(result: Mapping[str, Any]) -> bytes:
    """Accuracy (or the run's first metric) over rounds below, the ε spent until then above: an SVG file.

    Raises `ValueError` for a run without a single finite value.
    """
    rows = result.get("rounds") or ()
    metric = leading_metric(result)
    found = metric_curve(rows, metric) if metric else None
    if found is None or metric is None:
        raise ValueError("the run has no finite metric to draw; evaluate at least one round")
    figure, axes = canvas(width=6.4, height=3.4, right=0.88, top=0.8)
    draw(axes, found, SERIES[0], width=2.4)
    metric_axes(axes, metric, [found], above=1.14)
    direct_labels(axes, [(found.x[-1], found.y[-1], metric_text(metric, found.y[-1]), SERIES[0])])
    spent = curve("ε spent", [row.get("round") for row in rows], [row.get("epsilon") for row in rows])
    if spent is not None and len(spent.x) > 1:
        _epsilon_above(axes, spent)
    described = found.described(lambda value: metric_text(metric, value))
    return standalone(figure, described if spent is None else f"{described}; {spent.described(epsilon_text)}")


def _epsilon_above(axes: Axes, spent: Curve) -> None:
    """A second axis on top: at which round which ε was reached."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    low, high = spent.y[0], spent.y[-1]
    inner = [value for value in MaxNLocator(6).tick_values(low, high) if low <= value < high - 0.07 * (high - low)]
    values = [*inner, high]
    above = axes.secondary_xaxis("top")
    above.spines["top"].set_color(MUTED)
    above.set_xticks(np.interp(values, spent.y, spent.x).tolist())
    above.set_xticklabels([*(f"{value:g}" for value in inner), epsilon_text(high)])
    above.tick_params(length=3, color=MUTED, labelcolor=SERIES[1], labelsize=9, pad=2)
    left = -axes.get_position().x0 / axes.get_position().width
    axes.text(left, 1.028, "ε spent", transform=axes.transAxes, color=SERIES[1], fontsize=9, ha="left", va="bottom")


def leading_metric(result: Mapping[str, Any]) -> str | None:
    """The metric that stands for a run: accuracy where there is one, else the first other than the loss, else the loss."""
    names = [str(name) for name in (result.get("final") or {})]
    for wanted in ("accuracy", *(name for name in names if name != "loss"), "loss"):
        if wanted in names:
            return wanted
    return None
