"""Hours: windows of the week, also over midnight, and only what names one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.client.hours import HoursError, window, within

MONDAY = datetime(2024, 1, 1)
MOMENTS = st.integers(0, 7 * 24 * 60 - 1).map(lambda minute: MONDAY + timedelta(minutes=minute))


@given(MOMENTS, st.permutations(range(0, 24 * 60, 7)).map(lambda minutes: minutes[:2]))
def test_a_window_and_the_one_back_again_make_the_week(moment: datetime, ends: list[int]) -> None:
    first, second = (f"{minute // 60:02}:{minute % 60:02}" for minute in ends)
    there, back = window(f"{first}-{second}"), window(f"{second}-{first}")
    assert there.holds(moment) is not back.holds(moment)


@pytest.mark.parametrize(
    ("text", "open_at", "closed_at"),
    [
        ("09:00-17:00", ["Mon 09:00", "Sun 16:59"], ["Mon 08:59", "Sun 17:00"]),
        ("22:00-06:00", ["Mon 22:00", "Tue 05:59", "Mon 00:00"], ["Mon 06:00", "Mon 21:59"]),
        ("Fri 22:00-06:00", ["Fri 23:00", "Sat 05:00"], ["Fri 05:00", "Sat 22:00", "Sun 05:00"]),
        ("Sun 22:00-06:00", ["Sun 23:00", "Mon 05:00"], ["Sun 05:00", "Tue 05:00"]),
        ("Fri-Mon 00:00-24:00", ["Fri 00:00", "Sun 23:59", "Mon 12:00"], ["Tue 00:00", "Thu 23:59"]),
        ("sat,sun 08:00-09:00", ["Sat 08:30", "Sun 08:30"], ["Fri 08:30", "Sat 09:30"]),
    ],
)
def test_examples(text: str, open_at: list[str], closed_at: list[str]) -> None:
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

    def moment(when: str) -> datetime:
        day, clock = when.split()
        hour, minute = clock.split(":")
        return MONDAY + timedelta(days=days.index(day), hours=int(hour), minutes=int(minute))

    assert all(window(text).holds(moment(when)) for when in open_at)
    assert not any(window(text).holds(moment(when)) for when in closed_at)


@pytest.mark.parametrize(
    "text",
    ["", "always", "9:00-17:00", "25:00-26:00", "10:60-11:00", "24:01-24:30", "10:00-10:00", "24:00-06:00", "Mo 10:00-11:00",
     "Mon-Xyz 10:00-11:00", "Mon, 10:00-11:00", "10:00 - 11:00", "٠٩:00-17:00"],
)  # fmt: skip
def test_what_names_no_hours_is_refused_with_the_way_to_write_them(text: str) -> None:
    with pytest.raises(HoursError, match=r"write|give"):
        window(text)


def test_without_windows_all_hours_are_permitted_and_with_several_any() -> None:
    night = MONDAY.replace(hour=3)
    assert within([], night)
    assert within([window("09:00-17:00"), window("02:00-04:00")], night)
    assert not within([window("09:00-17:00")], night)
