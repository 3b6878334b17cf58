"""Coordinator: what makes a round, what ends one, and that nothing is revealed unpaid (PRIVACY.md 6, 13 to 15)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tacit.config import Config, parse
from tacit.privacy.entropy import SeededEntropy, SystemEntropy
from tacit.privacy.event import Gaussian, NonPrivate, Poisson, Skellam
from tacit.privacy.ledger.memory import BudgetError, MemoryLedger
from tacit.privacy.pipeline import Opened, Pipeline, Release, pipeline
from tacit.privacy.stages.table import from_row
from tacit.server.coordinator import Coordinator, Progress, Round, RoundError, restored
from tacit.strategies.budget import RoundBudget, budget_for
from tacit.strategies.federation import Federation, build
from tacit.strategies.messages import Reply, Request

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 10
[rounds]
total = 6
deadline = "7s"
quorum = 0.7
[local]
use = "sgd"
[privacy]
delta = 1e-3
pipeline = [ { stage = "clip", norm = 1.0 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 1000.0
"""
DIM = 31
POISSON = {"rounds.participation": {"use": "poisson", "rate": 0.5}}
SHARED = {
    "privacy.pipeline": [
        {"stage": "clip", "norm": 1.0}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0},
    ],
    "privacy.relation": "zero-out",
}  # fmt: skip
OWN = {
    "privacy.pipeline": [{"stage": "clip", "norm": 1.0}, {"stage": "own-gaussian", "noise_multiplier": 2.0}],
    "privacy.relation": "zero-out",
}
ADAPTIVE = {
    "privacy.pipeline": [
        {"stage": "adaptive-clip", "norm": 1.0}, {"stage": "central-gaussian", "noise_multiplier": 2.0},
    ]
}  # fmt: skip


def config(**changes: Any) -> Config:
    return parse(TEXT, changes)


def answer(request: Request, concrete: Pipeline) -> Reply:
    """An honest reply that says whose it is."""
    total = torch.full((concrete.final.dim,), 1000 + request.owner)
    total = total if concrete.final.scale else total.to(torch.float32)
    return Reply(request.run, request.round, request.attempt, (request.owner,), "ok", total, concrete.final.ring)


Behaviour = Callable[[Sequence[Request], Pipeline], list[Reply]]


