"""Overlay: the curves of several runs in one plot, each run called by its letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .canvas import DASHES, SERIES, canvas, direct_labels, inline
from .curve import Curve, draw, epsilon_axes, metric_axes
from .markup import Html, tag


def metric_overlay(curves: Sequence[Curve], metric: str, name: str) -> Html | None:
    """One metric of several runs; each curve is labelled by its run's letter."""
    if not curves:
        return None
    figure, axes = canvas(right=0.94)
    for index, each in enumerate(curves):
        draw(axes, each, run_colour(each.label), run_dash(each.label), zorder=3 + index)
    metric_axes(axes, metric, curves)
    direct_labels(axes, [(c.x[-1], c.y[-1], c.label, run_colour(c.label)) for c in curves])
    return inline(figure, "; ".join(each.described() for each in curves), name)


def run_colour(letter: str) -> str:
    """The colour of the run called A, B, C, …"""
    return SERIES[_ordinal(letter) % len(SERIES)]


def run_dash(letter: str) -> Any:
    """The dash pattern of the run called A, B, C, …: another one when the colours begin again."""
    return DASHES[_ordinal(letter) // len(SERIES) % len(DASHES)]


def _ordinal(letter: str) -> int:
    return int(letter[1:]) if letter[1:].isdigit() else ord(letter[:1] or "A") - ord("A")


def epsilon_overlay(curves: Sequence[Curve], name: str) -> Html | None:
    """ε over rounds of several runs; each curve is labelled by its run's letter."""
    if not curves:
        return None
    figure, axes = canvas(right=0.94)
    for index, each in enumerate(curves):
        draw(axes, each, run_colour(each.label), run_dash(each.label), zorder=3 + index)
    epsilon_axes(axes, curves)
    direct_labels(axes, [(c.x[-1], c.y[-1], c.label, run_colour(c.label)) for c in curves])
    return inline(figure, "ε over rounds. " + "; ".join(each.described() for each in curves), name)


def swatch(letter: str) -> Html:
    """A short line in the run's colour, for the legend."""
    series = _ordinal(letter) % len(SERIES) + 1
    return tag("i", style=f"border-color: var(--series-{series})", aria_hidden="true")
