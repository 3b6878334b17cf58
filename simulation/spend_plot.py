"""Spend plot: how the ε of an asset grew, charge by charge, beside what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .canvas import DASHES, SERIES, canvas, name_axes, png, standalone
from .numerals import epsilon_text, small_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Sequence[tuple[int, int, float]]


def spend_plot(points: Points, limit: float | None, delta: float) -> bytes:
    """An SVG file of (charges, seconds since 1970, ε), over time; raises `ValueError` where no ε is finite."""
    return standalone(*_drawn(points, limit, delta))


def spend_png(points: Points, limit: float | None, delta: float) -> bytes:
    """The same as a PNG file."""
    return png(_drawn(points, limit, delta)[0])


def _drawn(points: Points, limit: float | None, delta: float) -> tuple[Figure, str]:
    finite = [point for point in points if math.isfinite(point[2])]
    if not finite:
        raise ValueError("nothing was charged whose ε is finite; there is nothing to draw")
    from matplotlib.dates import date2num

    figure, axes = canvas(width=6.4, height=3.6)
    # A clock may go backwards, spending does not: a point stands at the latest time so far.
    times, latest = [], -math.inf
    for _, time, _ in finite:
        latest = max(latest, time)
        times.append(datetime.fromtimestamp(latest, UTC))
    axes.xaxis_date()
    days = date2num(times)  # type: ignore[no-untyped-call]  # matplotlib's dates carry no types
    axes.plot(days, [point[2] for point in finite], color=SERIES[0], linewidth=2.4, drawstyle="steps-post")
    highest = finite[-1][2]
    if limit is not None and math.isfinite(limit):
        axes.axhline(limit, color=SERIES[1], linestyle=DASHES[1], linewidth=1.6)
        axes.text(0.02, limit, f"allowed {epsilon_text(limit)}", transform=axes.get_yaxis_transform(), color=SERIES[1],
                  fontsize=9, va="bottom")  # fmt: skip
        highest = max(highest, limit)
    axes.set_ylim(0, 1.12 * highest if highest > 0 else 1.0)
    figure.autofmt_xdate()
    name_axes(axes, "time (UTC)", f"ε at δ = {small_text(delta)}")
    described = f"ε over time: {epsilon_text(finite[-1][2])} after {finite[-1][0]} charges"
    return figure, described
