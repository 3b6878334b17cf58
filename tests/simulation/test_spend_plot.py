"""Spend plot: what is drawn can be read, over seconds as over years."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from tacit.simulation.spend_plot import Points, spend_plot, spend_png

BEGIN = 1_796_096_000  # 1 December 2026, 03:33:20 UTC


def grown(count: int, apart: int) -> Points:
    return [(each, BEGIN + each * apart, 0.5 * math.sqrt(each)) for each in range(count + 1)]


def words(svg: bytes) -> list[str]:
    """Every text of a plot."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


@pytest.mark.parametrize(
    ("apart", "mark", "when"),
    [
        (0, "03:33:20", "1 December 2026, 03:33 UTC"),
        (1, "03:33:20", "1 December 2026, 03:33 UTC"),
        (600, "04:00", "1 December 2026, 03:33 to 04:13 UTC"),
        (86_400 * 90, "2027", "1 December 2026, 03:33, to 26 November 2027, 03:33 UTC"),
    ],
)
def test_marks_are_as_fine_as_the_time_that_passed_and_no_finer_than_a_second(apart: int, mark: str, when: str) -> None:
    found = words(spend_plot(grown(4, apart), 3.0, 1e-5))
    assert mark in found
    assert when in found
    assert not [each for each in found if re.search(r":\d\d\.\d", each)]
    assert {"ε spent, at δ = 10⁻⁵", "allowed 3.00", "1.00"} <= set(found)


def test_without_a_limit_none_is_drawn() -> None:
    assert not [each for each in words(spend_plot(grown(4, 9), None, 1e-5)) if "allowed" in each]
    assert not [each for each in words(spend_plot(grown(4, 9), math.inf, 1e-5)) if "allowed" in each]


def test_each_charge_is_a_step_and_between_points_that_leave_some_out_nothing_is_made_up() -> None:
    """A step has a corner; a straight line between two points has none."""

    def corners(svg: bytes) -> int:
        return max(path.count("L ") for path in re.findall(r' d="([^"]*)"', svg.decode()))

    steps = [(each, BEGIN + 60 * each, float(each)) for each in range(5)]
    thinned = [(9 * each, BEGIN + 60 * each, float(each)) for each in range(5)]
    assert corners(spend_plot(steps, None, 1e-5)) == 2 * corners(spend_plot(thinned, None, 1e-5)) == 8


def test_a_clock_that_goes_backwards_is_drawn_forwards() -> None:
    points = [(0, BEGIN, 0.0), (1, BEGIN + 60, 0.5), (2, BEGIN - 86_400, 0.9)]
    assert "1 December 2026, 03:33 to 03:34 UTC" in words(spend_plot(points, None, 1e-5))


def test_it_is_a_picture_in_either_format_and_nothing_is_drawn_of_infinity() -> None:
    assert spend_png(grown(3, 60), None, 1e-5)[:4] == b"\x89PNG"
    assert b"0.87 after 3 charges" in spend_plot(grown(3, 60), None, 1e-5)
    with pytest.raises(ValueError, match="nothing to draw"):
        spend_plot([(1, BEGIN, math.inf)], 1.0, 1e-5)


@pytest.mark.parametrize("apart", [0, 1, 600, 86_400, 86_400 * 90])
def test_nothing_that_it_says_is_cut_off(apart: int, cut_off: Callable[[], list[str]]) -> None:
    for limit in (None, 3.0, 1000.0):
        spend_plot(grown(4, apart), limit, 1e-5)
    assert cut_off() == []
