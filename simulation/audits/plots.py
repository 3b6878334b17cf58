"""Plots of an audit: what was shown beside what is claimed, and the attacks as curves over few false positives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..canvas import DASHES, GRID, INK, MUTED, SERIES, canvas, direct_labels, inline, name_axes
from ..curve import logarithmic
from ..markup import Html
from ..numerals import epsilon_text, lower_text, number

_LEAST = 1e-3


def bound_plot(views: Mapping[str, Mapping[str, Any]], name: str) -> Html | None:
    """ε on one axis: for each view the proven bound as a bar, how far it could have reached as a line, the claim as a rule."""
    rows = [(str(view), found) for view, found in views.items() if math.isfinite(number(found.get("claim")))]
    if not rows:
        return None
    figure, axes = canvas(height=0.95 + 0.62 * len(rows), right=0.95, top=0.78)
    axes.grid(visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    claim = number(rows[0][1]["claim"])
    told = [f"claimed {epsilon_text(claim)}"]
    for place, (view, found) in enumerate(reversed(rows)):
        bound, reach, guess = (number(found.get(key)) for key in ("bound", "reach", "estimate"))
        axes.plot([0, reach], [place, place], color=MUTED, linewidth=1.2, zorder=2)
        axes.plot([reach], [place], "|", color=MUTED, markersize=11, zorder=2)
        axes.plot([0, bound], [place, place], color=SERIES[0 if bound <= claim else 1], linewidth=11, zorder=3,
                  solid_capstyle="butt")  # fmt: skip
        if math.isfinite(guess) and guess <= 1.6 * max(reach, claim):
            axes.plot([guess], [place], "o", markersize=6, markerfacecolor="none", markeredgecolor=INK, zorder=4)
        axes.annotate(f"{view}: shown {lower_text(bound)}", (0, place), xytext=(2, 9), textcoords="offset points",
                      fontsize=9, color=INK, va="bottom", zorder=5)  # fmt: skip
        told.append(f"{view}: shown {lower_text(bound)}, could have shown {lower_text(reach)}")
    axes.axvline(claim, color=SERIES[1], linewidth=1.8, linestyle=(0, (5, 2)), zorder=6)
    axes.set_yticks([])
    axes.set_ylim(-0.5, len(rows) - 0.25)
    axes.set_xlim(0, None)
    name_axes(axes, "ε: bar shown · line possible · ring estimated · dashes claimed", "", 1.02)
    return inline(figure, "ε of the audit. " + "; ".join(told), name)


def roc_plot(curves: Sequence[tuple[str, Mapping[str, Any]]], limit: Sequence[Sequence[Any]], name: str) -> Html | None:
    """True over false positives, both logarithmic; what the claim permits as dashes, blind guessing as dots."""
    if not curves:
        return None
    figure, axes = canvas(right=0.76, height=3.3)
    logarithmic(axes.set_xscale, axes.xaxis)
    logarithmic(axes.set_yscale, axes.yaxis)
    labels = []
    told = []
    for (label, found), colour in zip(curves, SERIES, strict=False):
        points = [(max(_LEAST, number(x)), number(y)) for x, y in zip(found["fpr"], found["tpr"], strict=True)]
        points = [(x, y) for x, y in points if y > 0]
        axes.step(*zip(*points, strict=True), where="post", color=colour, linewidth=1.9, zorder=4)
        at = _height(points, 0.1)
        labels.append((1.0, max(at, _LEAST), f"{label}\narea {number(found['area']):.3f}", colour))
        told.append(f"{label}: {100 * number(found['tpr_at']['0.01']):.1f} % true at 1 % false positives")
    bounds = [(number(x), number(y)) for x, y in limit if number(x) > 0]
    if bounds:
        axes.plot(*zip(*bounds, strict=True), color=INK, linewidth=1.4, linestyle=DASHES[1], zorder=3)
        labels.append((1.0, 1.0, "permitted by\nthe claim", INK))
    axes.plot([_LEAST, 1], [_LEAST, 1], color=MUTED, linewidth=1.2, linestyle=DASHES[2], zorder=2)
    axes.set_xlim(_LEAST, 1)
    axes.set_ylim(_LEAST, 1.12)
    direct_labels(axes, labels)
    name_axes(axes, "false positives", "true positives")
    return inline(figure, "Membership inference. " + "; ".join(told), name)


def _height(points: Sequence[tuple[float, float]], at: float) -> float:
    return max((y for x, y in points if x <= at), default=_LEAST)
