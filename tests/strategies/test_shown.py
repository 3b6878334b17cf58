"""A stranger's text in a log: one line, printable, and not long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.shown import shown


@given(st.text(max_size=50), st.integers(1, 40))
def test_it_is_one_printable_line_of_bounded_length(text: str, longest: int) -> None:
    found = shown(text, longest)
    assert found.isprintable()
    assert len(found) <= longest
    if text.isprintable() and len(text) <= longest:
        assert found == text


def test_surrogates_that_json_may_hold_can_be_written() -> None:
    shown("\ud800").encode()
