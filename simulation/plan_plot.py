"""Plan plot: ε against rounds as `tacit plan` foresees it, before any data is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .canvas import DASHES, SERIES, canvas, direct_labels, name_axes, png, standalone
from .curve import Curve, curve, draw, logarithmic, rounds_axis, span
from .numerals import epsilon_text, lower_text, number, small_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE = 30.0  # from this ratio of largest to smallest ε on, both axes are logarithmic


def plan_plot(plan: Mapping[str, Any]) -> bytes:
    """An SVG file of the JSON of a forecast: `curve`, rows of `rounds` and `epsilon`.

    `epsilon_lower` and `epsilon_unamplified` are drawn over all rounds where the rows hold them, else said of the last one.
    Where only an interval is known it is shaded. Raises `ValueError` for a plan without a finite ε.
    """
    return standalone(*_drawn(plan))


def plan_png(plan: Mapping[str, Any]) -> bytes:
    """The same as a PNG file."""
    return png(_drawn(plan)[0])


def _drawn(plan: Mapping[str, Any]) -> tuple[Figure, str]:
    upper = _curve(plan, "epsilon", "ε")
    if upper is None:
        raise ValueError("the plan has no finite ε to draw; add noise, or lower the number of rounds")
    lower, plain = _or_last(plan, "epsilon_lower", "at least"), _or_last(plan, "epsilon_unamplified", "draw known")
    figure, axes = canvas(width=6.4, height=3.6, right=0.82)
    shown = [upper]
    labels = [(upper.x[-1], upper.y[-1], epsilon_text(upper.y[-1]), SERIES[0])]
    if plain is not None and plain.y[-1] > upper.y[-1] * (1 + 1e-3):
        if plain.x == upper.x:
            draw(axes, plain, SERIES[1], DASHES[1])
            labels.append((plain.x[-1], plain.y[-1], f"{epsilon_text(plain.y[-1])}\n{plain.label}", SERIES[1]))
        else:  # one number, often a hundred times larger: said, lest it press the curve to the ground
            axes.text(0.02, 0.96, f"ε = {epsilon_text(plain.y[-1])} for whoever knows each draw", transform=axes.transAxes,
                      color=SERIES[1], fontsize=9, va="top")  # fmt: skip
        shown.append(plain)
    if lower is not None and 0 < lower.y[-1] < upper.y[-1] * (1 - 1e-3):
        if lower.x == upper.x:
            axes.fill_between(upper.x, lower.y, upper.y, color=SERIES[0], alpha=0.18, linewidth=0)
        else:
            axes.plot([upper.x[-1]] * 2, [lower.y[-1], upper.y[-1]], color=SERIES[0], alpha=0.3, linewidth=7, clip_on=False,
                      solid_capstyle="butt")  # fmt: skip
        labels.append((lower.x[-1], lower.y[-1], f"{lower_text(lower.y[-1])}\n{lower.label}", SERIES[0]))
        labels[0] = (*labels[0][:2], f"{labels[0][2]}\nat most", SERIES[0])
        shown.append(lower)
    draw(axes, upper, SERIES[0], width=2.4)
    name_axes(axes, "rounds", f"ε at δ = {small_text(plan.get('delta'))}")
    low, high = span([each for each in shown if each.x == upper.x])
    if low > 0 and high / low > _WIDE:
        logarithmic(axes.set_yscale, axes.yaxis)
        logarithmic(axes.set_xscale, axes.xaxis)
        axes.set_xlim(upper.x[0], upper.x[-1])
    else:
        rounds_axis(axes, [upper])
        axes.set_ylim(0, 1.06 * high if high > 0 else 1.0)
    direct_labels(axes, labels)
    return figure, "ε over rounds. " + "; ".join(each.described(epsilon_text) for each in shown)


def _curve(plan: Mapping[str, Any], key: str, label: str) -> Curve | None:
    rows = _rows(plan)
    return curve(label, [row.get("rounds") for row in rows], [row.get(key) for row in rows])


def _or_last(plan: Mapping[str, Any], key: str, label: str) -> Curve | None:
    """The curve, or the one value at the last round where the rows do not hold it."""
    last = [row.get("rounds") for row in _rows(plan)][-1:]
    return _curve(plan, key, label) or curve(label, last, [plan.get(key)])


def _rows(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in plan.get("curve") or () if number(row.get("rounds")) > 0]
