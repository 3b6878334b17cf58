"""Tally: only one answer of each asked owner to this run, round and attempt is summed, whatever arrives."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.pipeline import Pipeline, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.table import from_row
from tacit.server.tally import tally
from tacit.strategies.messages import Recipe, Reply, Request
from tacit.strategies.terms import Terms

DIM = 3
CLIP = {"stage": "clip", "norm": 1.0}
LINES = {
    "reals": [CLIP],
    "lattice": [CLIP, {"stage": "central-gaussian", "noise_multiplier": 2.0}],
    "ring": [CLIP, {"stage": "encode", "bits": 20}],
}
TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd"}, {"use": "fedavg"}, (), 1, 9, TERMS)
ASKED = tuple(Request("run", 5, 1, owner, RECIPE, torch.zeros(DIM)) for owner in (2, 3, 5, 7))


def line(name: str) -> Pipeline:
    return pipeline(Signal(DIM, "owner", least=1, most=4, expected=4.0), [from_row(row) for row in LINES[name]])


def answer(owner: int, name: str = "ring", value: int | None = None) -> Reply:
    """An honest reply whose numbers say whose it is: the sum of a set of owners is the set."""
    total = torch.full((DIM,), 1 << owner if value is None else value)
    concrete = line(name).final
    return Reply("run", 5, 1, (owner,), "ok", total if concrete.scale else total.to(torch.float32), concrete.ring)


@pytest.mark.parametrize("name", LINES)
@given(st.permutations([2, 3, 5, 7]), st.integers(0, 4))
def test_the_sum_is_that_of_whoever_answered_in_any_order(name: str, order: list[int], count: int) -> None:
    found = tally([answer(owner, name) for owner in order[:count]], ASKED, line(name))
    assert found.owners == tuple(sorted(order[:count]))
    assert found.total.tolist() == [sum(1 << owner for owner in order[:count])] * DIM
    assert found.total.dtype == line(name).empty().dtype
    assert found.faults == {}


@given(st.permutations([0.1, 1e8, -1e8, 0.3]))
def test_a_sum_of_floats_does_not_depend_on_who_was_faster(values: list[float]) -> None:
    given_to = dict(zip((2, 3, 5, 7), (0.1, 1e8, -1e8, 0.3), strict=True))
    replies = [replace(answer(owner, "reals"), total=torch.full((DIM,), value)) for owner, value in given_to.items()]
    shuffled = sorted(replies, key=lambda reply: values.index(given_to[reply.owners[0]]))
    assert torch.equal(tally(shuffled, ASKED, line("reals")).total, tally(replies, ASKED, line("reals")).total)


def test_the_ring_wraps() -> None:
    top = (1 << 20) - 1
    replies = [answer(2, value=top), answer(3, value=top), answer(5, value=3)]
    assert tally(replies, ASKED, line("ring")).total.tolist() == [1] * DIM


FOREIGN = {
    "another run": replace(answer(2), run="other"),
    "an earlier round": replace(answer(2), round=4),
    "a later round": replace(answer(2), round=6),
    "an earlier attempt": replace(answer(2), attempt=0),
    "an owner that was not asked": answer(4),
    "asked and not asked together": replace(answer(2), owners=(2, 4)),
    "nobody": replace(answer(2), owners=()),
    "one owner twice in one reply": replace(answer(2), owners=(2, 2)),
    "a refusal with a message": replace(answer(2), status="refused"),
    "a failure with a message": replace(answer(2), status="failed"),
    "no message": replace(answer(2), total=None),
    "a shorter message": replace(answer(2), total=torch.ones(DIM - 1, dtype=torch.int64)),
    "a longer message": replace(answer(2), total=torch.ones(DIM + 1, dtype=torch.int64)),
    "a matrix": replace(answer(2), total=torch.ones(DIM, DIM, dtype=torch.int64)),
    "a single number": replace(answer(2), total=torch.tensor(1)),
    "reals": replace(answer(2), total=torch.ones(DIM)),
    "32 bits": replace(answer(2), total=torch.ones(DIM, dtype=torch.int32)),
    "another ring": replace(answer(2), ring=21),
    "no ring": replace(answer(2), ring=None),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("place", ["first", "last"])
def test_what_does_not_answer_this_attempt_is_left_out(what: str, place: str) -> None:
    honest = [answer(3), answer(7)]
    replies = [FOREIGN[what], *honest] if place == "first" else [*honest, FOREIGN[what]]
    found = tally(replies, ASKED, line("ring"))
    assert found.owners == (3, 7)
    assert found.total.tolist() == [(1 << 3) + (1 << 7)] * DIM


@pytest.mark.parametrize(
    "what", [what for what in FOREIGN if 2 in FOREIGN[what].owners and 4 not in FOREIGN[what].owners]
)
def test_the_operator_is_told_why_unless_the_owner_also_answered_well(what: str) -> None:
    assert tally([FOREIGN[what]], ASKED, line("ring")).faults[2]
    assert tally([FOREIGN[what], answer(2)], ASKED, line("ring")).faults == {}
    assert tally([FOREIGN[what], answer(2)], ASKED, line("ring")).owners == (2,)


def test_a_refusal_keeps_its_words() -> None:
    refused = replace(answer(2), status="refused", total=None, reason="the cohort is too small")
    assert tally([refused], ASKED, line("ring")).faults == {2: "the cohort is too small"}


@given(st.lists(st.sampled_from([2, 3, 5]), min_size=1, max_size=8))
def test_an_owner_that_answers_again_is_summed_once(owners: list[int]) -> None:
    replies = [
        answer(owner, value=(1 << owner) if index == owners.index(owner) else 999) for index, owner in enumerate(owners)
    ]
    found = tally(replies, ASKED, line("ring"))
    assert found.owners == tuple(sorted(set(owners)))
    assert found.total.tolist() == [sum(1 << owner for owner in set(owners))] * DIM


@pytest.mark.parametrize("order", list(itertools.permutations([(2, 3), (3, 5), (7,)])))
def test_overlapping_sums_are_never_both_counted(order: tuple[tuple[int, ...], ...]) -> None:
    replies = [replace(answer(owners[0]), owners=owners) for owners in order]
    found = tally(replies, ASKED, line("ring"))
    first = order[0] if len(order[0]) == 2 else order[1]
    assert found.owners == tuple(sorted({*first, 7}))


def test_nobody_asked_and_nobody_answered_is_the_sum_of_nothing() -> None:
    assert tally([], (), line("ring")).total.tolist() == [0] * DIM
    assert tally([answer(2)], (), line("ring")).owners == ()
    assert tally([], ASKED, line("lattice")).owners == ()
