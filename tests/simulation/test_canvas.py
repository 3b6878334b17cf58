"""Canvas: labels apart, ids apart, no foreign address, the same bytes each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from tacit.simulation.canvas import canvas, direct_labels, inline, name_axes, png, spaced, standalone


def _drawn(label: str = "end") -> Figure:
    figure, axes = canvas()
    axes.plot([1, 2, 3], [1, 2, 3])
    name_axes(axes, "round", label)
    direct_labels(axes, [(3, 3, label, "#0072b2"), (3, 2.99, label, "#d55e00")])
    return figure


BOXES = st.lists(st.tuples(st.floats(-500, 500), st.floats(1, 40)), min_size=1, max_size=8)


@given(BOXES)
def test_spaced_boxes_keep_their_order_and_do_not_overlap(boxes: list[tuple[float, float]]) -> None:
    boxes.sort()
    centres, heights = [c for c, _ in boxes], [h for _, h in boxes]
    places = spaced(centres, heights)
    for i in range(len(places) - 1):
        assert places[i + 1] - places[i] >= (heights[i] + heights[i + 1]) / 2 - 1e-6


@given(BOXES)
def test_boxes_that_are_apart_stay(boxes: list[tuple[float, float]]) -> None:
    heights = [h for _, h in boxes]
    centres = [100.0 * index for index in range(len(boxes))]
    assert spaced(centres, heights) == centres


@given(st.floats(-100, 100), st.integers(1, 6))
def test_equal_boxes_are_centred_on_what_they_label(centre: float, count: int) -> None:
    places = spaced([centre] * count, [10.0] * count)
    assert abs(sum(places) / count - centre) < 1e-6


def test_a_standalone_file_is_xml_with_its_alternative_text() -> None:
    root = ElementTree.fromstring(standalone(_drawn(), 'a "b" <c>'))
    assert root.attrib["aria-label"] == 'a "b" <c>'
    assert root.attrib["role"] == "img"


def test_an_inline_drawing_has_ids_of_its_own_and_the_page_s_colours() -> None:
    text = inline(_drawn(), "x", "one")
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert all(each.startswith("one-") for each in ids)
    assert all(f'id="{target}"' in text for target in re.findall(r'(?:url\(|href=")#([^)"]*)', text))
    assert "http" not in text
    assert "#0072b2" not in text
    assert "var(--series-1)" in text


def test_labels_are_text_whatever_they_hold() -> None:
    for hostile in ("$x_{", "<b>&", r"\frac", "a\nb"):
        root = ElementTree.fromstring(standalone(_drawn(hostile), hostile))
        assert hostile.split("\n")[0] in "".join(root.itertext())


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert standalone(_drawn(), "x") == standalone(_drawn(), "x")


def test_png() -> None:
    assert png(_drawn())[:8] == b"\x89PNG\r\n\x1a\n"
