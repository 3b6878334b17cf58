"""Alias tables: exactly the law that they were given."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.alias import CHUNK, PRECISION, Alias, Desk, alias

pytestmark = pytest.mark.usefixtures("either_way")

TOTAL = 1 << PRECISION


WORDS = 1 << 32


class Script:
    """Bits read from a list of 32-bit words, those of a tie's 64 bits two by two, the low half first."""

    def __init__(self, *words: int) -> None:
        self.left = b"".join(word.to_bytes(4, "little") for word in words)

    def fill(self, view: memoryview, count: int) -> None:
        assert len(view) >= count + 15
        assert len(self.left) >= count
        view[:count], self.left = self.left[:count], self.left[count:]
        view[count : count + 15] = bytes(15)

    def words(self, count: int) -> np.ndarray:
        now, self.left = self.left[: 8 * count], self.left[8 * count :]
        assert len(now) == 8 * count
        return np.frombuffer(now, dtype="<u8")


def halves(*words: int) -> list[int]:
    """64-bit words as they are scripted."""
    return [half for word in words for half in (word % WORDS, word >> 32)]


def threshold(table: Alias, column: int) -> int:
    """The top bits of how many tickets a column's own value holds."""
    return int(table.columns[column]) >> table.column_bits


def other(table: Alias, column: int) -> int:
    return table.first + int(table.columns[column]) % (1 << table.column_bits)


def kept(table: Alias, column: int) -> int:
    """How many tickets a column's own value holds."""
    return (threshold(table, column) << 96) + (int(table.middle[column]) << 32) + int(table.low[column])


def law(table: Alias) -> dict[int, Fraction]:
    """The probabilities that the tickets of a table amount to."""
    capacity = 1 << (PRECISION - table.column_bits)
    found: dict[int, Fraction] = {}
    for column in range(len(table.columns)):
        own = kept(table, column)
        assert 0 <= own < capacity
        for value, tickets in ((table.first + column, own), (other(table, column), capacity - own)):
            if tickets:
                found[value] = found.get(value, Fraction(0)) + Fraction(tickets, TOTAL)
    return found


def drawn(table: Alias, source: Script, count: int) -> list[int]:
    return table.rows([source], count, Desk.of(count, count))[0].tolist()


weights_of_a_law = st.lists(st.integers(0, 1 << 90), min_size=1, max_size=70)


@given(weights_of_a_law, st.integers(-50, 50), st.data())
def test_the_tickets_of_a_table_are_its_weights(weights: list[int], first: int, data: st.DataObject) -> None:
    weights[data.draw(st.integers(0, len(weights) - 1))] += TOTAL - sum(weights)
    expected = {first + i: Fraction(weight, TOTAL) for i, weight in enumerate(weights) if weight}
    assert law(alias(weights, first)) == expected


@given(weights_of_a_law, st.integers(-50, 50), st.data())
def test_every_word_gives_the_value_whose_ticket_it_is(weights: list[int], first: int, data: st.DataObject) -> None:
    """Around and on the threshold of every column, with ties decided either way: with the test above, the law itself."""
    weights[data.draw(st.integers(0, len(weights) - 1))] += TOTAL - sum(weights)
    table = alias(weights, first)
    last = (WORDS >> table.column_bits) - 1
    for column in range(len(table.columns)):
        limit, rest = threshold(table, column), kept(table, column) % (1 << 96)
        for ticket in {0, max(limit - 1, 0), limit, min(limit + 1, last), last}:
            ends = sorted({0, max(rest - 1, 0), rest, (1 << 96) - 1}) if ticket == limit else [0]
            for end in ends:
                source = Script((ticket << table.column_bits) + column, *halves(end >> 32, (end % WORDS) << 32))
                own = (ticket << 96) + end < kept(table, column)
                assert drawn(table, source, 1) == [table.first + column if own else other(table, column)]
                assert len(source.left) == (0 if ticket == limit else 16)


def test_every_word_of_a_short_table_counted() -> None:
    """All tops of tickets, once each: the counts are the law's, rounded to them."""
    weights = [TOTAL // 7, TOTAL // 3, TOTAL - TOTAL // 7 - TOTAL // 3]
    table = alias(weights, 5)
    every = (np.arange(1 << 14, dtype=np.uint64) << np.uint64(18)).astype(np.uint32)
    found = np.zeros(3)
    for column in range(4):
        source = Script(*(every + np.uint32(column)).tolist(), *([0] * 8))
        found += np.bincount(np.array(drawn(table, source, len(every))) - 5, minlength=3)
    assert np.abs(found / 2**16 - [1 / 7, 1 / 3, 11 / 21]).max() <= 4 * 2.0**-16


@pytest.mark.parametrize("weights", [[TOTAL - 1], [TOTAL, 1], [TOTAL + 1, -1]])
def test_weights_that_are_no_law_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="sum to"):
        alias(weights, 0)


def test_a_table_too_large_for_its_words_is_refused() -> None:
    with pytest.raises(ValueError, match="near zero"):
        alias([TOTAL, *([0] * (1 << 20))], 0)
    with pytest.raises(ValueError, match="near zero"):
        alias([TOTAL], 1 << 31)


def test_ties_of_several_sources_are_each_decided_by_the_source_s_own_next_words() -> None:
    table = alias([TOTAL // 3, TOTAL - TOTAL // 3], 0)
    column = int(np.flatnonzero(table.columns >> 1)[0])
    tie = [(threshold(table, column) << table.column_bits) + column] * 2
    middle, low = int(table.middle[column]), int(table.low[column]) << 32
    below, above = (middle, low - 1), (middle, low)
    found = table.rows([Script(*tie, *halves(*below, *above)), Script(*tie, *halves(*above, *below))], 2, Desk.of(4, 4))
    assert found.tolist() == [[column, other(table, column)], [other(table, column), column]]


@pytest.mark.parametrize("count", [1, 2, CHUNK - 1, CHUNK + 3])
def test_draws_are_those_of_their_words(count: int) -> None:
    table = alias([TOTAL // 2, TOTAL // 2], 3)
    words = np.random.default_rng(0).integers(0, 1 << 32, 2 * CHUNK, dtype=np.uint32)
    assert table.draw(Script(*words.tolist()), count).tolist() == (words[:count] % 2 + 3).tolist()
