"""Spend plot: how the ε of an asset grew, charge by charge, beside what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from .canvas import DASHES, SERIES, canvas, direct_labels, name_axes, png, standalone
from .numerals import epsilon_text, small_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST = 10 / 86_400  # days that the axis spans at least
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

    figure, axes = canvas(width=6.4, height=3.6, right=0.95, top=0.88)
    # A clock may go backwards, spending does not: a point stands at the latest time so far.
    times, latest = [], -math.inf
    for _, time, _ in finite:
        latest = max(latest, time)
        times.append(datetime.fromtimestamp(latest, UTC))
    days = date2num(times)  # type: ignore[no-untyped-call]  # matplotlib's dates carry no types
    _time_axis(axes, float(days[0]), float(days[-1]))
    # Each charge is a step; between points that leave charges out, nothing is known of the way.
    whole = all(later[0] - earlier[0] == 1 for earlier, later in pairwise(finite))
    style: Literal["steps-post", "default"] = "steps-post" if whole else "default"
    axes.plot(days[-1:], [finite[-1][2]], "o", color=SERIES[0], markersize=6, clip_on=False)
    axes.plot(days, [point[2] for point in finite], color=SERIES[0], linewidth=2.4, drawstyle=style)
    highest = finite[-1][2]
    if limit is not None and math.isfinite(limit):
        axes.axhline(limit, color=SERIES[1], linestyle=DASHES[1], linewidth=1.6)
        axes.text(0.02, limit, f"allowed {epsilon_text(limit)}", transform=axes.get_yaxis_transform(), color=SERIES[1],
                  fontsize=9, va="bottom")  # fmt: skip
        highest = max(highest, limit)
    axes.set_ylim(0, 1.12 * highest if highest > 0 else 1.0)
    name_axes(axes, _between(times[0], times[-1]), f"ε spent, at δ = {small_text(delta)}")
    direct_labels(axes, [(days[-1], finite[-1][2], epsilon_text(finite[-1][2]), SERIES[0])])
    described = f"ε over time: {epsilon_text(finite[-1][2])} after {finite[-1][0]} charges"
    return figure, described


def _between(first: datetime, last: datetime) -> str:
    """The time from `first` to `last` in words, each day named once."""
    days = [f"{each.day} {each:%B %Y}" for each in (first, last)]
    if days[0] != days[1]:
        return f"{days[0]}, {first:%H:%M}, to {days[1]}, {last:%H:%M} UTC"
    return f"{days[0]}, {first:%H:%M}{'' if f'{first:%H:%M}' == f'{last:%H:%M}' else f' to {last:%H:%M}'} UTC"


def _time_axis(axes: Axes, first: float, last: float) -> None:
    """Few marks, none finer than a second; `first` and `last` in days."""
    from matplotlib.dates import MICROSECONDLY, AutoDateLocator, ConciseDateFormatter

    span = max(last - first, _LEAST)
    axes.set_xlim(first - 0.02 * span, first + 1.02 * span)
    locator = AutoDateLocator(tz=UTC, minticks=2, maxticks=6)  # type: ignore[no-untyped-call]  # as above
    locator.intervald[MICROSECONDLY] = [10**6]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=UTC, show_offset=False)  # type: ignore[no-untyped-call]  # as above
    formatter.formats[5] = formatter.zero_formats[5] = "%H:%M:%S"
    axes.xaxis.set_major_formatter(formatter)