def everybody(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
    return [answer(request, concrete) for request in requests]


def nobody(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
    return []


def except_owners(*silent: int) -> Behaviour:
    return lambda requests, concrete: [answer(r, concrete) for r in requests if r.owner not in silent]


@dataclass
class Scripted:
    """A transport that does what it is told, and remembers what it was asked."""

    concrete: Pipeline
    behaviour: Behaviour = everybody
    asked: list[tuple[tuple[Request, ...], float]] = field(default_factory=list)

    def gather(self, requests: Sequence[Request], deadline: float) -> list[Reply]:
        self.asked.append((tuple(requests), deadline))
        return self.behaviour(requests, self.concrete)


@dataclass
class Bench:
    """A coordinator with its parts at hand."""

    federation: Federation
    transport: Scripted
    ledger: MemoryLedger
    coordinator: Coordinator

    def start(self) -> Progress:
        return self.coordinator.start(torch.zeros(DIM))

    def run(self, rounds: int, progress: Progress | None = None) -> list[tuple[Progress, Round]]:
        return list(self.coordinator.rounds(progress or self.start(), rounds))


def bench(behaviour: Behaviour = everybody, paid: int = 6, seed: int | None = 3, **changes: Any) -> Bench:
    federation = build(config(**changes))
    transport = Scripted(federation.pipeline, behaviour)
    ledger = MemoryLedger(budget_for(federation, paid))
    entropy = SystemEntropy() if seed is None else SeededEntropy(seed)
    return Bench(federation, transport, ledger, Coordinator(federation, transport, ledger, entropy, "run", paid))


def weights(found: list[tuple[Progress, Round]]) -> torch.Tensor:
    return found[-1][0].weights


# --- one round ---


def test_a_round_asks_every_sampled_owner_once_in_one_exchange_with_the_deadline() -> None:
    made = bench()
    ((progress, record),) = made.run(1)
    ((requests, deadline),) = made.transport.asked
    assert [request.owner for request in requests] == list(range(10))
    assert {(r.run, r.round, r.attempt) for r in requests} == {("run", 1, 0)}
    assert deadline == 7.0
    assert (progress.round, record.number, record.attempt, record.sampled, record.survived) == (1, 1, 0, 10, 10)


def test_the_mean_is_the_sum_over_the_expected_cohort_plus_noise_of_the_declared_scale() -> None:
    made = bench(except_owners(0, 1), **{"task.use": "digits"})
    dim = made.federation.pipeline.final.dim
    progress, _ = made.coordinator.step(made.coordinator.start(torch.zeros(dim)))
    noise = 10 * progress.weights.to(torch.float64)  # the messages are 1e3 lattice points: nothing beside the noise
    assert noise.std().item() == pytest.approx(2.0, rel=0.2)
    assert progress.weights.unique().numel() > dim / 2


def test_the_denominator_is_public_with_a_budget_and_the_survivors_without() -> None:
    quiet = {"privacy.pipeline.1.noise_multiplier": 0.0, "budget.epsilon": math.inf}
    two = bench(except_owners(0, 1), **quiet)
    all_ten = bench(everybody, **quiet)
    scale = two.federation.pipeline.final.scale
    assert weights(two.run(1))[0].item() == pytest.approx(scale * sum(range(1002, 1010)) / 8, rel=1e-6)
    assert weights(all_ten.run(1))[0].item() == pytest.approx(scale * sum(range(1000, 1010)) / 10, rel=1e-6)
    private, fewer = bench(everybody), bench(except_owners(9))
    difference = (weights(private.run(1)) - weights(fewer.run(1))) * 10
    assert difference.mean().item() == pytest.approx(scale * 1009, abs=1e-6)  # same noise, same denominator


JUNK: dict[str, Callable[[Reply], list[Reply]]] = {
    "the same reply again": lambda reply: [reply, reply],
    "another reply of the same owner": lambda reply: [reply, replace(reply, total=reply.total * 7)],
    "a reply of the last round": lambda reply: [replace(reply, round=reply.round - 1), reply],
    "a reply of another attempt": lambda reply: [replace(reply, attempt=reply.attempt + 1), reply],
    "a reply of another run": lambda reply: [replace(reply, run="else"), reply],
    "an owner that was not asked": lambda reply: [reply, replace(reply, owners=(77,))],
    "a wrong shape": lambda reply: [replace(reply, total=reply.total[:-1]), reply],
    "a wrong type": lambda reply: [replace(reply, total=reply.total.to(torch.float32)), reply],
}


@pytest.mark.parametrize("what", JUNK)
def test_what_is_no_answer_to_this_attempt_changes_nothing(what: str) -> None:
    def noisy(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        return [each for request in requests for each in JUNK[what](answer(request, concrete))]

    honest, disturbed = bench().run(3), bench(noisy).run(3)
    assert torch.equal(weights(disturbed), weights(honest))
    assert [record.survived for _, record in disturbed] == [10, 10, 10]


def test_the_order_of_answers_does_not_matter() -> None:
    def backwards(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        return everybody(requests, concrete)[::-1]

    floats = {"privacy.pipeline": [], "budget.epsilon": math.inf}
    for changes in ({}, floats):
        assert torch.equal(weights(bench(backwards, **changes).run(2)), weights(bench(**changes).run(2)))


# --- quorum and attempts ---


@pytest.mark.parametrize("seed", [None, 3])
def test_exactly_the_quorum_suffices_and_one_less_does_not(seed: int | None) -> None:
    ((_, record),) = bench(except_owners(0, 1, 2), seed=seed).run(1)  # 7 of 10: 0.7 · 10 is above 7 in floating point
    assert (record.survived, record.attempt) == (7, 0)
    with pytest.raises(RoundError, match=r"6 of 10 owners answered, 7 needed"):
        bench(except_owners(0, 1, 2, 3), seed=seed).run(1)


def test_below_quorum_names_who_was_missing_and_why() -> None:
    def mixed(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        replies = everybody(requests, concrete)
        replies[0] = replace(replies[0], status="refused", total=None, reason="the policy allows 3 rounds")
        replies[1] = replace(replies[1], total=replies[1].total[:5])
        replies[2] = replace(replies[2], round=9)
        del replies[3:]
        return replies

    made = bench(mixed)
    with pytest.raises(RoundError) as caught:
        made.run(1)
    text = str(caught.value)
    assert text.startswith("round 1: below quorum in 3 attempt(s); 0 of 10 owners answered, 7 needed")
    assert "0 (the policy allows 3 rounds)" in text
    assert f"1 (answered with [5] numbers of torch.int64 (ring None); this round's messages are [{DIM}]" in text
    assert "2 (answered run 'run', round 9" in text
    assert "3 (no answer before the deadline)" in text
    assert "and 5 more" in text
    assert "lower rounds.quorum" in text
    assert made.ledger.entries == ()


def test_a_round_below_quorum_asks_the_same_owners_again_and_draws_fresh_noise() -> None:
    """A second draw would depend on who answered the first, and the secret draw would no longer amplify as accounted."""
    tries: list[int] = []

    def second_time(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        tries.append(requests[0].attempt)
        return everybody(requests, concrete) if requests[0].attempt == 1 else []

    made, at_once = bench(second_time, **POISSON), bench(**POISSON)
    ((progress, record),) = made.run(1)
    ((smooth, _),) = at_once.run(1)
    assert tries == [0, 1]
    assert record.attempt == 1
    first, second = ([r.owner for r in requests] for requests, _ in made.transport.asked)
    assert first == second == [r.owner for r in at_once.transport.asked[0][0]]
    assert [entry.attempt for entry in made.ledger.entries] == [1]
    assert not torch.any(progress.weights == smooth.weights)


@pytest.mark.parametrize("seed", [3, None])
def test_owners_drawn_ahead_are_those_of_the_next_round_and_no_others(seed: int | None) -> None:
    """While a round is under way, and tried twice: its own owners stay, and the next one's are drawn once."""
    made: list[Bench] = []

    def second_time(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        made[0].coordinator.ahead()
        return everybody(requests, concrete) if requests[0].attempt == 1 else []

    made.append(bench(second_time, seed=seed, **POISSON))
    found = made[0].run(6)
    asked = [[r.owner for r in requests] for requests, _ in made[0].transport.asked]
    assert asked[::2] == asked[1::2]
    assert [record.sampled for _, record in found] == [len(owners) for owners in asked[::2]]
    assert len({tuple(owners) for owners in asked}) > 1
    if seed is not None:
        plain = bench(lambda r, c: everybody(r, c) if r[0].attempt == 1 else [], **POISSON)
        assert torch.equal(weights(plain.run(6)), weights(found))
        assert [[r.owner for r in requests] for requests, _ in plain.transport.asked] == asked


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_round_is_tried_as_often_as_it_says(attempts: int) -> None:
    made = bench(nobody, **{"rounds.attempts": attempts})
    with pytest.raises(RoundError, match=rf"in {attempts} attempt"):
        made.run(1)
    assert [requests[0].attempt for requests, _ in made.transport.asked] == list(range(attempts))


@pytest.mark.parametrize("solver", ["own-gaussian", "dp-sgd"])
def test_owners_that_noise_their_own_messages_are_asked_once_a_round(solver: str) -> None:
    """A second message with fresh noise would be a second release to the server, which no charge covers (PRIVACY.md 15)."""
    changes: dict[str, Any] = OWN
    if solver == "dp-sgd":
        local = {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.1, "denominator": 4.0}
        changes = {"local": local, "privacy.pipeline": [], "privacy.unit": "example"}
    made = bench(except_owners(0, 1, 2, 3), **changes, **{"budget.observer": "server"})
    with pytest.raises(RoundError, match=r"in 1 attempt.*asked only once a round"):
        made.run(1)
    assert len(made.transport.asked) == 1
    assert made.federation.attempts == 1
    assert bench(**SHARED).federation.attempts == 3  # nobody but the server reads shares, and it has no claim


@pytest.mark.parametrize(
    "participation",
    [{"use": "everyone"}, {"use": "fixed", "cohort": 2}, {"use": "cyclic", "cohort": 1, "separation": 2}],
)
def test_no_answer_at_all_is_never_success(participation: dict[str, Any]) -> None:
    made = bench(
        nobody, **{"rounds.participation": participation, "rounds.quorum": 1e-12, "privacy.relation": "zero-out"}
    )
    with pytest.raises(RoundError, match="0 of"):
        made.run(1)
    assert made.ledger.entries == ()


def test_an_empty_poisson_round_releases_noise_and_is_charged() -> None:
    made = bench(**{"rounds.participation": {"use": "poisson", "rate": 1e-9}})
    found = made.run(3)
    assert [(record.sampled, record.survived) for _, record in found] == [(0, 0)] * 3
    assert len(made.ledger.entries) == 3
    steps = [found[0][0].weights, *(b.weights - a.weights for (a, _), (b, _) in pairwise(found))]
    assert all(int((step != 0).sum()) > DIM / 2 for step in steps)


def test_shares_of_noise_are_never_summed_below_their_floor() -> None:
    made = bench(except_owners(0, 1, 2), **SHARED)
    assert made.federation.pipeline.final.least == 7
    assert made.run(1)[0][1].survived == 7
    poisson = bench(**SHARED, **{"rounds.participation": {"use": "poisson", "rate": 0.3}, "rounds.attempts": 100})
    least = poisson.federation.pipeline.final.least
    found = poisson.run(6)
    assert least == 2
    assert all(record.survived >= least for _, record in found)
    assert any(record.attempt > 0 for _, record in found)  # some draws were smaller, and were not released
    with pytest.raises(RoundError, match="2 needed"):
        bench(except_owners(*range(9)), **SHARED, **{"rounds.participation": {"use": "poisson", "rate": 0.3}}).run(1)


def test_survivors_above_the_floor_are_said_and_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """PRIVACY.md 14: the price is that of the floor; what nine owners' shares made of it stands beside it."""
    made, seen = bench(except_owners(3), **SHARED), list[Release]()
    whole = MemoryLedger.open

    def opens(self: MemoryLedger, release: Release) -> Opened:
        seen.append(release)
        return whole(self, release)

    monkeypatch.setattr(MemoryLedger, "open", opens)
    made.run(1)
    (release,) = seen
    assert release.outcome is not None
    assert (release.outcome.survivors, release.event) == (9, made.federation.round_event(made.federation.pipeline))
    assert isinstance(release.event, Skellam)
    assert isinstance(release.outcome.event, Skellam)
    assert release.outcome.event.variance == pytest.approx(release.event.variance * 9 / 7)
    assert [entry.event for entry in made.ledger.entries] == [release.event]
    bench(except_owners(0), **POISSON).run(1)  # of central noise, and of a secret draw, nothing is said
    assert seen[-1].outcome is None


# --- the budget and the ledger ---


def test_every_round_is_charged_its_own_event_once() -> None:
    made = bench(**POISSON)
    found = made.run(4)
    assert [(entry.round, entry.attempt) for entry in made.ledger.entries] == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert {entry.event for entry in made.ledger.entries} == {Poisson(0.5, Gaussian(2.0))}
    assert {record.event for _, record in found} == {Poisson(0.5, Gaussian(2.0))}


def test_beyond_the_budget_nobody_is_asked_and_nothing_revealed() -> None:
    made = bench(paid=2)
    found = made.run(2)
    with pytest.raises(BudgetError, match=r"round 3 exceeds budget\.epsilon = 1000"):
        made.run(3, found[-1][0])
    assert len(made.transport.asked) == 2
    assert len(made.ledger.entries) == 2


def test_a_release_is_charged_before_it_is_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench()
    charged: list[int] = []

    def broken(self: Pipeline, total: torch.Tensor, env: object) -> Opened:
        charged.append(len(made.ledger.entries))
        raise MemoryError("the noise does not fit")

    monkeypatch.setattr(Pipeline, "receive", broken)
    with pytest.raises(MemoryError):
        made.run(1)
    assert charged == [1]
    assert len(made.ledger.entries) == 1


def test_a_transport_that_fails_costs_nothing() -> None:
    def down(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        raise OSError("the network is down")

    made = bench(down)
    with pytest.raises(OSError, match="network"):
        made.run(1)
    assert made.ledger.entries == ()


def test_the_sum_is_opened_by_the_ledger_alone_and_knows_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Release] = []
    original = MemoryLedger.open

    def counted(self: MemoryLedger, release: Release) -> Opened:
        opened.append(release)
        return original(self, release)

    received: list[int] = []
    receive = Pipeline.receive

    def seen(self: Pipeline, total: torch.Tensor, env: Any) -> Opened:
        received.append(len(opened))
        assert env.survivors == (1, 2, 3, 4, 5, 6, 7, 8, 9)
        return receive(self, total, env)

    monkeypatch.setattr(MemoryLedger, "open", counted)
    monkeypatch.setattr(Pipeline, "receive", seen)
    bench(except_owners(0)).run(3)
    assert received == [1, 2, 3]


def test_the_event_that_is_charged_is_that_of_the_rounds_own_pipeline() -> None:
    """A pipeline that became noisier to account than what was budgeted is refused before anyone is asked (one truth)."""
    made = bench()
    quieter = build(config(**{"privacy.pipeline.1.noise_multiplier": 1.0}))
    changed = replace(made.federation, schedule=replace(made.federation.schedule, pipeline=quieter.pipeline))
    ledger = MemoryLedger(budget_for(made.federation, 3))
    with pytest.raises(BudgetError, match="exceeds"):
        Coordinator(changed, made.transport, ledger, SeededEntropy(1), "run", 3).step(made.start())
    assert made.transport.asked == []


def test_a_step_that_does_not_follow_an_adapting_norm_ends_the_run_before_the_next_round() -> None:
    """`build` refuses it; were it to slip through, the round whose event changed asks nobody."""
    made = bench(**ADAPTIVE)
    rows = [{"stage": "encode", "step": 0.001, "bits": 30}, {"stage": "skellam", "noise_multiplier": 2.0}]
    line = pipeline(made.federation.pipeline.source, [made.federation.pipeline.stages[0], *map(from_row, rows)])
    schedule = replace(made.federation.schedule, pipeline=line)
    shares = replace(made.federation, schedule=schedule, config=config(**ADAPTIVE, **{"privacy.relation": "zero-out"}))
    transport, ledger = Scripted(line), MemoryLedger(budget_for(shares, 3))
    coordinator = Coordinator(shares, transport, ledger, SeededEntropy(1), "run", 3)
    with pytest.raises(BudgetError, match="not what the schedule was budgeted for"):
        list(coordinator.rounds(coordinator.start(torch.zeros(DIM)), 3))
    assert len(transport.asked) == len(ledger.entries) == 1


@pytest.mark.parametrize("noise", [{"stage": "central-gaussian", "noise_multiplier": 2.0}, None])
def test_an_adapting_norm_never_changes_the_event(noise: dict[str, Any] | None) -> None:
    rows: list[dict[str, Any]] = [{"stage": "adaptive-clip", "norm": 1.0}]
    rows += (
        [noise] if noise else [{"stage": "rotate"}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0}]
    )
    federation = build(config(**{"privacy.pipeline": rows, "privacy.relation": "zero-out"}))
    known = federation.round_event(federation.pipeline)
    for exponent in range(-30, 31):
        norm = math.exp(exponent * 0.618)
        state = tuple((norm,) if stage.initial() else () for stage in federation.pipeline.stages)
        assert federation.round_event(federation.pipeline.at(state)) == known


def test_without_a_budget_a_combination_of_which_nothing_can_be_said_runs_and_is_called_that() -> None:
    fixed = {"rounds.participation": {"use": "fixed", "cohort": 4}, "budget.epsilon": math.inf}
    made = bench(**fixed)
    ((_, record),) = made.run(1)
    assert isinstance(record.event, NonPrivate)
    assert "fixed cohort" in record.event.reason


# --- state between rounds ---


def test_owners_get_the_concrete_pipeline_of_their_round() -> None:
    made = bench(**ADAPTIVE)
    found = made.run(3)
    norms = [requests[0].recipe.pipeline[0]["norm"] for requests, _ in made.transport.asked]
    assert norms == [1.0, found[0][0].pipeline[0][0], found[1][0].pipeline[0][0]]
    assert len(set(norms)) == 3
    assert [record.state[0][0] for _, record in found] == norms


def test_a_tail_average_counts_the_rounds_that_will_be_run() -> None:
    """A run that its budget stops at 2 of 6 rounds averages over the end of the 2."""
    made = bench(paid=2, strategy={"use": "fedavg", "tail_average": 0.5})
    found = made.run(2)
    assert int(found[-1][0].algorithm["tail.count"]) == 1


@pytest.mark.parametrize(
    "changes",
    [{}, ADAPTIVE, {"strategy": {"use": "fedadam", "tail_average": 0.5}}],
    ids=["plain", "adaptive", "fedadam"],
)
def test_a_checkpoint_holds_all_that_the_next_round_needs(changes: dict[str, Any]) -> None:
    whole = bench(**changes).run(4)
    first = bench(**changes)
    half = first.run(2)
    kept = first.coordinator.checkpoint(half[-1][0], {}, {3: torch.ones(2)})
    assert kept.round == 2
    assert [row["round"] for row in kept.facts["ledger"]] == [1, 2]
    assert torch.equal(kept.tensors["memory.3"], torch.ones(2))
    second = bench(**changes)
    rest = second.run(4, restored(kept))
    assert torch.equal(weights(rest), weights(whole))
    assert rest[-1][0].pipeline == whole[-1][0].pipeline
    assert rest[-1][0].algorithm.keys() == whole[-1][0].algorithm.keys()
    for name, tensor in whole[-1][0].algorithm.items():
        assert torch.equal(rest[-1][0].algorithm[name], tensor)


def test_a_round_budget_never_pays_for_another_event() -> None:
    made = bench()
    ledger = MemoryLedger(RoundBudget(Gaussian(9.0), 5))
    with pytest.raises(BudgetError):
        Coordinator(made.federation, made.transport, ledger, SeededEntropy(1), "run", 5).step(made.start())
    assert made.transport.asked == []


MEASURED = {
    "privacy.pipeline": [
        {"stage": "clip", "norm": 1.0}, {"stage": "measure", "weight": 1.0, "of": ["accuracy"]},
        {"stage": "own-gaussian", "noise_multiplier": 0.02},
    ],
    "privacy.relation": "zero-out", "evaluation.on": "owners", "budget.epsilon": math.inf,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "counted"),  # None: those who answered
    [
        ({"budget.epsilon": 1e9}, None),  # who answers is public, and what is hidden is the data
        ({"budget.epsilon": 1e9, **POISSON}, 5),  # a secret draw has a secret size
        (
            {
                "budget.epsilon": 1e9, "privacy.relation": "add-remove",
                "privacy.pipeline": [
                    *MEASURED["privacy.pipeline"][:2], {"stage": "central-gaussian", "noise_multiplier": 0.02},  # type: ignore[index]  # rows
                ],
            },
            10,  # an owner's presence is what is hidden
        ),
        ({}, None),
    ],
)  # fmt: skip
def test_what_owners_measured_is_divided_by_what_may_be_known(changes: dict[str, Any], counted: int | None) -> None:
    """Eight of ten owners answer that all is right, which is ½ above ½ each."""

    def eight(requests: Sequence[Request], concrete: Pipeline) -> list[Reply]:
        total = torch.zeros(concrete.final.dim, dtype=torch.int64)
        unit = concrete.signals[1].sensitivity / (concrete.final.scale or 1.0)
        total[-1] = round(unit / 2)
        owners = [request.owner for request in requests][:8]
        return [Reply(r.run, r.round, r.attempt, (r.owner,), "ok", total) for r in requests if r.owner in owners]

    made = bench(eight, **{**MEASURED, "rounds.quorum": 0.1, **changes})
    _, record = made.coordinator.step(made.start())
    found = record.measured["accuracy"]
    share = record.survived / (counted or record.survived)
    assert found.value == pytest.approx(0.5 + 0.5 * share, abs=6 * found.error)
    assert found.error < 0.05
    assert bench(eight).coordinator.step(bench(eight).start())[1].measured == {}
