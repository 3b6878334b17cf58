"""Keystream: AES-256-CTR wherever it is read and by whichever of OpenSSL's ciphers it is made."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy import keystream as module
from tacit.privacy.keystream import ROOM, Keystream

KEY = bytes(range(32))
SPAN = 1 << 36  # bytes after which the last 32 bits of the counter begin anew


def by_definition(place: int, count: int) -> bytes:
    """The encryption of the 128-bit big-endian numbers from place // 16 on."""
    first, within = divmod(place, 16)
    blocks = b"".join((first + i).to_bytes(16) for i in range((within + count + 15) // 16))
    return Cipher(AES256(KEY), ECB()).encryptor().update(blocks)[within : within + count]


def read(keystream: Keystream, place: int, count: int) -> bytes:
    room = memoryview(bytearray(count + ROOM))
    keystream.fill(room, count, place)
    return bytes(room[:count])


@pytest.fixture(params=["wide", "narrow"])
def either_cipher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs the test with each of the two, whichever this processor is faster with."""
    monkeypatch.setattr(module, "wide", lambda: request.param == "wide")
    return bool(request.param == "wide")


@pytest.mark.parametrize("first", [0, SPAN, 7 << 68, SPAN - 16])
def test_pieces_one_after_another_are_the_keystream(either_cipher: bool, first: int) -> None:
    keystream, place = Keystream(KEY), first
    for count in (1 << 16, 1, 15, 200_000, 65_536, 0, 3, 70_001):
        assert read(keystream, place, count) == by_definition(place, count)
        place += count
    assert (keystream._gcm_place == place) == (either_cipher and first % SPAN == 0)


def test_a_beginning_too_short_to_pay_is_read_by_one_cipher(either_cipher: bool) -> None:
    keystream = Keystream(KEY)
    assert read(keystream, 0, (1 << 16) - 1) == by_definition(0, (1 << 16) - 1)
    assert keystream._gcm is None


@given(
    st.lists(st.tuples(st.sampled_from([0, SPAN, 5 << 68]), st.integers(0, 80_000), st.integers(0, 80_000)), max_size=6)
)
def test_any_place_may_be_read_at_any_time(reads: list[tuple[int, int, int]]) -> None:
    keystream = Keystream(KEY)
    for first, offset, count in reads:
        for place, size in ((first, 70_000), (first + offset, count), (first + 70_000, 1_000)):
            assert read(keystream, place, size) == by_definition(place, size)


def test_what_is_left_of_a_span_is_not_asked_of_gcm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its 2³² blocks GCM's counter begins anew, where CTR's carries."""
    monkeypatch.setattr(module, "wide", lambda: True)
    monkeypatch.setattr(module, "_MOST", 200_000)
    keystream, place = Keystream(KEY), 0
    for count in (100_000, 100_000, 50_000):
        assert read(keystream, place, count) == by_definition(place, count)
        place += count
    assert keystream._gcm_place == 200_000


def test_a_span_read_to_its_end_is_left_though_little_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after 64 GiB: the next span begins at counter 0 of another nonce, which the cipher at hand knows nothing of."""
    monkeypatch.setattr(module, "wide", lambda: True)
    keystream = Keystream(KEY)
    read(keystream, 0, 100_000)
    keystream._gcm_place = SPAN
    assert read(keystream, SPAN, 100) == by_definition(SPAN, 100)


def test_a_span_ends_where_the_counter_carries() -> None:
    """The last block of the first span and the first of the second, by the library's own counter."""
    counter = ((SPAN >> 4) - 1).to_bytes(16, "big")
    expected = Cipher(AES256(KEY), CTR(counter)).encryptor().update(bytes(100_016))
    assert read(Keystream(KEY), SPAN - 16, 100_016) == expected
    assert read(Keystream(KEY), SPAN, 100_000) == expected[16:]


def test_only_the_bytes_asked_for_are_written() -> None:
    for count in (65_536, 65_535, 100_000, 1):
        room = bytearray(count + 2 * ROOM)
        Keystream(KEY).fill(memoryview(room), count)
        assert not any(room[count + ROOM :])


def test_which_cipher_is_faster_is_found_once() -> None:
    module.wide.cache_clear()
    assert module.wide() is module.wide()
    assert module.wide.cache_info().misses == 1


def test_a_keystream_shows_no_key() -> None:
    assert repr(Keystream(b"secret" + bytes(26))) == "Keystream()"
