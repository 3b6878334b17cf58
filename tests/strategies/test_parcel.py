"""Parcels: what is wrapped comes out again; what is large is shared; what is not a letter is refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies import parcel
from tacit.strategies.codec import CodecError, encode
from tacit.strategies.parcel import (
    addressed,
    gathered,
    joined,
    opened,
    pieces,
    sharing,
    wrap,
)


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_a_frame_comes_out_as_it_went_in(frame: bytes, whole: int) -> None:
    """Whatever the bytes are, in one piece or in several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcel, "PIECE", 700)
        made = wrap(frame, whole)
        names, head = opened(made.letter, 10_000)
        assert names == made.names
        assert pieces(made.letter) == len(made.pieces)
        assert joined(head, made.pieces) == frame
        assert not made.pieces or len(frame) > whole


@given(st.binary(max_size=100))
def test_a_piece_is_named_by_its_hash(body: bytes) -> None:
    """Whoever takes it in computes the same name from what it is sent."""
    made = wrap(b"x" + body, 0)
    assert [hashlib.sha256(piece).digest() for piece in made.pieces] == list(made.names)


def test_a_shared_model_is_kept_once() -> None:
    """Frames for two owners differ in the letter only, and the second holds the first one's pieces."""
    import numpy as np

    weights = {"weights": np.arange(50_000, dtype=np.float32)}
    one, two = (wrap(encode({"owner": owner}, weights), 1000) for owner in (9, 10))
    assert one.letter != two.letter
    assert one.names == two.names
    assert sharing(two, one).pieces is one.pieces
    assert sharing(two, None) is two
    other = wrap(encode({"owner": 9}, {"weights": np.zeros(50_000, dtype=np.float32)}), 1000)
    assert sharing(other, one) is other


@given(st.binary(max_size=60))
def test_what_is_no_letter_is_refused(letter: bytes) -> None:
    with pytest.raises(CodecError):
        opened(letter, 1000)
    assert pieces(letter) == 0


def test_a_letter_cannot_promise_more_than_is_taken() -> None:
    """A few bytes that name a terabyte cost nothing."""
    letter = b"TACITPL2" + (2).to_bytes(4, "little") + b"\0" * 64
    assert len(opened(letter, parcel.PIECE)[0]) == 2
    with pytest.raises(CodecError, match="at most"):
        opened(letter, parcel.PIECE - 1)
    with pytest.raises(CodecError, match="names 3 pieces"):
        opened(b"TACITPL2" + (3).to_bytes(4, "little") + b"\0" * 64, 1 << 30)


@given(st.lists(st.binary(max_size=1500), max_size=3), st.integers(0, 3000))
def test_a_frame_need_not_be_put_together(bodies: list[bytes], whole: int) -> None:
    """Head and arrays give the parcel of their frame; another head, that of its own frame."""
    import numpy as np
    from tacit.strategies.codec import parts

    arrays = {str(at): np.frombuffer(body, np.uint8) for at, body in enumerate(bodies)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcel, "PIECE", 700)
        made = gathered(*_headed(parts({"owner": 9}, arrays)), whole)
        same = wrap(encode({"owner": 9}, arrays), whole)
        assert (made.letter, made.names) == (same.letter, same.names)
        assert [*map(bytes, made.pieces)] == [*map(bytes, same.pieces)]
        if made.names:
            other = wrap(encode({"owner": 10}, arrays), 0)
            assert addressed(made, parts({"owner": 10}, arrays)[0]) == other


def _headed(found: list[bytes | memoryview]) -> tuple[bytes | memoryview, list[bytes | memoryview]]:
    return found[0], found[1:]
