"""Laws of frames: exactly one encoding of each value, every other run of bytes refused with one error."""

from __future__ import annotations

import struct
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg.errors import MessageError
from tacit.privacy.secagg.frame import HEAD, Reader, ascending, head, members, one_of, rows, u32

ROW = struct.Struct(">IH")
BINDING = bytes(range(32))
INDICES = st.sets(st.integers(0, 2**32 - 1), max_size=9).map(sorted)


class Colour(IntEnum):
    RED = 1


@given(INDICES)
def test_a_list_comes_back_and_only_whole(indices: list[int]) -> None:
    message = head(7, BINDING) + members(indices)
    assert Reader(message, 7, BINDING).whole(Reader.members) == tuple(indices)
    for wrong in (message[:-1], message + b"\0"):
        with pytest.raises(MessageError):
            Reader(wrong, 7, BINDING).whole(Reader.members)


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), max_size=9))
def test_rows_come_back_ascending_or_not_at_all(values: dict[int, int]) -> None:
    ordered = {index: (values[index],) for index in sorted(values)}
    message = head(1, BINDING) + u32(len(values)) + rows(ROW, ordered)
    assert dict(Reader(message, 1, BINDING).whole(lambda reader: reader.rows(ROW))) == {
        index: row[0] for index, row in ordered.items()
    }
    if len(values) > 1:
        backwards = head(1, BINDING) + u32(len(values)) + rows(ROW, dict(reversed(ordered.items())))
        with pytest.raises(MessageError, match="once, in order"):
            Reader(backwards, 1, BINDING).whole(lambda reader: reader.rows(ROW))


@pytest.mark.parametrize("indices", [(1, 1), (2, 1), (0, 5, 5)])
def test_a_member_comes_once_and_in_order(indices: tuple[int, ...]) -> None:
    with pytest.raises(MessageError, match="once, in order"):
        ascending(indices)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "no message"),
        (head(7, BINDING)[: HEAD - 1], "no message"),
        (b"TSA2" + head(7, BINDING)[4:], "no message of this version"),
        (head(8, BINDING), "kind 8 where kind 7"),
        (head(7, bytes(32)), "another run, round, attempt or session"),
    ],
)
def test_a_head_says_what_it_is_and_of_what(message: bytes, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        Reader(message, 7, BINDING)


def test_a_list_that_claims_more_than_arrived_allocates_nothing() -> None:
    for claimed in (1, 2**31, 2**32 - 1):
        with pytest.raises(MessageError, match="no room"):
            Reader(head(1, BINDING) + u32(claimed), 1, BINDING).rows(ROW)


def test_words_are_a_closed_list() -> None:
    assert one_of(Colour, 1) is Colour.RED
    with pytest.raises(MessageError, match="2 is none of the numbers of a colour"):
        one_of(Colour, 2)
