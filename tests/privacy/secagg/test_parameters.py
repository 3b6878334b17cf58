"""Parameters: whatever can be made withstands what it says and can end; everything else is refused with a remedy."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tacit.privacy.secagg.graph import check, complete, neighbours
from tacit.privacy.secagg.keys import digest
from tacit.privacy.secagg.parameters import FULL_UP_TO, Adversary, ParameterError, Parameters, choose, full, sparse

NUMBERS = st.integers(0, 30)
SEED = bytes(range(32))


def made(*arguments: Any) -> Parameters | None:
    try:
        return Parameters(*arguments)
    except ParameterError:
        return None


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_no_split_view_gives_both_kinds_of_share(n: int, least: int, colluders: int, threshold: int) -> None:
    """Malicious: however the server parts the honest owners, one part with all colluders stays below the threshold."""
    found = made(n, least, colluders, threshold, 20, 10, "malicious")
    withstands = n >= 2 and all(
        honest + colluders < threshold or n - colluders - honest + colluders < threshold
        for honest in range(n - colluders + 1)
    )
    ends = 2 <= threshold <= least <= n
    assert (found is not None) == (withstands and ends and threshold > colluders and least > colluders)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_two_quorums_share_an_honest_owner(n: int, least: int, colluders: int) -> None:
    """Malicious: an honest owner signs one set of survivors, so no two sets have a quorum; `least` survivors make one."""
    try:
        found = full(n, least, colluders, 20, 10, "malicious")
    except ParameterError:
        return
    assert 2 * found.quorum - n > colluders
    assert 2 * (found.quorum - 1) - n <= colluders
    assert found.quorum <= found.threshold <= found.least
    assert found.drops == n - least


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_semi_honest_server_needs_more_shares_than_colluders_have(
    n: int, least: int, colluders: int, threshold: int
) -> None:
    found = made(n, least, colluders, threshold, 20, 10, "semi-honest")
    sound = n >= 2 and max(1, colluders) < threshold <= least <= n
    assert (found is not None) == sound
    assert found is None or found.quorum == threshold


@given(st.integers(2, 30), NUMBERS, NUMBERS, st.sampled_from(["malicious", "semi-honest"]))
def test_the_usual_threshold_is_there_wherever_one_is(n: int, least: int, colluders: int, adversary: Adversary) -> None:
    possible = [t for t in range(n + 1) if made(n, least, colluders, t, 20, 10, adversary)]
    if not possible:
        with pytest.raises(ParameterError):
            full(n, least, colluders, 20, 10, adversary)
        return
    assert full(n, least, colluders, 20, 10, adversary).threshold in possible


@pytest.mark.parametrize(
    ("n", "least", "colluders", "threshold"),
    [(100, 90, 0, 67), (100, 60, 0, 60), (100, 90, 50, 76), (13, 13, 3, 9), (13, 9, 3, 9), (3, 3, 0, 3), (2, 2, 0, 2)],
)
def test_the_usual_threshold(n: int, least: int, colluders: int, threshold: int) -> None:
    """t = max(⌊(n + C)/2⌋ + 1, min(⌊2n/3⌋ + 1, least)), reckoned by hand."""
    assert full(n, least, colluders, 20, 10, "malicious").threshold == threshold


def test_two_thirds_bear_a_third() -> None:
    """t = ⌊2n/3⌋ + 1 withstands C < n/3 (Bonawitz et al. 2017, section 6)."""
    for n in range(3, 200):
        third = (n - 1) // 3
        assert made(n, n, third, 2 * n // 3 + 1, 20, 10, "malicious") is not None


@given(st.integers(FULL_UP_TO + 1, 300), st.floats(0, 0.4), st.floats(0, 0.4))
def test_sparse_parameters_are_sound(n: int, corrupt: float, dropped: float) -> None:
    colluders, drops = int(n * corrupt), int(n * dropped)
    assume(n - drops - colluders >= 1)
    chosen = choose(n, n - drops, colluders, 20, 10, "semi-honest")
    if chosen.degree is None:
        assert sparse(n, n - drops, colluders, 20, 10) is None
        return
    check(n, colluders, drops, chosen.degree, chosen.threshold)
    assert chosen == sparse(n, n - drops, colluders, 20, 10)
    assert chosen.neighbours(SEED) == neighbours(n, chosen.degree, SEED)


def test_what_is_chosen() -> None:
    """Degree and threshold of 5 % and 5 % are those of the published table."""
    hundred = choose(100, 95, 5, 20, 10, "semi-honest")
    assert (hundred.degree, hundred.threshold) == (12, 6)
    thousand = choose(1000, 950, 50, 20, 10, "semi-honest")
    assert (thousand.degree, thousand.threshold) == (30, 17)
    assert choose(100, 95, 5, 20, 10, "malicious").degree is None
    assert choose(FULL_UP_TO, FULL_UP_TO - 3, 3, 20, 10, "semi-honest").degree is None
    assert (
        choose(100, 30, 25, 20, 10, "semi-honest").degree is None
    )  # 70 drops and 25 colluders: nothing sparse is left
    assert choose(5, 4, 1, 20, 10, "malicious").neighbours(SEED) == complete(5)


MALICIOUS = Parameters(10, 8, 2, 7, 20, 1000, "malicious")
SPARSE = Parameters(100, 95, 5, 6, 20, 1000, "semi-honest", 12)


@pytest.mark.parametrize(
    ("parameters", "changes", "words"),
    [
        (MALICIOUS, {"n": 1, "least": 1}, "n = 1; give 2 to"),
        (MALICIOUS, {"n": 2**20 + 1}, "give 2 to 1048576 owners"),
        (MALICIOUS, {"n": 7}, "least = 8 of 7 owners"),
        (MALICIOUS, {"least": 1, "colluders": 0}, "least = 1; give 2 or more"),
        (MALICIOUS, {"least": 2}, "least = 2 with 2 colluders; give least = 3 or more"),
        (MALICIOUS, {"colluders": -1}, "colluders = -1; give 0 or more"),
        (MALICIOUS, {"threshold": 6}, r"against a malicious server give 7 or more \(2t > n \+ C\)"),
        (MALICIOUS, {"threshold": 9}, "threshold = 9 above least = 8; give threshold = 8 or less"),
        (MALICIOUS, {"threshold": 2}, "threshold = 2 with 2 colluders; give 3 or more"),
        (MALICIOUS, {"threshold": 1, "colluders": 0}, "threshold = 1; give 2 or more"),
        (MALICIOUS, {"bits": 1}, "bits = 1; give 2 to 62"),
        (MALICIOUS, {"bits": 63}, "bits = 63; give 2 to 62"),
        (MALICIOUS, {"dim": 0}, "dim = 0; give at least 1"),
        (MALICIOUS, {"dim": 2**48}, "less than 2\\^48"),
        (MALICIOUS, {"adversary": "honest"}, "adversary = 'honest'; give malicious or semi-honest"),
        (MALICIOUS, {"n": 10.0}, "n = 10.0; give an integer"),
        (MALICIOUS, {"colluders": True}, "colluders = True; give an integer"),
        (MALICIOUS, {"degree": 4}, "degree = 4 against a malicious server; use the full graph"),
        (SPARSE, {"adversary": "malicious"}, "degree = 12 against a malicious server"),
        (SPARSE, {"degree": 11}, "degree 11 and threshold 6 for 100 owners; give an even degree"),
        (SPARSE, {"degree": 10}, "raise the degree"),
        (SPARSE, {"threshold": 5}, "5 colluders may hold 5 shares of a neighbour; raise the threshold"),
        (SPARSE, {"threshold": 11}, "5 drops may leave an owner fewer than 11 neighbours; raise the degree"),
        (SPARSE, {"colluders": 50}, "raise the threshold"),
        (SPARSE, {"least": 60}, "raise the degree"),
        (SPARSE, {"degree": "12"}, "degree = '12'; give an integer"),
    ],
)  # fmt: skip
def test_what_is_weak_is_refused_with_a_remedy(parameters: Parameters, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        dataclasses.replace(parameters, **changes)


def test_too_few_survivors_against_a_malicious_server() -> None:
    with pytest.raises(ParameterError, match="takes a threshold of 9; give least = 9 or more, or fewer colluders"):
        full(13, 8, 3, 20, 10, "malicious")


def test_canonical_bytes_are_written_out() -> None:
    assert SPARSE.canonical() == struct.pack(">IIIIBQBI", 100, 95, 5, 6, 20, 1000, 2, 12)
    assert MALICIOUS.canonical() == struct.pack(">IIIIBQBI", 10, 8, 2, 7, 20, 1000, 1, 0)
    assert MALICIOUS.digest() == digest("parameters", MALICIOUS.canonical())


def test_every_number_is_in_the_canonical_bytes() -> None:
    changes: list[dict[str, Any]] = [
        {"n": 11}, {"least": 9}, {"colluders": 1}, {"threshold": 8}, {"bits": 21}, {"dim": 1001},
        {"adversary": "semi-honest"},
    ]  # fmt: skip
    found = {dataclasses.replace(MALICIOUS, **each).canonical() for each in changes}
    found |= {MALICIOUS.canonical(), SPARSE.canonical(), dataclasses.replace(SPARSE, degree=14).canonical()}
    assert len(found) == len(changes) + 3
