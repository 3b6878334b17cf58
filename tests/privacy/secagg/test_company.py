"""Who counts: members that an owner's administrator did not approve are colluders to it, and never reach a floor."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg import messages
from tacit.privacy.secagg.company import company
from tacit.privacy.secagg.errors import RefusalError
from tacit.privacy.secagg.exchange import answer
from tacit.privacy.secagg.owner import Owner
from tacit.privacy.secagg.parameters import ParameterError, Parameters

Begin = Callable[..., Any]
COHORT = {each: bytes([each]) * 32 for each in range(10)}


def parameters(**changes: Any) -> Parameters:
    """Ten owners against a malicious server, with changes."""
    given: dict[str, Any] = {"n": 10, "least": 8, "colluders": 1, "threshold": 8, "bits": 20, "dim": 3}
    return Parameters(**{**given, "adversary": "malicious", **changes})


def made(approved: set[int], own: int = 0, **changes: Any) -> Any:
    """The company of one owner that approved some."""
    return company(parameters(**changes), own, COHORT[own], COHORT, frozenset(approved))


@given(st.sets(st.integers(0, 12)), st.integers(0, 4), st.integers(2, 10), st.integers(2, 10), st.integers(0, 9))
def test_a_company_stands_exactly_where_the_strangers_are_colluders_more(
    approved: set[int], colluders: int, threshold: int, least: int, own: int
) -> None:
    try:
        found = parameters(colluders=colluders, threshold=threshold, least=least)
    except ParameterError:
        return
    strangers = len(set(COHORT) - approved - {own})
    try:
        counted = company(found, own, COHORT[own], COHORT, frozenset(approved))
    except RefusalError as error:
        holds = 2 * threshold > 10 + colluders + strangers and 10 - strangers >= least
        outcome = (error.code, holds)
    else:
        outcome = (counted.colluders - colluders, 2 * threshold > 10 + colluders + strangers)
        # two quorums and two thresholds share an honest member, whoever of the strangers helps
        assert 2 * counted.quorum > 10 + colluders + strangers
        assert counted.quorum <= threshold
    assert outcome in (("approval", False), (strangers, True))


def test_strangers_reach_no_floor() -> None:
    found = made(set(range(9)))
    found.floor("these", range(8))
    with pytest.raises(RefusalError, match="these: 7 members that count, and the floor is 8") as caught:
        found.floor("these", [0, 1, 2, 3, 4, 5, 6, 9])
    assert caught.value.code == "too-few"
    assert found.quorum == (10 + 1 + 1) // 2 + 1


def test_sybils_around_one_victim_are_refused() -> None:
    """A server invents nine members: nine colluders, for which no threshold of ten is enough."""
    with pytest.raises(RefusalError, match="9 of 10 members are not approved") as caught:
        made(set(), threshold=10, least=10)
    assert caught.value.code == "approval"


def test_a_roster_that_nobody_approved_serves_only_against_an_honest_server() -> None:
    found = made(set(), adversary="semi-honest")
    assert found.counted == frozenset(COHORT)
    assert (found.colluders, found.quorum) == (1, 8)


@pytest.mark.parametrize(
    ("cohort", "own", "says"),
    [
        ({each: COHORT[each] for each in range(9)}, COHORT[0], "a cohort of 9"),
        (COHORT, b"?" * 32, "owner 0 with its own key"),
        ({**COHORT, 9: COHORT[8]}, COHORT[0], "one key stands for two"),
        ({**{each: COHORT[each] for each in range(9)}, 1 << 32: COHORT[9]}, COHORT[0], "no u32"),
    ],
)
def test_a_cohort_that_is_none_is_refused(cohort: dict[int, bytes], own: bytes, says: str) -> None:
    with pytest.raises(RefusalError, match=says) as caught:
        company(parameters(), 0, own, cohort, frozenset(range(10)))
    assert caught.value.code == "cohort"


def test_an_owner_with_a_stranger_wants_one_signature_more(begin: Begin) -> None:
    found = Parameters(n=7, least=6, colluders=0, threshold=6, bits=20, dim=3, adversary="malicious")
    attempt = begin(found)
    approved = frozenset(attempt.cohort) - {2}
    key = attempt.owners[8]._signing_key
    attempt.owners[8] = Owner(found, attempt.context, 8, key, attempt.cohort, approved, os.urandom)
    request = attempt.until("unmask")[8]
    signed = messages.agreements_from(request, attempt.collector.session).signatures
    four = {each: signed[each] for each in (2, 5, 8, 11)}
    assert found.quorum == 4
    other = attempt.owners[11].unmask(messages.Agreements(four).to_bytes(attempt.collector.session))
    assert messages.opening_from(other, attempt.collector.session).index == 11
    with pytest.raises(RefusalError, match="4 agree on the survivors, and 5 have to"):
        attempt.owners[8].unmask(messages.Agreements(four).to_bytes(attempt.collector.session))


@pytest.mark.parametrize("step", ["deal", "mask", "agree"])
def test_six_members_with_a_stranger_are_no_six(begin: Begin, step: str) -> None:
    """At every step the floor is counted without those whom the owner's administrator did not approve."""
    found = Parameters(n=7, least=6, colluders=0, threshold=6, bits=20, dim=3, adversary="malicious")

    def attempt_without(gone: int) -> Any:
        attempt = begin(found)
        approved, key = frozenset(attempt.cohort) - {2}, attempt.owners[8]._signing_key
        attempt.owners[8] = Owner(found, attempt.context, 8, key, attempt.cohort, approved, os.urandom)
        before = {"deal": "advertise", "mask": "check", "agree": "mask"}[step]
        attempt.until(before)
        for index, request in attempt.collector.requests().items():
            if index != gone:
                answer(
                    attempt.owners[index],
                    attempt.collector.step,
                    request,
                    attempt.vectors[index],
                    attempt.collector,
                    index,
                )
        attempt.collector.close()
        assert attempt.collector.step == step
        return attempt

    def asked(attempt: Any) -> Any:
        request = attempt.collector.requests()[8]
        return answer(attempt.owners[8], step, request, attempt.vectors[8], attempt.collector, 8)

    asked(attempt_without(2))  # without the stranger six are left
    with pytest.raises(RefusalError, match="5 members that count, and the floor is 6") as caught:
        asked(attempt_without(11))
    assert caught.value.code == "too-few"
