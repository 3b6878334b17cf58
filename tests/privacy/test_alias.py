"""Alias tables: exactly the law that they were given."""

from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.alias import PRECISION, Alias, alias

TOTAL = 1 << PRECISION


class Script:
    """Words read from a list."""

    def __init__(self, *words: int) -> None:
        self.left = list(words)

    def words(self, count: int) -> np.ndarray:
        now, self.left = self.left[:count], self.left[count:]
        assert len(now) == count
        return np.array(now, dtype=np.uint64)


def law(table: Alias) -> dict[int, Fraction]:
    """The probabilities that the tickets of a table amount to."""
    capacity = 1 << (PRECISION - table.column_bits)
    found: dict[int, Fraction] = {}
    for own, other, high, low in zip(count(table.first), table.other, table.high, table.low, strict=False):
        kept = (int(high) << 64) + int(low)
        assert 0 <= kept < capacity
        for value, tickets in ((int(own), kept), (int(other), capacity - kept)):
            if tickets:
                found[value] = found.get(value, Fraction(0)) + Fraction(tickets, TOTAL)
    return found


@given(st.lists(st.integers(0, 1 << 90), min_size=1, max_size=70), st.integers(-50, 50), st.data())
def test_the_tickets_of_a_table_are_its_weights(weights: list[int], first: int, data: st.DataObject) -> None:
    weights[data.draw(st.integers(0, len(weights) - 1))] += TOTAL - sum(weights)
    expected = {first + i: Fraction(weight, TOTAL) for i, weight in enumerate(weights) if weight}
    assert law(alias(weights, first)) == expected


def test_a_word_on_the_threshold_is_decided_by_a_second_word() -> None:
    weights = [TOTAL // 2 - (1 << 100) - 5, TOTAL // 2 + (1 << 100) + 5]
    table = alias(weights, 0)
    column = int(np.flatnonzero(table.high)[0])
    threshold = (column << 63) + int(table.high[column])
    low = int(table.low[column])
    assert table.draw(Script(threshold - 1), 1) == [column]
    assert table.draw(Script(threshold, low - 1), 1) == [column]
    assert table.draw(Script(threshold, low), 1) == [table.other[column]]
    assert table.draw(Script(threshold + 1), 1) == [table.other[column]]


@pytest.mark.parametrize("weights", [[TOTAL - 1], [TOTAL, 1], [TOTAL + 1, -1]])
def test_weights_that_are_no_law_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="sum to"):
        alias(weights, 0)


def test_ties_of_several_sources_are_each_decided_by_the_source_s_own_next_word() -> None:
    table = alias([TOTAL // 3, TOTAL - TOTAL // 3], 0)
    column = int(np.flatnonzero(table.high)[0])
    tie = (column << (64 - table.column_bits)) + int(table.high[column])
    below, above = int(table.low[column]) - 1, int(table.low[column])
    other = int(table.other[column])
    found = table.rows([Script(tie, tie, below, above), Script(tie, tie, above, below)], 2)
    assert found.tolist() == [[column, other], [other, column]]
