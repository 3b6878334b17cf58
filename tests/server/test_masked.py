"""Masked rounds at the coordinator: whatever an owner answers, it is named and left out, or the attempt gives no sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tacit.server.masked import Directory, MaskedRounds
from tacit.strategies.messages import Reply, reply_from
from tacit.strategies.steps import LAST, VECTOR, asked_in, number_of

MEMBERS = (0, 2, 4, 5, 7)
Begin = Callable[..., Any]


def others(attempt: Any, instead: Reply | Sequence[Reply]) -> int:
    """Everybody answers well but owner 4, for whom `instead` comes, first."""
    given = [instead] if isinstance(instead, Reply) else list(instead)
    well = [reply for reply in answers(attempt) if reply.owners != (4,)]
    return int(attempt.hear([*given, *well]))


def answers(attempt: Any) -> list[Reply]:
    return [reply_of(attempt, asked.owner) for asked in attempt.phase.requests]


def reply_of(attempt: Any, owner: int) -> Reply:
    return reply_from(attempt.answer(asked_in(attempt.frame(owner))))


def test_everybody_is_asked_with_the_same_cohort_by_wire_numbers(masking: Begin) -> None:
    asked = masking().phase.requests
    assert [each.owner for each in asked] == list(MEMBERS)
    assert {each.cohort.members for each in asked} == {MEMBERS}
    assert len({each.cohort.roster for each in asked}) == 1
    assert len({id(each.weights) for each in asked}) == 1  # one model for all: it is uploaded once


def test_owners_of_a_run_go_by_other_numbers_than_members(masking: Begin) -> None:
    """Seat k sits at wire number 10 + k; what comes back is told of seats."""
    request, line = masking().asked, masking().plan.pipeline
    directory = Directory("ab" * 32, lambda seat: 10 + seat, lambda index: bytes([index]) * 32)
    requests = tuple(replace(request, owner=seat, cohort=None) for seat in range(5))
    phases = MaskedRounds(lambda: directory)(requests, 1.0, line)
    phase = next(phases)
    assert [each.owner for each in phase.requests] == [0, 1, 2, 3, 4]
    assert phase.requests[0].cohort.members == (10, 11, 12, 13, 14)
    with pytest.raises(StopIteration) as done:
        phases.send([Reply("run", 1, 0, (2,), "refused", reason="not today", code="hours")])
    assert done.value.value.faults == {2: "not today"}
    assert done.value.value.owners == ()


def test_an_attempt_is_noted_before_anybody_is_asked(masking: Begin) -> None:
    made, noted = masking(), list[tuple[int, int]]()
    requests = tuple(replace(made.asked, owner=owner, attempt=2, cohort=None) for owner in MEMBERS)
    directory = Directory("ab" * 32, lambda owner: owner, lambda index: bytes([index]) * 32)
    phases = MaskedRounds(lambda: directory, lambda *at: noted.append(at))(requests, 1.0, made.plan.pipeline)
    assert noted == []
    next(phases)
    assert noted == [(1, 2)]


@pytest.mark.parametrize("gone", [(2,), (2, 5), MEMBERS])
def test_who_is_no_longer_in_the_roster_is_not_asked_and_named(masking: Begin, gone: tuple[int, ...]) -> None:
    made, noted = masking(), list[tuple[int, int]]()
    requests = tuple(replace(made.asked, owner=owner, cohort=None) for owner in MEMBERS)
    directory = Directory("cd" * 32, lambda owner: None if owner in gone else owner, lambda index: bytes([index]) * 32)
    phases = MaskedRounds(lambda: directory, lambda *at: noted.append(at))(requests, 1.0, made.plan.pipeline)
    left = [owner for owner in MEMBERS if owner not in gone]
    if len(left) >= 4:
        assert [each.owner for each in next(phases).requests] == left
        with pytest.raises(StopIteration) as done:
            phases.send([])
    else:  # too few to mask: nobody is asked, and no attempt is used up
        with pytest.raises(StopIteration) as done:
            next(phases)
        assert noted == []
    tally = done.value.value
    assert tally.owners == ()
    assert {owner: tally.faults[owner] for owner in gone} == dict.fromkeys(gone, "was revoked")


WRONG: dict[str, Callable[[Reply], Reply]] = {
    "another run": lambda reply: replace(reply, run="other"),
    "another round": lambda reply: replace(reply, round=2),
    "another attempt": lambda reply: replace(reply, attempt=1),
    "another step": lambda reply: replace(reply, step=reply.step % LAST + 1),
    "a refusal": lambda reply: replace(reply, status="refused", reason="not today", payload=None, total=None),
    "a failure without words": lambda reply: replace(reply, status="failed", payload=None, total=None),
    "nothing in it": lambda reply: replace(reply, payload=None, total=None),
    "both kinds": lambda reply: replace(reply, payload=b"x", total=torch.zeros(15, dtype=torch.int64), ring=16),
    "another ring": lambda reply: replace(reply, ring=20),
    "too many numbers": lambda reply: replace(reply, payload=None, total=torch.zeros(16, dtype=torch.int64), ring=16),
    "numbers outside the ring": lambda reply: replace(reply, payload=None, total=torch.full((15,), 1 << 20), ring=16),
    "a cut message": lambda reply: replace(reply, payload=(reply.payload or b"TSA1")[:-1], total=None),
}


@pytest.mark.parametrize("step", range(1, LAST + 1))
@pytest.mark.parametrize("name", WRONG)
def test_whatever_one_owner_answers_the_others_go_on_without_it(masking: Begin, name: str, step: int) -> None:
    attempt = masking().until(step)
    wrong = WRONG[name](reply_of(attempt, 4))
    if name == "another ring" and step != VECTOR:
        pytest.skip("only the vector has a ring")
    others(attempt, wrong)
    while attempt.tally is None:
        attempt.hear(answers(attempt))
    left = tuple(owner for owner in MEMBERS if owner != 4 or step > VECTOR)
    assert attempt.tally.owners == left
    assert torch.equal(attempt.tally.total, attempt.total(*left))
    if step <= VECTOR:
        assert attempt.tally.faults.keys() == {4}
        assert not attempt.tally.faults[4].startswith("owner ")  # whose it is, is said once and by its own name


@pytest.mark.parametrize("step", range(1, LAST + 1))
def test_replies_of_strangers_for_several_or_twice_move_nothing(masking: Begin, step: int) -> None:
    attempt = masking().until(step)
    good = reply_of(attempt, 4)
    noise = [replace(good, owners=(9,)), replace(good, owners=(4, 5)), replace(good, owners=()), good, good]
    others(attempt, [*noise[:3], good, good])
    while attempt.tally is None:
        attempt.hear(answers(attempt))
    assert attempt.tally.owners == MEMBERS
    assert torch.equal(attempt.tally.total, attempt.total(*MEMBERS))


@pytest.mark.parametrize("step", range(1, LAST + 1))
def test_one_too_few_ends_the_attempt_and_nobody_is_asked_for_more(masking: Begin, step: int) -> None:
    attempt = masking(silent={4: step, 7: step})
    attempt.until(0)
    assert attempt.tally.owners == ()
    assert attempt.tally.expelled == frozenset()
    assert not attempt.tally.total.any()
    asked = max((reply.step for told in attempt.told.values() for reply in told), default=0)
    assert asked == step  # above all no shares


def test_the_deadline_holds_for_each_exchange(masking: Begin) -> None:
    attempt = masking()
    seen = []
    while attempt.tally is None:
        seen.append((number_of(attempt.phase.requests[0]), attempt.phase.deadline))
        attempt.step()
    assert seen == [(number, 1.0) for number in range(1, LAST + 1)]
