"""Masks cancel: the whole protocol on real bytes gives, to the bit, the sum of an engine that masks nothing (laws 4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.config import ConfigError, parse
from tacit.server.coordinator import Coordinator, Progress, Round, RoundError
from tacit.server.masked import MaskedRounds
from tacit.server.phases import plain_round
from tacit.simulation.run import Simulation, prepare
from tacit.strategies.federation import build
from tacit.strategies.messages import Reply
from tacit.strategies.steps import LAST, VECTOR, Asked, number_of

OWNERS = 10
TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 10
[rounds]
total = 1
attempts = 1
quorum = 0.7
participation = { use = "everyone" }
[local]
use = "sgd"
lr = 0.3
[privacy]
delta = 1e-4
relation = "zero-out"
[budget]
epsilon = inf
"""
LINES: dict[str, list[dict[str, Any]]] = {
    "skellam": [{"stage": "clip", "norm": 0.5}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0}],
    "discrete-gaussian": [
        {"stage": "clip", "norm": 0.5}, {"stage": "rotate", "seed": 3}, {"stage": "encode", "bits": 16},
        {"stage": "discrete-gaussian", "noise_multiplier": 1.0},
    ],
    "central": [
        {"stage": "clip", "norm": 0.5}, {"stage": "central-gaussian", "noise_multiplier": 1.0}, {"stage": "encode", "bits": 40},
    ],
    "adaptive": [
        {"stage": "adaptive-clip", "norm": 0.5}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0},
    ],
}  # fmt: skip


@dataclass
class Dropping:
    """A transport whose owner k answers no step from `drops[k]` on."""

    made: Simulation
    drops: dict[int, int]
    steps: list[int]

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        self.steps.append(number_of(requests[0]))
        heard = [asked for asked in requests if number_of(asked) < self.drops.get(asked.owner, LAST + 1)]
        return iter(list(self.made.transport.gather(heard, deadline)))


def one_round(engine: str, line: str, drops: dict[int, int], **changes: Any) -> tuple[Progress, Round, list[int]]:
    """The first round; the engine, which masks nothing, is told of those who never sent a vector."""
    masked = [*LINES[line], {"stage": "mask"}]
    made = prepare(parse(TEXT, {"privacy.pipeline": masked, **changes}), seed=5, engine=engine, device="cpu")
    transport = made.transport
    if engine == "in-memory":
        protocol = MaskedRounds(transport.roster.directory)
    else:
        protocol, drops = plain_round, {owner: 1 for owner, step in drops.items() if step <= VECTOR}
    dropping = Dropping(made, drops, [])
    coordinator = Coordinator(made.federation, dropping, made.ledger, transport.entropy, "law", 1, protocol=protocol)
    progress, record = coordinator.step(coordinator.start(transport.learner.weights()))
    return progress, record, dropping.steps


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("drops", [{}, {2: 1}, {0: 4, 6: 5}, {1: 2, 3: 6}, {5: 3}], ids=str)
def test_masks_cancel_to_the_bit(line: str, drops: dict[int, int]) -> None:
    masked, told, steps = one_round("in-memory", line, drops)
    plain, _, once = one_round("plain-loop", line, drops)
    assert torch.equal(masked.weights, plain.weights)
    assert masked.pipeline == plain.pipeline
    assert told.survived == OWNERS - sum(step <= VECTOR for step in drops.values())
    assert (steps, once) == ([1, 2, 3, 4, 5, 6], [1])


@settings(max_examples=12)
@given(st.dictionaries(st.integers(0, OWNERS - 1), st.integers(1, LAST), max_size=OWNERS))
def test_whoever_drops_whenever_the_sum_is_that_of_the_survivors_or_there_is_none(drops: dict[int, int]) -> None:
    enough = len(drops) <= OWNERS - 7
    if not enough:
        with pytest.raises(RoundError, match="below quorum"):
            one_round("in-memory", "skellam", drops)
        return
    assert torch.equal(
        one_round("in-memory", "skellam", drops)[0].weights, one_round("plain-loop", "skellam", drops)[0].weights
    )


def test_below_the_floor_nothing_is_opened_and_nothing_charged() -> None:
    made = prepare(
        parse(TEXT, {"privacy.pipeline": [*LINES["skellam"], {"stage": "mask"}]}),
        seed=5,
        engine="in-memory",
        device="cpu",
    )
    dropping = Dropping(made, {0: VECTOR, 1: VECTOR, 2: VECTOR, 9: VECTOR}, [])
    protocol = MaskedRounds(made.transport.roster.directory)
    coordinator = Coordinator(
        made.federation, dropping, made.ledger, made.transport.entropy, "law", 1, protocol=protocol
    )
    with pytest.raises(RoundError, match="0 of 10 owners"):
        coordinator.step(coordinator.start(made.transport.learner.weights()))
    assert dropping.steps == [1, 2, 3, 4]  # nobody is asked for a share
    assert made.ledger.entries == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rounds.quorum": 0.5}, "takes a threshold of 6"),
        ({"budget.colluders": 4}, "takes a threshold of 8"),
        ({"population.owners": 1, "rounds.quorum": 1.0}, "give 2 to"),
        ({"rounds.participation": {"use": "poisson", "rate": 0.5}}, "threshold"),
    ],
)
def test_a_cohort_that_cannot_be_masked_is_refused_before_anything_runs(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(parse(TEXT, {"privacy.pipeline": [*LINES["central"], {"stage": "mask"}], **changes}))


def test_a_whole_run_is_the_same_on_either_way() -> None:
    rows = {"privacy.pipeline": [*LINES["adaptive"], {"stage": "mask"}], "rounds.total": 4, "population.dropout": 0.1}
    runs = []
    for engine in ("in-memory", "plain-loop"):
        made = prepare(parse(TEXT, {**rows, "rounds.attempts": 3}), seed=8, engine=engine, device="cpu")
        for _ in made.rounds():
            continue
        runs.append(made)
    one, other = runs
    assert torch.equal(one.progress.weights, other.progress.weights)
    assert one.progress.pipeline == other.progress.pipeline
    assert [entry.to_json() for entry in one.ledger.entries] == [entry.to_json() for entry in other.ledger.entries]
