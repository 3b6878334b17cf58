"""Entropy: AES-256-CTR by its published vector, streams by their arguments, refusal across a fork."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.entropy import EntropyError, SeededEntropy, Stream, SystemEntropy


def test_keystream_is_that_of_aes_256_ctr() -> None:
    """Blocks 0, 1, 2 under the zero key: H and the tag of test case 13, the ciphertext of test case 14 of the GCM submission
    to NIST (McGrew and Viega 2005, Appendix B), whose plaintexts are zero. GCM counts as SP 800-38A's CTR mode does.
    """
    stream = Stream(bytes(32))
    assert stream.bytes(16).hex() == "dc95c078a2408989ad48a21492842087"
    assert stream.bytes(16).hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert stream.bytes(16).hex() == "cea7403d4d606b6e074ec5d3baf39d18"


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=4))
def test_reading_in_pieces_reads_the_same_bytes(sizes: list[int]) -> None:
    whole, pieces = Stream(b"k" * 32), Stream(b"k" * 32)
    assert b"".join(bytes(pieces.bytes(size)) for size in sizes) == bytes(whole.bytes(sum(sizes)))


@given(st.integers(), st.text(max_size=8), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_seeded_streams_depend_on_their_arguments_only(
    seed: int, purpose: str, round: int, owner: int, attempt: int
) -> None:
    def first(*given: int) -> bytes:
        seed, round, owner, attempt = given
        return bytes(SeededEntropy(seed).stream(purpose, round, owner=owner, attempt=attempt).bytes(16))

    base = first(seed, round, owner, attempt)
    assert base == first(seed, round, owner, attempt)
    changed = [(seed + 1, round, owner, attempt), (seed, round + 1, owner, attempt)]
    changed += [(seed, round, owner + 1, attempt), (seed, round, owner, attempt + 1)]
    assert base not in [first(*arguments) for arguments in changed]
    assert base != bytes(SeededEntropy(seed).stream(purpose + "x", round, owner=owner, attempt=attempt).bytes(16))


def test_system_streams_never_repeat() -> None:
    entropy = SystemEntropy()
    assert not entropy.seeded
    assert bytes(entropy.stream("a").bytes(32)) != bytes(entropy.stream("a").bytes(32))


def test_uniform_fills_the_unit_interval() -> None:
    draws = SeededEntropy(1).stream("u").uniform(100_000)
    assert 0 <= draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 100_000)


def test_a_stream_refuses_to_be_read_after_a_fork() -> None:
    stream = Stream(bytes(32))
    child = os.fork()
    if child == 0:
        try:
            stream.bytes(1)
        except EntropyError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert stream.bytes(1).hex() == "dc"


def test_a_stream_shows_no_key() -> None:
    assert repr(Stream(b"secret" + bytes(26))) == "Stream()"


def test_generators_of_one_stream_repeat_with_its_seed() -> None:
    first, second = (SeededEntropy(3).stream("g").generator().integers(0, 1 << 60, 4).tolist() for _ in range(2))
    assert first == second


def test_a_seed_is_its_keys_own_wherever_the_stream_stands() -> None:
    """And apart from the bytes: it is SHA-256 under a domain of its own."""
    stream = SeededEntropy(3).stream("local/batches", 2, owner=5)
    first = stream.seed()
    stream.bytes(100)
    assert first == stream.seed() == SeededEntropy(3).stream("local/batches", 2, owner=5).seed()
    assert first != SeededEntropy(3).stream("local/batches", 2, owner=6).seed()
    assert first.to_bytes(8, "little") not in bytes(SeededEntropy(3).stream("local/batches", 2, owner=5).bytes(4096))


def test_a_key_of_another_length_makes_no_stream() -> None:
    with pytest.raises(EntropyError, match="has 16 bytes"):
        Stream(bytes(16))


@pytest.mark.parametrize("owners", [[], [0], [5, 3, 12345678]])
def test_seeds_of_many_are_those_of_their_streams(owners: list[int]) -> None:
    entropy = SeededEntropy(9)
    found = entropy.seeds("local/batches", 4, owners=owners, attempt=2)
    alone = [entropy.stream("local/batches", 4, owner=owner, attempt=2).seed() for owner in owners]
    assert found.tolist() == alone
    assert len(SystemEntropy().seeds("local/batches", 4, owners=owners)) == len(owners)
    assert SystemEntropy().seeds("x", 1, owners=[1]) != SystemEntropy().seeds("x", 1, owners=[1])


# --- side by side ---


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300_000) | st.integers(0, 40)), max_size=8))
def test_streams_side_by_side_are_read_in_any_turn(reads: list[tuple[int, int]]) -> None:
    """Owner k reads AES-256-CTR from counter block k·2⁶⁴ on, whoever reads in between."""
    key, owners = bytes(range(32)), [7, 0, 2**64 - 1, 1]
    streams, found = Stream.beside(key, owners), [b""] * 4
    for at, size in reads:
        found[at] += bytes(streams[at].bytes(size))
    for owner, mine in zip(owners, found, strict=True):
        counter = CTR((owner << 64).to_bytes(16, "big"))
        assert mine == Cipher(AES256(key), counter).encryptor().update(bytes(len(mine)))


def test_streams_side_by_side_depend_on_their_arguments_only() -> None:
    def first(seed: int, purpose: str, round: int, owner: int, attempt: int, others: tuple[int, ...] = ()) -> bytes:
        streams = SeededEntropy(seed).streams(purpose, round, owners=(*others, owner), attempt=attempt)
        return bytes(streams[-1].bytes(16))

    base = first(1, "p", 2, 3, 0)
    assert base == first(1, "p", 2, 3, 0, others=(9, 4))
    others = [first(2, "p", 2, 3, 0), first(1, "q", 2, 3, 0), first(1, "p", 3, 3, 0), first(1, "p", 2, 4, 0)]
    others += [first(1, "p", 2, 3, 1), bytes(SeededEntropy(1).stream("p", 2, owner=3).bytes(16))]
    assert len({base, *others}) == 7
    fresh = [bytes(s.bytes(16)) for _ in range(2) for s in SystemEntropy().streams("p", 2, owners=[0, 1])]
    assert len(set(fresh)) == 4


@pytest.mark.parametrize("owners", [[1, 1], [-1], [1 << 64]])
def test_streams_whose_bytes_would_meet_are_refused(owners: list[int]) -> None:
    with pytest.raises(EntropyError, match="different owners"):
        Stream.beside(bytes(32), owners)


def test_a_shared_key_gives_nobody_a_seed() -> None:
    for stream in SeededEntropy(1).streams("p", 1, owners=[0, 1]):
        with pytest.raises(EntropyError, match="everybody's"):
            stream.seed()
