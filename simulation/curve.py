"""Curve: points over rounds, and the axes that they are drawn on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .canvas import PAPER, name_axes
from .numerals import is_share, metric_name, number, plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKED = 6  # a curve of at most so many points shows them
_WIDE = 12.0  # from this ratio of largest to smallest final ε on, the axis of ε is logarithmic
_WIDE_LOSS = 50.0  # the same for a loss


@dataclass(frozen=True, slots=True)
class Curve:
    """A named curve: finite points only, ascending in x."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def described(self, text: Callable[[float], str] = plain_text) -> str:
        """First and last point in words, values written by `text`."""
        last = f"{text(self.y[-1])} at round {plain_text(self.x[-1])}"
        if len(self.x) == 1:
            return f"{self.label} {last}"
        return f"{self.label} from {text(self.y[0])} at round {plain_text(self.x[0])} to {last}"


def curve(label: str, x: Sequence[Any], y: Sequence[Any]) -> Curve | None:
    """The curve of the finite points of (x, y); None where there is none."""
    points = [(number(a), number(b)) for a, b in zip(x, y, strict=False)]
    kept = sorted((a, b) for a, b in points if math.isfinite(a) and math.isfinite(b))
    return Curve(label, tuple(a for a, _ in kept), tuple(b for _, b in kept)) if kept else None


def metric_curve(rows: Sequence[Mapping[str, Any]], metric: str, label: str = "") -> Curve | None:
    """A metric over the evaluated rounds."""
    values = [(row.get("metrics") or {}).get(metric) for row in rows]
    return curve(label or metric_name(metric), [row.get("round") for row in rows], values)


def coincide(first: Curve, second: Curve) -> bool:
    """Whether two curves would be drawn over one another."""
    return first.x == second.x and all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(first.y, second.y, strict=True))


def draw(axes: Axes, each: Curve, colour: str, dash: Any = "solid", width: float = 1.9, zorder: float = 3) -> None:
    """The curve with a dot at its end, where its label goes."""
    marker = "o" if len(each.x) <= _MARKED else None
    axes.plot(
        each.x, each.y, color=colour, linestyle=dash, linewidth=width, marker=marker, markersize=3.6, zorder=zorder
    )
    axes.plot(each.x[-1:], each.y[-1:], "o", color=colour, markersize=6, markeredgecolor=PAPER, zorder=zorder + 10,
              clip_on=False)  # fmt: skip


def metric_axes(axes: Axes, metric: str, curves: Sequence[Curve], above: float = 1.05) -> None:
    """Axes of a metric over rounds: percent for shares, logarithmic where a positive metric spans orders."""
    name_axes(axes, "round", f"{metric_name(metric)} on public test data", above)
    rounds_axis(axes, curves)
    low, high = span(curves)
    if is_share(metric):
        floor, ceiling = max(0.0, low - 0.05), min(1.03, high + 0.05)
        axes.set_ylim(floor, ceiling)
        percent(axes.yaxis)
        # The room above 100 % is for the line's width; a tick there would name a share that cannot be.
        axes.set_yticks([tick for tick in axes.get_yticks() if floor <= tick <= min(ceiling, 1.0)])
    elif low > 0 and high / low > _WIDE_LOSS:
        logarithmic(axes.set_yscale, axes.yaxis)
    else:
        floor = min(0.0, low)
        axes.set_ylim(floor, high + 0.06 * (high - floor) if high > floor else floor + 1.0)


def epsilon_axes(axes: Axes, curves: Sequence[Curve]) -> None:
    """Axes of ε over rounds, from zero; logarithmic where one curve would press another to the ground."""
    name_axes(axes, "round", "ε spent so far")
    rounds_axis(axes, curves)
    ends = [each.y[-1] for each in curves]
    if min(ends) > 0 and max(ends) / min(ends) > _WIDE and all(min(each.y) > 0 for each in curves):
        logarithmic(axes.set_yscale, axes.yaxis)
    else:
        axes.set_ylim(0, max(1.06 * span(curves)[1], 1e-3))


def span(curves: Sequence[Curve]) -> tuple[float, float]:
    """Least and largest value of all curves."""
    return min(min(each.y) for each in curves), max(max(each.y) for each in curves)


def rounds_axis(axes: Axes, curves: Sequence[Curve]) -> None:
    """Whole rounds from 0 to the last."""
    from matplotlib.ticker import MaxNLocator

    last = max(each.x[-1] for each in curves)
    axes.set_xlim(0, last if last > 0 else 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def logarithmic(set_scale: Callable[[str], None], axis: Any) -> None:
    """Powers of ten and their triples, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def percent(axis: Any) -> None:
    """Shares written as percentages."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
