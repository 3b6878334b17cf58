"""What leaves an owner looks the same whatever it holds: masked vectors are uniform, and every bit of every secret matters.

Seeds are fixed, so that a test gives the same answer every time; for seeds that nobody chose, all tests of this file together
would raise a false alarm with probability below 10⁻⁶.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.messages import Verdict
from tacit.privacy.secagg.parameters import Parameters

Make = Callable[..., Any]
FOUR = Parameters(n=4, least=4, colluders=0, threshold=3, bits=20, dim=4096, adversary="malicious")
ALARM = 1e-6
TESTS = 2000  # more than there are statistics in this file


def masked(world: Make, bits: int, value: int, seeds: range) -> np.ndarray:
    """Masked vectors of owner 2, one attempt for each seed, of a vector that is `value` everywhere."""
    found = []
    for seed in seeds:
        at = world(replace(FOUR, bits=bits), seed=seed)
        request = at.until("mask")[2]
        found.append(at.owners[2].mask(request, np.full(FOUR.dim, value)).astype(np.uint64))
    return np.concatenate(found)


def unsuspicious(seen: np.ndarray) -> bool:
    """Pearson's test of counts that should be equal."""
    expected = seen.sum() / len(seen)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return bool(chi2.sf(statistic, len(seen) - 1) > ALARM / TESTS)


@pytest.mark.parametrize("bits", [2, 13, 20, 62])
@pytest.mark.parametrize("value", [0, -1], ids=["zeros", "ones"])
def test_masked_vectors_of_an_owner_are_uniform_in_every_bit(world: Make, bits: int, value: int) -> None:
    """Each bit, each pair of bits, each run of eight bits, and each bit beside its next element's, over four attempts."""
    words = masked(world, bits, value, range(4))
    assert not int((words >> np.uint64(bits)).sum())
    flags = [((words >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) for bit in range(bits)]
    for bit in range(bits):
        assert unsuspicious(np.bincount(flags[bit], minlength=2)), bit
        assert unsuspicious(np.bincount(2 * flags[bit][1:] + flags[bit][:-1], minlength=4)[[0, 3]]), bit
    for one, other in itertools.islice(itertools.combinations(range(bits), 2), 190):
        assert unsuspicious(np.bincount(2 * flags[one] + flags[other], minlength=4)), (one, other)
    for shift in range(max(bits - 7, 0)):
        octets = ((words >> np.uint64(shift)) & np.uint64(255)).astype(np.int64)
        assert unsuspicious(np.bincount(octets, minlength=256)), shift


def test_the_difference_of_two_owners_vectors_is_uniform_too(world: Make) -> None:
    """They share a mask with opposite signs: neither their sum nor their difference is without others."""
    at = world(FOUR)
    requests = at.until("mask")
    one, other = (at.owners[each].mask(requests[each], at.vectors[each]).astype(np.int64) for each in (2, 5))
    for combined in (one - other, one + other):
        for shift in range(13):
            assert unsuspicious(np.bincount((combined % 2**20) >> shift & 255, minlength=256)), shift


def vector_of(world: Make, place: int, bit: int) -> np.ndarray:
    """The masked zeros of owner 2, with one bit changed of what it drew: 0 its mask key, 2 its seed."""
    at = world(replace(FOUR, dim=64))
    request = at.until("mask")[2]
    owner = at.owners[2]
    drawn = bytearray(at.streams[2].drawn[place])
    drawn[bit // 8] ^= 1 << bit % 8
    if place == 2:
        owner._secrets.seed = bytes(drawn)
    else:
        changed = type(owner._secrets.mask_key).of(bytes(drawn))
        for each in (5, 8, 11):
            owner._secrets.masking[each] = changed.shared(at.collector._advertised[each].mask_key)
    return owner.mask(request, np.zeros(64, np.int64))


@pytest.mark.parametrize("part", range(4))
def test_every_bit_of_a_seed_changes_half_of_a_masked_vector(world: Make, part: int) -> None:
    """1,280 bits each time, half of which differ: 8 σ = 143 off for none of 256 (probability below 10⁻¹²)."""
    true = vector_of(world, 2, 0)
    base = vector_of(world, 2, 1)
    assert not np.array_equal(true, base)
    at = world(replace(FOUR, dim=64))
    request = at.until("mask")[2]
    plain = at.owners[2].mask(request, np.zeros(64, np.int64))
    for bit in range(64 * part, 64 * part + 64):
        differing = int(np.bitwise_count(plain ^ vector_of(world, 2, bit)).sum())
        assert abs(differing - 640) < 144, bit


CLAMPED = {0, 1, 2, 254, 255}  # bits of a scalar that X25519 sets itself (RFC 7748, section 5)


@pytest.mark.parametrize("part", range(4))
def test_every_bit_of_a_mask_key_changes_half_of_a_masked_vector(world: Make, part: int) -> None:
    """But the five that X25519 does not read: 251 bits of every mask key count."""
    at = world(replace(FOUR, dim=64))
    plain = at.owners[2].mask(at.until("mask")[2], np.zeros(64, np.int64))
    for bit in range(64 * part, 64 * part + 64):
        differing = int(np.bitwise_count(plain ^ vector_of(world, 0, bit)).sum())
        assert differing == 0 if bit in CLAMPED else abs(differing - 640) < 144, bit


def seeds_of(at: Any, view: bytes) -> dict[tuple[str, int, int], bytes]:
    """Every seed that masks anything in one attempt."""
    found = {}
    for one in at.cohort:
        secrets = at.owners[one]._secrets
        found["self", one, one] = sessions.self_mask(secrets.seed, view, one)
        for other in secrets.masking:
            found["pair", min(one, other), max(one, other)] = sessions.pair_mask(
                secrets.masking[other], view, one, other
            )
    return found


def test_masks_differ_by_pair_session_and_view(world: Make) -> None:
    """No seed of a mask comes twice, over pairs, owners, attempts, rounds, runs and views."""
    found: list[bytes] = []
    for origin in ({}, {"attempt": 2}, {"round": 4}, {"run": "other"}):
        at = world(replace(FOUR, dim=3, n=5, threshold=4), **origin)
        at.until("mask")
        for view in (at.collector._view, Verdict((2, 5, 8, 11), ()).view(at.session)):
            seeds = seeds_of(at, view)
            assert len(seeds) == 5 + 10
            found += seeds.values()
    assert len(found) == len(set(found)) == 4 * 2 * 15


def test_both_ends_of_a_pair_know_one_mask_and_nobody_else_does(world: Make) -> None:
    at = world()
    at.until("mask")
    secrets = {each: at.owners[each]._secrets.masking for each in at.cohort}
    for one, other in itertools.combinations(at.cohort, 2):
        assert secrets[one][other] == secrets[other][one]
        elsewhere = [value for each in at.cohort if each not in (one, other) for value in secrets[each].values()]
        assert secrets[one][other] not in elsewhere
