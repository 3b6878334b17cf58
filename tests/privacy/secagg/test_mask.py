"""Mask: masks cancel to the bit, look like nothing at all, and cost a block of memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from random import Random

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from tacit.privacy.secagg.mask import MaskError, add_mask, add_masks, element, reduce, working, zeros

BITS = st.integers(2, 62)
LONG = 100_003  # more than one block at every width, and no multiple of one


def seed(number: int) -> bytes:
    return hashlib.sha256(b"seed %d" % number).digest()


def keystream(key: bytes, count: int) -> bytes:
    """AES-256-CTR from its definition: the encryption of 0, 1, 2, … as 128-bit big-endian numbers."""
    blocks = b"".join(counter.to_bytes(16) for counter in range(count // 16 + 1))
    return Cipher(AES256(key), ECB()).encryptor().update(blocks)[:count]


@given(st.integers(2, 6), st.integers(1, 40), BITS, st.randoms(use_true_random=False))
def test_masks_cancel_to_the_bit(n: int, dim: int, bits: int, random: Random) -> None:
    """The sum of all masked vectors without the self-masks is the sum of the vectors mod 2^b, in Python's integers."""
    values = [[random.getrandbits(bits) for _ in range(dim)] for _ in range(n)]
    own = [random.randbytes(32) for _ in range(n)]
    pairs = {(i, j): random.randbytes(32) for i in range(n) for j in range(i)}
    total = zeros(dim, bits)
    for i in range(n):
        vector = working(np.array(values[i], dtype=np.int64), bits)
        add_masks(
            vector,
            [(own[i], 1), *((pairs[max(i, j), min(i, j)], 1 if i > j else -1) for j in range(n) if j != i)],
            bits,
        )
        reduce(vector, bits)
        assert int(vector.max()) < 1 << bits
        total += vector
    for each in own:
        add_mask(total, each, -1, bits)
    reduce(total, bits)
    assert total.tolist() == [sum(column) % (1 << bits) for column in zip(*values, strict=True)]


@pytest.mark.parametrize(("bits", "size"), [(2, 2), (12, 2), (16, 2), (17, 4), (20, 4), (32, 4), (33, 8), (62, 8)])
def test_a_mask_is_written_out(bits: int, size: int) -> None:
    """Little-endian words of the keystream, over several blocks."""
    vector = zeros(LONG, bits)
    assert vector.itemsize == size
    add_mask(vector, seed(1), 1, bits)
    stream = keystream(seed(1), LONG * size)
    expected = [int.from_bytes(stream[at : at + size], "little") for at in range(0, LONG * size, size)]
    assert vector.tolist() == expected
    reduce(vector, bits)
    assert vector.tolist() == [word % (1 << bits) for word in expected]


@pytest.mark.parametrize("bits", [10, 20, 40])
def test_many_masks_at_once_are_one_after_another(bits: int) -> None:
    masks = [(seed(number), 1 if number % 3 else -1) for number in range(7)]
    together, alone = zeros(LONG, bits), zeros(LONG, bits)
    add_masks(together, masks, bits)  # type: ignore[arg-type]  # signs are 1 and -1
    for each, sign in reversed(masks):
        add_mask(alone, each, 1 if sign == 1 else -1, bits)
    assert np.array_equal(together, alone)
    add_masks(together, [(each, -1 if sign == 1 else 1) for each, sign in masks], bits)
    assert not together.any()


@pytest.mark.parametrize("bits", [12, 20, 62])
def test_a_mask_is_uniform_in_every_bit(bits: int) -> None:
    """Over 32 seeds: each bit is set half of the time (5 σ), pairs of neighbouring bits and whole low bytes are uniform."""
    count = 8192
    drawn = []
    for number in range(32):
        vector = zeros(count, bits)
        add_mask(vector, seed(number), 1, bits)
        reduce(vector, bits)
        drawn.append(vector.astype(np.uint64))
    words = np.concatenate(drawn)
    half, sigma = len(words) / 2, len(words) ** 0.5 / 2
    flags = [(words >> np.uint64(bit)) & np.uint64(1) for bit in range(bits)]
    for bit in range(bits):
        assert abs(int(flags[bit].sum()) - half) < 5 * sigma
        if bit:
            assert abs(int((flags[bit] ^ flags[bit - 1]).sum()) - half) < 5 * sigma
    for shift in range(0, bits - 8, 8):
        seen = np.bincount(((words >> np.uint64(shift)) & np.uint64(255)).astype(np.int64), minlength=256)
        statistic = float(((seen - len(words) / 256) ** 2 / (len(words) / 256)).sum())
        assert chi2.sf(statistic, 255) > 1e-6
    assert not int((words >> np.uint64(bits)).sum())


