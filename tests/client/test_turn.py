"""Turn: one owner in one masked attempt asks for its vector once, when all is checked, and never answers twice differently."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.client.refusal import RefusedError
from tacit.client.turn import no_circle
from tacit.privacy.entropy import SystemEntropy
from tacit.strategies.messages import Cohort, Request
from tacit.strategies.steps import LAST, VECTOR, asked_in

MEMBERS = (0, 2, 4, 5, 7)
Begin = Callable[..., Any]


@settings(max_examples=15, deadline=None)
@given(drop=st.none() | st.tuples(st.sampled_from(MEMBERS), st.integers(1, LAST)))
def test_a_whole_attempt_gives_the_sum_of_those_whose_vectors_came(
    masking: Begin, drop: tuple[int, int] | None
) -> None:
    attempt = masking(silent={} if drop is None else dict([drop])).until(0)
    left = [owner for owner in MEMBERS if drop is None or drop[1] > VECTOR or owner != drop[0]]
    assert attempt.tally.owners == tuple(left)
    assert torch.equal(attempt.tally.total, attempt.total(*left))
    assert sorted(attempt.made) == left  # each made its vector once, and who fell silent before never


def test_what_leaves_before_the_end_is_no_vector_in_the_clear(masking: Begin) -> None:
    attempt = masking().until(VECTOR)
    attempt.step()
    for owner in MEMBERS:
        total = attempt.told[owner][-1].total
        assert total.shape == (15,)
        assert not torch.equal(total.to(torch.int64), attempt.vector(owner))
        assert [reply.total is None for reply in attempt.told[owner]] == [True, True, True, False]


def test_the_vector_is_made_after_the_verdict_was_checked(masking: Begin) -> None:
    """A verdict that is refused touches no data, and the attempt is over: the honest one comes too late."""
    honest = asked_in(masking().until(VECTOR).frame(4))
    for wrong in (honest.payload[:-4], b"", bytes(100), honest.payload + b"\0"):
        attempt = masking().until(VECTOR)
        with pytest.raises(RefusedError) as caught:
            attempt.turns[4].take(replace(honest, payload=wrong))
        assert caught.value.refusal.code == "mask"
        with pytest.raises(RefusedError, match="over"):
            attempt.turns[4].take(honest)
        assert attempt.made == []


def test_a_step_out_of_order_ends_the_turn(masking: Begin) -> None:
    for number, instead in itertools.permutations(range(2, LAST + 1), 2):
        attempt = masking().until(number)
        honest = asked_in(attempt.frame(4))
        turn, before = attempt.turns[4], list(attempt.made)
        for wrong, code in ((replace(honest, number=instead), "mask"), (honest, "mask")):
            with pytest.raises(RefusedError) as caught:
                turn.take(wrong)
            assert caught.value.refusal.code == code
        assert attempt.made == before


def test_the_same_step_in_other_words_ends_the_turn(masking: Begin) -> None:
    attempt = masking()
    for number in range(2, LAST + 1):
        attempt = masking().until(number)
        asked = asked_in(attempt.frame(4))
        first = attempt.turns[4].take(asked).to_bytes()
        assert attempt.turns[4].take(asked).to_bytes() == first
        with pytest.raises(RefusedError, match="twice in one session"):
            attempt.turns[4].take(replace(asked, payload=asked.payload + b"\0"))
        with pytest.raises(RefusedError, match="over"):
            attempt.turns[4].take(asked)
        assert attempt.made.count(4) == (number >= VECTOR)


def test_what_breaks_while_the_vector_is_made_is_not_tried_again(masking: Begin) -> None:
    tries = []

    def broken() -> torch.Tensor:
        tries.append(1)
        raise MemoryError

    attempt = masking()
    (request,) = (asked for asked in attempt.phase.requests if asked.owner == 4)
    attempt.turns[4] = attempt.turn(request, vector=broken)
    attempt.voices = {4: lambda frame: spoken(attempt.turns[4], frame)}
    attempt.until(VECTOR)
    asked = asked_in(attempt.frame(4))
    with pytest.raises(MemoryError):
        attempt.turns[4].take(asked)
    with pytest.raises(RefusedError, match="over"):
        attempt.turns[4].take(asked)
    assert tries == [1]


def spoken(turn: Any, frame: bytes) -> bytes:
    asked = asked_in(frame)
    return (turn.begin() if isinstance(asked, Request) else turn.take(asked)).to_bytes()


def test_a_turn_that_was_ended_answers_nothing(masking: Begin) -> None:
    attempt = masking().until(2)
    attempt.turns[4].end()
    with pytest.raises(RefusedError) as caught:
        attempt.turns[4].take(asked_in(attempt.frame(4)))
    assert caught.value.refusal.code == "session"


def test_keys_are_fresh_in_every_turn(masking: Begin, masked_request: Begin) -> None:
    seen = [
        masking().turn(masked_request(), entropy=SystemEntropy()).begin().payload,
        masking().turn(masked_request(), entropy=SystemEntropy()).begin().payload,
        masking().turn(masked_request()).begin().payload,
        masking().turn(masked_request(attempt=1)).begin().payload,
        masking().turn(masked_request(round=2)).begin().payload,
    ]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "other",
    [
        {"round": 2}, {"attempt": 1}, {"run": "another"}, {"weights": torch.ones(15)}, {"cohort": Cohort(MEMBERS, "cd" * 32)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_step_of_another_attempt_is_refused(masking: Begin, masked_request: Begin, other: dict[str, Any]) -> None:
    """What was said in one round, attempt or run, of one model or roster, is worth nothing in another."""
    attempt = masking().until(2)
    turn = attempt.turn(masked_request(**other))
    turn.begin()
    with pytest.raises(RefusedError, match="step 2 of 6") as caught:
        turn.take(asked_in(attempt.frame(4)))
    assert caught.value.refusal.code == "mask"


def test_strangers_count_for_the_server(masking: Begin, masked_request: Begin) -> None:
    """Unapproved members never count towards the floor: with one too many the owner does not even begin."""
    request = masked_request()
    masking(approved=frozenset(MEMBERS) - {7}).turn(request).begin()
    for approved in ({0, 4}, {4}, set()):
        with pytest.raises(RefusedError) as caught:
            masking(approved=frozenset(approved)).turn(request)
        assert caught.value.refusal.code == "mask"


def test_a_cohort_without_oneself_is_refused(masking: Begin, masked_request: Begin) -> None:
    attempt = masking()
    circle = attempt.circle(4)
    keys = {index: key for index, key in circle.keys.items() if index != 4}
    with pytest.raises(RefusedError):
        attempt.turn(masked_request(), circle=replace(circle, keys=keys))


def test_an_owner_without_a_roster_masks_with_nobody() -> None:
    with pytest.raises(RefusedError, match="enrol it"):
        no_circle(Cohort((0, 1), "ab" * 32))
