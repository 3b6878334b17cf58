"""Canvas: matplotlib figures in one look, as SVG that stands alone or takes a page's colours.

Okabe and Ito's palette (distinct for every common colour blindness), no frame, text as text. No global state: figures
are `matplotlib.figure.Figure` objects and the few settings of the SVG writer hold for one call only.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, 1)
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SIZE = 9.0
_GAP = 11.5  # points between the baselines of two direct labels


def canvas(width: float = 4.9, height: float = 2.9, right: float = 0.98, top: float = 0.9) -> tuple[Figure, Axes]:
    """An empty figure of `width` × `height` inches and its axes, which end at the fraction `right` of the width."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.5 / width, 0.47 / height, right - 0.5 / width, top - 0.47 / height))
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
    axes.tick_params(length=0, labelsize=_SIZE, labelcolor=MUTED, pad=5)
    axes.tick_params(axis="x", length=3, color=MUTED, pad=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def name_axes(axes: Axes, horizontal: str, vertical: str, above: float = 1.05) -> None:
    """Axis names: below, and above the vertical axis where it can be read without turning the head."""
    axes.set_xlabel(horizontal, color=MUTED, fontsize=_SIZE, labelpad=4, parse_math=False)
    left = -axes.get_position().x0 / axes.get_position().width
    axes.text(left, above, vertical, transform=axes.transAxes, color=INK, fontsize=_SIZE + 1, va="bottom", ha="left",
              clip_on=False, parse_math=False)  # fmt: skip


def direct_labels(axes: Axes, labels: Sequence[tuple[float, float, str, str]], offset: float = 7) -> None:
    """Labels (x, y, text, colour) beside the ends of curves, pushed apart vertically where they would collide."""
    figure = axes.get_figure()
    if figure is None or not labels:
        return
    points = 72.0 / figure.get_dpi()
    tops = [float(axes.transData.transform((x, y))[1]) * points for x, y, _, _ in labels]
    order = sorted(range(len(labels)), key=lambda index: tops[index])
    heights = [_GAP * (1 + labels[index][2].count("\n")) for index in order]
    places = spaced([tops[index] for index in order], heights)
    for index, place in zip(order, places, strict=True):
        x, y, text, colour = labels[index]
        axes.annotate(
            text, (x, y), xytext=(offset, place - tops[index]), textcoords="offset points", color=colour,
            fontsize=_SIZE, va="center", ha="left", annotation_clip=False, linespacing=1.15, parse_math=False,
        )  # fmt: skip


def spaced(centres: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Ascending centres moved as little as possible until boxes of these heights no longer overlap.

    Boxes that touch form a block, which is centred on the mean of what its members want.
    """
    blocks: list[tuple[list[int], float]] = []  # members, lower edge
    for index in range(len(centres)):
        members, low = [index], centres[index] - heights[index] / 2
        while blocks and blocks[-1][1] + sum(heights[i] for i in blocks[-1][0]) > low:
            members = blocks.pop()[0] + members
            low = sum(_wanted(members, i, centres, heights) for i in members) / len(members)
        blocks.append((members, low))
    places = list(centres)
    for members, low in blocks:
        for i in members:
            places[i] = low + heights[i] / 2
            low += heights[i]
    return places


def _wanted(members: Sequence[int], index: int, centres: Sequence[float], heights: Sequence[float]) -> float:
    """Lower edge of a block at which its member `index` would sit at its own centre."""
    before = sum(heights[i] for i in members if i < index)
    return centres[index] - heights[index] / 2 - before


def standalone(figure: Figure, described: str) -> bytes:
    """The figure as a self-contained SVG file on white paper, with `described` as its text alternative."""
    figure.patch.set_alpha(1)
    figure.patch.set_facecolor(PAPER)
    text = _svg(figure)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(described, quote=True)}" ', 1).encode()


def inline(figure: Figure, described: str, name: str) -> Html:
    """The figure as an `<svg>` for a page that defines the palette's variables; `name` keeps its ids apart."""
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", _svg(figure))
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    opening, rest = text.split(">", 1)
    text = (
        re.sub(r'\s(width|height)="[^"]*"', "", opening) + ">" + re.sub(r"<style.*?</style>", "", rest, flags=re.DOTALL)
    )
    text = text.replace(f"font-family: {_FONT}; ", "")
    return Html(text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(described, quote=True)}" ', 1))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file on white paper."""
    from matplotlib import rc_context

    figure.patch.set_alpha(1)
    figure.patch.set_facecolor(PAPER)
    buffer = io.BytesIO()
    with rc_context({"font.family": "sans-serif"}):
        figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _svg(figure: Figure) -> str:
    """SVG text without prologue, document type, metadata or comments; the same figure gives the same bytes."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tacit"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", rf"font: \1 {_FONT}", text)
    return re.sub(r"\n\s*", "\n", text).strip()
