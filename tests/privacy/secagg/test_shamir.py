"""Shamir: any threshold of shares give the secret back, and any fewer are the same whatever it was."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg.shamir import (
    PRIME,
    SHARE,
    ShareError,
    check_share,
    combine,
    interpolate,
    secret_bytes,
    split,
    weights,
)

SECRETS = st.integers(0, 2**256 - 1)


@st.composite
def dealings(draw: st.DrawFn) -> tuple[int, int, list[int], list[int]]:
    """Secret, threshold, points, and those of at least the threshold that answer."""
    xs = draw(st.lists(st.integers(1, 2**32), min_size=1, max_size=12, unique=True))
    threshold = draw(st.integers(1, len(xs)))
    answering = draw(st.permutations(xs))[: draw(st.integers(threshold, len(xs)))]
    return draw(SECRETS), threshold, xs, answering


@given(dealings(), st.randoms(use_true_random=False))
def test_any_threshold_of_shares_give_the_secret(
    dealing: tuple[int, int, list[int], list[int]], random: Random
) -> None:
    secret, threshold, xs, answering = dealing
    shares = split(secret, threshold, xs, random.randbytes)
    assert set(shares) == set(xs)
    assert all(len(share) == SHARE for share in shares.values())
    assert combine({x: shares[x] for x in answering}, threshold) == secret
    assert interpolate(shares, weights(answering)) == secret
    for x, share in shares.items():
        check_share(x, share)


@given(dealings(), st.randoms(use_true_random=False))
def test_fewer_than_the_threshold_are_refused(dealing: tuple[int, int, list[int], list[int]], random: Random) -> None:
    secret, threshold, xs, answering = dealing
    shares = split(secret, threshold, xs, random.randbytes)
    few = {x: shares[x] for x in answering[: threshold - 1]}
    with pytest.raises(ShareError, match=f"at threshold {threshold}|no shares"):
        combine(few, threshold)


@pytest.mark.parametrize(("prime", "threshold"), [(7, 2), (7, 3), (11, 2), (5, 4)])
def test_below_the_threshold_shares_say_nothing(prime: int, threshold: int) -> None:
    """Counted out: over all polynomials, every t−1 shares take every value equally often, for every secret."""
    for holders in itertools.combinations(range(1, prime), threshold - 1):
        for secret in range(prime):
            seen: Counter[tuple[int, ...]] = Counter()
            for coefficients in itertools.product(range(prime), repeat=threshold - 1):
                shares = split(secret, threshold, range(1, prime), fixed(coefficients, prime), prime=prime)
                assert combine(shares, threshold, prime=prime) == secret
                seen[tuple(shares[x][0] for x in holders)] += 1
            assert len(seen) == prime ** (threshold - 1)
            assert set(seen.values()) == {1}


def fixed(coefficients: tuple[int, ...], prime: int) -> Callable[[int], bytes]:
    """Randomness of which `split` reads these coefficients: the top bits of a byte each."""
    shift = 8 - prime.bit_length()
    return lambda count: bytes(c << shift for c in coefficients).ljust(count, b"\0")


def test_a_share_is_the_polynomial_at_its_point() -> None:
    drawn = [3, 2**256 + 296, 2**255, 12345]

    def randomness(count: int) -> bytes:
        # One bit of 257 in the first byte is the number's; 2²⁵⁶ + 297 and above are no elements and have to be skipped.
        tries = [drawn[0], PRIME, drawn[1], 2**257 - 1, *drawn[2:]]
        return b"".join((value << 7).to_bytes(SHARE) for value in tries).ljust(count, b"\0")

    shares = split(99, 5, range(1, 8), randomness)
    for x, share in shares.items():
        value = 99 + sum(coefficient * x**power for power, coefficient in enumerate(drawn, start=1))
        assert int.from_bytes(share) == value % PRIME


@pytest.mark.parametrize("prime", [5, 7, 11, 13, 251])
def test_coefficients_are_uniform(prime: int) -> None:
    """Counted out: of all bytes, each element is made by equally many."""
    seen: Counter[int] = Counter()
    for byte in range(256):
        given = bytes([byte])
        if byte >> (8 - prime.bit_length()) >= prime:  # nothing but draws that are thrown away
            with pytest.raises(ShareError, match="broken"):
                split(0, 2, [1, 2], lambda count, given=given: given * count, prime=prime)
            continue
        share = split(0, 2, [1, 2], lambda count, given=given: given * count, prime=prime)[1]
        seen[share[0]] += 1
    assert set(seen) == set(range(prime))
    assert set(seen.values()) == {1 << (8 - prime.bit_length())}


def test_the_field() -> None:
    """2²⁵⁶ + 297 is prime, and no number between is: Miller and Rabin, to the first twenty bases."""
    bases = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71]

    def probably_prime(n: int) -> bool:
        odd, twos = n - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        for base in bases:
            x = pow(base, odd, n)
            if x in (1, n - 1):
                continue
            for _ in range(twos - 1):
                x = x * x % n
                if x == n - 1:
                    break
            else:
                return False
        return True

    assert [n for n in range(2**256 + 1, PRIME + 1) if n % 2 and probably_prime(n)] == [PRIME]
    assert (PRIME.bit_length() + 7) // 8 == SHARE


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True))
def test_weights_take_any_polynomial_to_its_value_at_zero(xs: list[int]) -> None:
    found = weights(xs)
    for power in range(len(xs)):
        assert sum(weight * pow(x, power, PRIME) for x, weight in found.items()) % PRIME == (power == 0)


def test_one_set_of_weights_serves_many_secrets() -> None:
    senders = weights(range(34, 101))
    for secret in (0, 1, 2**256 - 1):
        assert interpolate(split(secret, 67, range(1, 101), os.urandom), senders) == secret


def test_secrets_of_32_bytes_come_back_as_they_were() -> None:
    for secret in (bytes(32), b"\xff" * 32, bytes(range(32))):
        assert secret_bytes(combine(split(secret, 2, [1, 2, 3], os.urandom), 2)) == secret
    with pytest.raises(ShareError, match="did not follow the protocol"):
        secret_bytes(2**256)  # an element, but of no 32 bytes


GOOD = split(5, 2, [1, 2, 3], lambda count: bytes(count))


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({1: GOOD[1], 2: GOOD[2][:-1]}, "x = 2 has 32 bytes; a share has 33"),
        ({1: GOOD[1], 2: GOOD[2] + b"\0"}, "x = 2 has 34 bytes"),
        ({1: GOOD[1], 2: b""}, "x = 2 has 0 bytes"),
        ({1: GOOD[1], 2: PRIME.to_bytes(33)}, "x = 2 is no element"),
        ({1: GOOD[1], 2: b"\xff" * 33}, "x = 2 is no element"),
        ({0: GOOD[1], 2: GOOD[2]}, "x = 0; the point of a share is 1 or more"),
        ({-1: GOOD[1], 2: GOOD[2]}, "x = -1"),
        ({PRIME: GOOD[1], 2: GOOD[2]}, "below the prime"),
        ({1: GOOD[1]}, "1 shares at threshold 2"),
        ({}, "0 shares at threshold 2"),
        ({1: GOOD[1], 2: GOOD[2], 3: b"short"}, "x = 3 has 5 bytes"),  # one too many, and malformed
    ],
)  # fmt: skip
def test_malformed_shares_are_refused(shares: dict[int, bytes], words: str) -> None:
    with pytest.raises(ShareError, match=words):
        combine(shares, 2)


@pytest.mark.parametrize(("x", "share"), [(0, GOOD[1]), (1, GOOD[1][1:]), (1, PRIME.to_bytes(33)), (PRIME, GOOD[1])])
def test_a_share_is_checked_as_it_comes(x: int, share: bytes) -> None:
    with pytest.raises(ShareError):
        check_share(x, share)


@pytest.mark.parametrize(
    ("secret", "threshold", "xs", "words"),
    [
        (5, 2, [1, 1, 2], "twice"),
        (5, 2, [0, 1], "x = 0"),
        (5, 0, [1, 2], "threshold 0"),
        (5, 3, [1, 2], "threshold 3 with 2 shares"),
        (5, 1, [], "threshold 1 with 0 shares"),
        (PRIME, 1, [1], "no element"),
        (-1, 1, [1], "no element"),
        (bytes(31), 1, [1], "32 bytes; found 31"),
        (bytes(33), 1, [1], "32 bytes; found 33"),
    ],
)
def test_what_cannot_be_split_is_refused(secret: int | bytes, threshold: int, xs: list[int], words: str) -> None:
    with pytest.raises(ShareError, match=words):
        split(secret, threshold, xs, os.urandom)


def test_no_secret_is_in_an_error() -> None:
    secret = int.from_bytes(b"\xab" * 33)
    with pytest.raises(ShareError) as caught:
        split(secret, 1, [1], os.urandom)
    assert "abab" not in str(caught.value)
    assert str(secret) not in str(caught.value)


def test_weights_need_every_share_that_they_weigh() -> None:
    with pytest.raises(ShareError, match="x = 3 is missing"):
        interpolate({1: GOOD[1]}, weights([1, 3]))
    with pytest.raises(ShareError, match="no shares"):
        weights([])


def test_broken_randomness_is_refused() -> None:
    with pytest.raises(ShareError, match="no element of the field"):
        split(5, 2, [1, 2], lambda count: b"\xff" * count)
    with pytest.raises(ShareError, match=r"gave 1 of \d+ bytes"):
        split(5, 2, [1, 2], lambda count: b"\0")
