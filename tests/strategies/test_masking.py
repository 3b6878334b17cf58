"""What both sides derive of a masked round, and what people are told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tacit.config import parse
from tacit.privacy.secagg.parameters import ParameterError
from tacit.simulation.run import prepare
from tacit.simulation.transport import InMemory
from tacit.strategies.federation import Federation, build
from tacit.strategies.masking import context_of, outlook, parameters_of
from tacit.strategies.messages import Cohort, Request, reply_from

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 10
[rounds]
total = 1
quorum = 0.7
participation = { use = "everyone" }
[privacy]
delta = 1e-4
relation = "zero-out"
pipeline = [
  { stage = "clip", norm = 0.5 }, { stage = "encode" }, { stage = "skellam", noise_multiplier = 2.0 }, { stage = "mask" },
]
[budget]
epsilon = inf
"""
KEYS = {owner: bytes([owner]) * 32 for owner in range(10)}


def federation(**changes: Any) -> Federation:
    return build(parse(TEXT, changes))


def request(**changes: Any) -> Request:
    made = federation()
    asked = Request(
        "run", 1, 0, 3, made.recipe(made.pipeline), torch.zeros(31), cohort=Cohort(tuple(range(10)), "ab" * 32)
    )
    return replace(asked, **changes)


def test_the_numbers_follow_from_the_pipeline_and_the_cohort() -> None:
    found = parameters_of(federation().pipeline, 10)
    assert (found.n, found.least, found.threshold, found.colluders, found.bits, found.dim) == (10, 7, 7, 0, 20, 31)
    assert found.malicious
    assert parameters_of(federation(**{"budget.colluders": 2}).pipeline, 10).colluders == 2
    with pytest.raises(ParameterError, match="no mask"):
        parameters_of(federation(**{"privacy.pipeline": [{"stage": "clip", "norm": 1.0}]}).pipeline, 10)


def test_everything_that_decides_the_sum_is_in_the_context_and_nothing_else() -> None:
    parameters = parameters_of(federation().pipeline, 10)
    recipe = request().recipe
    changed = [
        request(run="other"), request(round=2), request(attempt=1), request(weights=torch.ones(31)),
        request(broadcast=torch.ones(1)), request(recipe=replace(recipe, least=8)),
        request(recipe=replace(recipe, terms=replace(recipe.terms, code="another"))),
        request(recipe=replace(recipe, pipeline=recipe.pipeline[:-1])),
        request(cohort=Cohort(tuple(range(10)), "cd" * 32)),
    ]  # fmt: skip
    found = {context_of(each, KEYS, parameters) for each in [request(), *changed]}
    found.add(context_of(request(), {**KEYS, 9: bytes(32)}, parameters))
    found.add(context_of(request(), KEYS, parameters_of(federation(**{"budget.colluders": 1}).pipeline, 10)))
    assert len(found) == len(changed) + 3
    assert context_of(request(owner=7), KEYS, parameters) == context_of(request(), KEYS, parameters)
    with pytest.raises(ParameterError, match="no cohort"):
        context_of(request(cohort=None), KEYS, parameters)


@pytest.mark.parametrize("owners", [4, 10])
def test_people_are_told_what_an_owner_really_sends(owners: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = prepare(
        parse(TEXT, {"population.owners": owners, "rounds.quorum": 0.75}), seed=1, engine="in-memory", device="cpu"
    )
    told = outlook(made.federation.pipeline, owners)
    assert told is not None
    sent: dict[int, int] = {}
    vectors: set[int] = set()
    answer = InMemory._answer

    def listening(self: InMemory, frame: bytes, owner: int) -> bytes:
        reply = reply_from(found := answer(self, frame, owner))
        sent[owner] = sent.get(owner, 0) + len(reply.payload or b"")
        if reply.total is not None:
            vectors.add(-(-len(reply.total) * (reply.ring or 0) // 8))
        return found

    monkeypatch.setattr(InMemory, "_answer", listening)
    for _ in made.rounds():
        continue
    assert set(sent.values()) == {told.overhead}
    assert vectors == {told.vector}
    assert told.peers == owners - 1
    withstands, cost = told.words()
    assert "malicious server with 0 owners" in withstands
    assert "6 exchanges" in cost


def test_without_masks_there_is_nothing_to_tell() -> None:
    assert outlook(federation(**{"privacy.pipeline": [{"stage": "clip", "norm": 1.0}]}).pipeline, 10) is None
