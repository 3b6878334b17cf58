"""Document: every value of a result becomes JSON that a strict parser takes."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st
from tacit.simulation.document import dumps, line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def refuse(constant: str) -> None:
    """What a strict parser does with NaN and Infinity."""
    raise AssertionError(constant)


@given(VALUES)
def test_any_value_is_strict_json(value: object) -> None:
    json.loads(dumps(value), parse_constant=refuse)
    text = line(value)
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_infinities_are_words_and_what_is_no_number_is_null() -> None:
    found = json.loads(dumps({"a": math.inf, "b": [-math.inf], "c": math.nan, "d": (1, 2)}))
    assert found == {"a": "inf", "b": ["-inf"], "c": None, "d": [1, 2]}
