"""Rate: so many a minute pass, the others are counted, none is lost from the count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tacit.server.rate import Rate


@given(st.lists(st.floats(0, 100), max_size=200), st.integers(1, 10))
def test_no_minute_has_more_than_most_and_every_event_is_counted(waits: list[float], most: int) -> None:
    now, times, held = 0.0, list[float](), 0
    rate = Rate(most, lambda: now)
    for wait in waits:
        now += wait
        if rate.passes():
            times.append(now)
            held += rate.held()
    held += rate.held()
    assert len(times) + held == len(waits)
    for start in times:  # windows begin with the first event after a minute: two of them overlap any minute
        assert sum(start <= at < start + 60 for at in times) <= 2 * most


def test_the_first_ones_of_a_minute_pass() -> None:
    now = 0.0
    rate = Rate(3, lambda: now)
    assert [rate.passes() for _ in range(5)] == [True, True, True, False, False]
    now = 61.0
    assert (rate.passes(), rate.held(), rate.held()) == (True, 2, 0)
