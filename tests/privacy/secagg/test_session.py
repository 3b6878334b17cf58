"""Sessions: one name for one list of keys; masks that two members derive alike and no two uses share."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Advertisement, Directory, Reason, Report, Secret, entries
from tacit.privacy.secagg.parameters import Parameters, choose

CONTEXT = bytes(range(32))
FULL = Parameters(n=5, least=4, colluders=1, threshold=4, bits=20, dim=9, adversary="malicious")
index = st.integers(0, 2**32 - 2)


def directory(members: list[int]) -> Directory:
    """A directory of made-up advertisements."""
    return Directory(entries(Advertisement(each, b"k" * 32, b"s" * 32, b"c" * 32, b"!" * 64) for each in members), ())


def test_in_the_full_graph_everybody_is_near_everybody() -> None:
    found = sessions.session(directory([1, 4, 9]), CONTEXT, [1, 3, 4, 8, 9], FULL)
    assert found.members == found.near(4) == (1, 4, 9)


def test_a_sparse_graph_is_mutual_regular_and_loses_who_did_not_advertise() -> None:
    parameters = choose(200, 180, 10, 20, 9, "semi-honest")
    assert parameters.degree is not None
    cohort = [5 * each for each in range(200)]
    members = [each for each in cohort if each % 35]
    found = sessions.session(directory(members), CONTEXT, cohort, parameters)
    assert found.members == tuple(members)
    for each in members:
        near = found.near(each)
        assert list(near) == sorted(near)
        assert each in near
        assert len(near) <= parameters.degree + 1
        assert all(each in found.near(other) for other in near)
    whole = sessions.session(directory(cohort), CONTEXT, cohort, parameters)
    assert {len(whole.near(each)) for each in cohort} == {parameters.degree + 1}
    other = sessions.session(directory(cohort), bytes(32), cohort, parameters)
    assert any(other.near(each) != whole.near(each) for each in cohort)  # another session, another order


def test_every_byte_of_an_advertisement_decides_the_session() -> None:
    one = Advertisement(3, b"k" * 32, b"s" * 32, b"c" * 32, b"!" * 64)
    changed = [
        one,
        replace(one, index=4),
        replace(one, mask_key=b"K" * 32),
        replace(one, sealing_key=b"K" * 32),
        replace(one, commitment=b"K" * 32),
        replace(one, signature=b"?" * 64),
    ]
    names = {Directory(entries([each]), ()).session(CONTEXT) for each in changed}
    names |= {Directory(entries([one]), ()).session(bytes(32)), Directory(b"", ()).session(CONTEXT)}
    assert len(names) == 8


@given(index, index, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_ends_of_a_pair_derive_one_mask_with_opposite_signs(one: int, other: int, a: bytes, b: bytes) -> None:
    if one == other:
        return
    first, second = AgreementKey.of(a), AgreementKey.of(b)
    here = sessions.pair_mask(first.shared(second.public), CONTEXT, one, other)
    there = sessions.pair_mask(second.shared(first.public), CONTEXT, other, one)
    assert here == there
    assert sessions.pair_sign(one, other) == -sessions.pair_sign(other, one)


def test_no_two_uses_of_one_secret_give_the_same_bytes() -> None:
    secret = bytes(32)
    found = [
        sessions.seed_commitment(CONTEXT, 1, secret),
        sessions.seed_commitment(CONTEXT, 2, secret),
        sessions.seed_commitment(bytes(32), 1, secret),
        sessions.self_mask(secret, CONTEXT, 1),
        sessions.self_mask(secret, CONTEXT, 2),
        sessions.self_mask(secret, bytes(32), 1),
        sessions.pair_mask(secret, CONTEXT, 1, 2),
        sessions.pair_mask(secret, CONTEXT, 1, 3),
        sessions.pair_mask(secret, bytes(32), 1, 2),
        *(
            sessions.share_commitment(session, dealer, holder, kind, bytes(33))
            for session in (CONTEXT, bytes(32))
            for dealer in (1, 2)
            for holder in (1, 2)
            for kind in Secret
        ),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("complaints", "colluders", "out"),
    [
        ({}, 1, set()),
        ({1: [2]}, 0, {2}),
        ({1: [2], 3: [2]}, 0, {2}),
        ({1: [2, 3]}, 1, {1}),
        ({1: [2, 3]}, 2, {2, 3}),
        ({1: [2, 3], 2: [1]}, 1, {1}),
        ({1: [2, 3, 4], 5: [2]}, 2, {1, 2}),
    ],
)
def test_who_leaves_because_of_complaints(complaints: dict[int, list[int]], colluders: int, out: set[int]) -> None:
    reports = [
        Report(who, bytes(32), dict.fromkeys(named, Reason.SEALED), bytes(64)) for who, named in complaints.items()
    ]
    assert sessions.excluded(reports, colluders).keys() == out
