"""Frames and ring packing: exact round trips, and nothing but `CodecError` for any other bytes."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tacit.strategies.codec import MAGIC, CodecError, decode, encode, pack, unpack, unpack_into, unpack_narrow

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    st.sampled_from(["<f4", "<f8", "<i8", "u1"]).flatmap(lambda t: hnp.arrays(np.dtype(t), st.integers(0, 20))),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), ARRAYS)
def test_a_frame_decodes_to_what_was_encoded(header: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    found_header, found = decode(encode(header, arrays))
    assert found_header == header
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_codec_error(junk: bytes) -> None:
    for frame in (junk, MAGIC + junk, MAGIC + len(junk).to_bytes(4, "little") + junk):
        with pytest.raises(CodecError):
            decode(frame)


@given(st.data())
def test_a_frame_with_one_byte_changed_cut_or_added_never_crashes(data: st.DataObject) -> None:
    frame = bytearray(encode({"kind": "reply"}, {"total": np.arange(5, dtype="<i8")}))
    where = data.draw(st.integers(0, len(frame) - 1))
    frame[where] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(frame), bytes(frame[:where]), bytes(frame) + b"\0"):
        with contextlib.suppress(CodecError):
            decode(broken)


def test_arrays_are_one_dimensional_and_of_a_known_type() -> None:
    with pytest.raises(CodecError, match="float16"):
        encode({}, {"x": np.zeros(2, dtype=np.float16)})
    with pytest.raises(CodecError, match="2d"):
        encode({}, {"x": np.zeros((2, 2), dtype=np.float32)})


@given(st.integers(1, 62), st.data())
def test_packing_is_exact_and_as_small_as_it_says(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=30))
    elements = np.array(values, dtype=np.int64)
    packed = pack(elements, bits)
    assert len(packed) == (bits * len(values) + 7) // 8
    assert unpack(packed, bits, len(values)).tolist() == values


@pytest.mark.parametrize("bits", [*range(1, 63)])
def test_packing_is_written_out(bits: int) -> None:
    """All bits in a row, lowest first, over more than one block; the same whatever type holds the elements."""
    values = np.random.default_rng(bits).integers(0, 2**bits, 70_001)
    row = "".join(f"{int(value):0{bits}b}"[::-1] for value in values[-1000:])
    packed = pack(values, bits)
    flat = np.unpackbits(packed, bitorder="little")[: bits * len(values)]
    assert "".join(map(str, flat[-1000 * bits :])) == row
    assert np.array_equal(unpack(packed, bits, len(values)), values)
    narrow = unpack_narrow(packed, bits, len(values))
    assert np.array_equal(narrow, values)
    assert narrow.itemsize == min(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    for kind in ("<u2", "<i4", "<u4", "<u8"):
        if np.iinfo(kind).max >= 2**bits - 1:
            assert np.array_equal(pack(values.astype(kind), bits), packed)
            found = np.ones(len(values), dtype=kind)
            unpack_into(packed, bits, found)
            assert np.array_equal(found, values)


@pytest.mark.parametrize("kind", ["<u2", "<i2", "<f8", "?"])
def test_elements_are_unpacked_into_what_holds_them(kind: str) -> None:
    with pytest.raises(CodecError, match="does not hold 20 bits"):
        unpack_into(np.zeros(5, dtype=np.uint8), 20, np.zeros(2, dtype=kind))


@pytest.mark.parametrize("value", [-1, 1 << 20])
def test_an_element_outside_the_ring_is_refused(value: int) -> None:
    with pytest.raises(CodecError, match="outside the ring"):
        pack(np.array([0, value], dtype=np.int64), 20)


def test_packed_bytes_of_another_length_are_refused() -> None:
    with pytest.raises(CodecError, match="4 bytes for 2 elements of 20 bits"):
        unpack(np.zeros(4, dtype=np.uint8), 20, 2)
    for bits in (0, 63):
        with pytest.raises(CodecError):
            pack(np.zeros(1, dtype=np.int64), bits)
        with pytest.raises(CodecError):
            unpack(np.zeros(1, dtype=np.uint8), bits, 1)
        with pytest.raises(CodecError):
            unpack_narrow(np.zeros(1, dtype=np.uint8), bits, 1)
    with pytest.raises(CodecError, match="4 bytes for 2 elements of 20 bits"):
        unpack_narrow(np.zeros(4, dtype=np.uint8), 20, 2)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_no_limit_catches_does_not_pass(number: str) -> None:
    text = f'{{"header":{{"norm":{number}}},"arrays":[]}}'.encode()
    with pytest.raises(CodecError, match="not the JSON"):
        decode(MAGIC + len(text).to_bytes(4, "little") + text)
    with pytest.raises(CodecError, match="finite"):
        encode({"norm": float(number)}, {})


def test_an_error_is_one_short_line_whatever_it_quotes() -> None:
    text = json.dumps({"header": {}, "arrays": [["\n\x1b[2J" * 10_000, "f4", 1]]}).encode()
    with pytest.raises(CodecError) as told:
        decode(MAGIC + len(text).to_bytes(4, "little") + text)
    assert str(told.value).isprintable()
    assert len(str(told.value)) <= 300