def test_masked_vectors_of_constant_data_are_uniform_too() -> None:
    """The bits of y = x + PRG do not depend on x: the worst x for a biased mask is one value everywhere."""
    for value in (0, 1, 2**19, 2**20 - 1):
        vector = working(np.full(65536, value), 20)
        add_mask(vector, seed(value), 1, 20)
        reduce(vector, 20)
        for bit in range(20):
            assert abs(int((vector >> bit & 1).sum()) - 32768) < 5 * 128


@pytest.mark.parametrize("bit", range(256))
def test_every_bit_of_a_seed_matters(bit: int) -> None:
    changed = bytearray(seed(3))
    changed[bit // 8] ^= 1 << bit % 8
    one, other = zeros(512, 32), zeros(512, 32)
    add_mask(one, seed(3), 1, 32)
    add_mask(other, bytes(changed), 1, 32)
    differing = int(np.bitwise_count(one ^ other).sum())
    assert abs(differing - 8192) < 6 * 64  # 6 σ of 16,384 fair coins


def test_aes_256_ctr_of_nist() -> None:
    """SP 800-38A, F.5.5; and the first block of the mask of the zero seed, AESAVS KAT of the zero key and text."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    sealed = Cipher(AES256(key), CTR(bytes(range(0xF0, 0x100)))).encryptor().update(plain)
    assert sealed.hex() == (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    vector = zeros(4, 32)
    add_mask(vector, bytes(32), 1, 32)
    assert vector.tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_masking_streams() -> None:
    """Two masks on a vector of 8 MB take less than half a megabyte."""
    vector = zeros(2_000_000, 20)
    masks = [(seed(1), 1), (seed(2), -1)]
    tracemalloc.start()
    try:
        add_masks(vector, masks, 20)  # type: ignore[arg-type]  # signs are 1 and -1
        reduce(vector, 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 19


def test_no_element_at_all() -> None:
    vector = zeros(0, 20)
    add_mask(vector, seed(1), 1, 20)
    assert len(vector) == 0


@given(st.lists(st.integers(-(2**62), 2**62), max_size=20), BITS)
def test_a_working_vector_is_congruent(values: list[int], bits: int) -> None:
    vector = working(np.array(values, dtype=np.int64), bits)
    reduce(vector, bits)
    assert vector.tolist() == [value % (1 << bits) for value in values]


def test_a_working_vector_is_a_copy() -> None:
    values = np.zeros(4, dtype="<u4")
    vector = working(values, 20)
    vector += 1
    assert not values.any()


@pytest.mark.parametrize("bits", [-1, 0, 1, 63, 64])
def test_rings_have_2_to_62_bits(bits: int) -> None:
    with pytest.raises(MaskError, match=f"bits = {bits}; give 2 to 62"):
        element(bits)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_seeds_have_32_bytes(length: int) -> None:
    with pytest.raises(MaskError, match=f"32 bytes; found {length}"):
        add_mask(zeros(4, 20), bytes(length), 1, 20)


@pytest.mark.parametrize("sign", [0, 2, -2])
def test_signs_are_one(sign: int) -> None:
    with pytest.raises(MaskError, match=f"sign = {sign}"):
        add_mask(zeros(4, 20), seed(1), sign, 20)  # type: ignore[arg-type]  # the wrong value is the test


def frozen() -> np.ndarray:
    vector = zeros(4, 20)
    vector.flags.writeable = False
    return vector


@pytest.mark.parametrize(
    "vector",
    [np.zeros(4, "<u8"), np.zeros(4, "<i4"), np.zeros(4, ">u4"), np.zeros((2, 2), "<u4"), np.zeros(8, "<u4")[::2], frozen()],
    ids=["wide", "signed", "big-endian", "matrix", "strided", "read-only"],
)  # fmt: skip
def test_other_vectors_are_refused(vector: np.ndarray) -> None:
    before = vector.copy()
    with pytest.raises(MaskError, match="which `working` makes"):
        add_mask(vector, seed(1), 1, 20)
    with pytest.raises(MaskError, match="which `working` makes"):
        reduce(vector, 20)
    assert np.array_equal(vector, before)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((1, 3), int), np.zeros(3, bool)])
def test_only_vectors_of_integers_are_worked_on(values: np.ndarray) -> None:
    with pytest.raises(MaskError, match="give a vector of integers"):
        working(values, 20)


def test_a_bad_seed_changes_nothing() -> None:
    vector = zeros(4, 20)
    with pytest.raises(MaskError):
        add_masks(vector, [(seed(1), 1), (b"short", 1)], 20)
    assert not vector.any()
