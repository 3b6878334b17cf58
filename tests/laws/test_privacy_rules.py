"""The rules of privacy, by number: one test or more for each that concerns a simulated federation.

The numbers are those of the rules that the program is built to (docs/privacy.md tells them in words); rules about daemons,
masks and the owner's agent have their tests where those are.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tacit.config import Config, ConfigError, parse
from tacit.privacy.accounting.accountant import account
from tacit.privacy.claim import RULES, ClaimError, Observer, event_of, verdict
from tacit.privacy.entropy import EntropyError, SeededEntropy, SystemEntropy
from tacit.privacy.event import FixedCohort, Gaussian, NonPrivate, Poisson, Repeated, Skellam
from tacit.privacy.noise import discrete_gaussian
from tacit.privacy.pipeline import Env
from tacit.privacy.signal import Noise, Signal
from tacit.privacy.updates import Dense
from tacit.server.coordinator import RoundError
from tacit.simulation.run import Simulation, prepare, simulate
from tacit.simulation.transport import SimulationError
from tacit.strategies.federation import Federation, affordable_rounds, build

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 10
[rounds]
total = 4
participation = { use = "poisson", rate = 0.5 }
quorum = 0.5
[local]
use = "sgd"
lr = 0.3
[privacy]
delta = 1e-5
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 1000.0
[evaluation]
every = 2
"""
CLIP = {"stage": "clip", "norm": 0.5}
SHARES: dict[str, Any] = {
    "privacy.pipeline": [CLIP, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0}],
    "privacy.relation": "zero-out",
}
GRADIENT: dict[str, Any] = {
    "local": {"use": "clipped-gradient", "norm": 1.0, "denominator": 20.0}, "privacy.unit": "example",
    "privacy.pipeline": [{"stage": "own-gaussian", "noise_multiplier": 2.0}],
}  # fmt: skip
ENGINES = ["in-memory", "plain-loop"]


def config(changes: dict[str, Any] | None = None) -> Config:
    return parse(TEXT, changes)


def federation(changes: dict[str, Any] | None = None) -> Federation:
    return build(config(changes))


def run(engine: str = "plain-loop", **changes: Any) -> Simulation:
    simulation = prepare(config(changes), seed=2, engine=engine, device="cpu")
    list(simulation.rounds())
    return simulation


# --- who knows what ---


def test_rule_1_a_draw_amplifies_for_those_who_do_not_know_it_and_both_are_reported() -> None:
    made = federation()
    claims = {claim.observer.who: claim for claim in made.claims()}
    assert claims["analyst"].event == Repeated(Poisson(0.5, Gaussian(2.0)), 4)
    assert claims["analyst"].unamplified == Repeated(Gaussian(2.0), 4)
    assert account(claims["server"].event, "add-remove", 1e-5).epsilon == math.inf  # it made the draw and sees the sum
    for row in simulate(config()).to_json()["privacy"]:
        assert row["epsilon"] <= row["epsilon_unamplified"]
    example = federation({**GRADIENT, "rounds.participation": {"use": "poisson", "rate": 0.5}})
    assert example.claims()[0].event == example.claims()[0].unamplified


def test_rule_1_what_is_shared_of_a_run_names_and_counts_nobody_of_a_round() -> None:
    """Identities and numbers of a secretly drawn cohort are in the rounds' records, which are the operator's, alone."""
    simulation = run()
    row = simulation.rows[-1].to_json()
    assert set(row) == {"round", "metrics", "epsilon", "seconds"}
    text = json.dumps(simulation.result().to_json(), default=str)
    for word in ("sampled", "survived", "survivors", 'attempt"', "owner_ids"):
        assert word not in text


def test_rule_1_the_draw_of_a_daemon_is_cryptographic() -> None:
    """Streams of the system repeat for nobody who knows every argument; seeded ones say that they are."""
    system = SystemEntropy()
    assert system.stream("participation", 1).bytes(16) != system.stream("participation", 1).bytes(16)
    assert (system.seeded, SeededEntropy(1).seeded) == (False, True)


def test_rule_2_the_table_is_asked_before_any_event() -> None:
    for rule in RULES:
        assert rule.why
        assert rule.allowed or not rule.amplified
    assert not verdict("owner", "add-remove", "everyone", "shared").allowed
    assert not verdict("owner", "add-remove", "fixed", "server").allowed
    with pytest.raises(ConfigError, match="zero-out"):
        federation({**SHARES, "privacy.relation": "add-remove"})
    with pytest.raises(ConfigError, match="replace-one"):
        federation({"rounds.participation": {"use": "fixed", "cohort": 3}})


def test_rule_2_a_fixed_cohort_is_an_interval_that_contains_the_truth() -> None:
    """n = 1000, m = 10, σ = 1, T = 100, δ = 1e-5: a real pair reaches 6.48, and the upper end is no more than 11.2."""
    found = account(Repeated(FixedCohort(10, 1000, Gaussian(1.0)), 100), "replace-one", 1e-5)
    assert found.lower <= 6.49
    assert 6.48 <= found.upper <= 11.2
    assert found.epsilon == found.upper


def test_rule_2_discrete_shares_amplify_under_no_draw() -> None:
    made = federation(SHARES)
    event, plain = made.schedule.round_events(Observer("analyst"), "zero-out")
    assert event == plain
    assert isinstance(event, Skellam)


def test_rule_3_every_claim_of_an_analyst_composes_over_all_rounds() -> None:
    """Whoever reads the last model may have read every model before: nobody is charged for the last one only."""
    simulation = run()
    assert simulation.claims()[0].claim.event == Repeated(Poisson(0.5, Gaussian(2.0)), 4)
    assert len(simulation.ledger.entries) == 4


# --- sensitivity ---


def test_rule_4_sensitivity_and_bound_are_two_numbers() -> None:
    final = federation(GRADIENT).pipeline.final
    assert final.bound > 50 * final.sensitivity
    integers = Signal(100, "owner", sensitivity=7.0)
    assert integers.l1 == 49.0  # min(√100 · 7, 7²)
    assert replace(integers, sensitivity=50.0).l1 == 500.0


def test_rule_4_mixed_noise_has_no_claim() -> None:
    two = (Noise("gaussian", "server", 1.0), Noise("skellam", "shared", 1.0))
    with pytest.raises(ClaimError, match="no joint bound"):
        event_of(Signal(4, "owner", sensitivity=1.0, noise=two), Observer())
    with pytest.raises(ConfigError, match="keep one noise stage"):
        federation({"privacy.pipeline": [CLIP, *[{"stage": "central-gaussian", "noise_multiplier": 2.0}] * 2]})


def test_rule_4_a_rotation_is_charged_at_its_padded_dimension() -> None:
    rows = [CLIP, {"stage": "rotate"}, *SHARES["privacy.pipeline"][1:]]
    final = federation({**SHARES, "privacy.pipeline": rows}).pipeline.final
    assert final.dim == 32  # of 31
    event = federation({**SHARES, "privacy.pipeline": rows}).schedule.round_events(Observer(), "zero-out")[0]
    assert isinstance(event, Skellam)
    assert event.l1 == min(math.sqrt(32) * final.sensitivity, final.sensitivity**2)


def test_rule_5_shared_noise_at_example_level_sums_one_clipped_gradient_over_a_public_number() -> None:
    shared = {**GRADIENT, "privacy.pipeline": SHARES["privacy.pipeline"][1:], "budget.epsilon": math.inf}
    final = federation(shared).pipeline.final
    steps = 1.0 / 20.0 / final.scale
    assert final.sensitivity >= steps + math.sqrt(31)  # each sum is rounded: C/s + √d
    for strategy in ({"use": "scaffold"}, {"use": "fedprox"}):
        with pytest.raises(ConfigError):
            federation({**shared, "strategy": strategy})
    with pytest.raises(ConfigError, match="unknown key"):
        federation({**shared, "local": {**GRADIENT["local"], "epochs": 2}})


@pytest.mark.parametrize("aggregator", ["weighted-mean", "median", "trimmed-mean"])
def test_rule_6_no_weight_or_count_of_an_owner_enters(aggregator: str) -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        federation({"strategy": {"use": "fedavg", "aggregator": aggregator}})


@pytest.mark.parametrize("engine", ENGINES)
def test_rule_6_the_denominator_is_the_expected_cohort(engine: str) -> None:
    """With all owners silent but for the draw's noise: the step is the noised sum over 5, whoever was drawn."""
    simulation = run(engine, **{"local.lr": 1e-12, "rounds.total": 1})
    lattice = 0.5 / 2**28
    noise = discrete_gaussian(SeededEntropy(2).stream("central-gaussian", 1), 2.0 * 2**28, 31) * lattice
    assert simulation.progress.weights.numpy() == pytest.approx(noise / 5, abs=1e-6)


def test_rule_8_what_rotation_and_rounding_add_to_the_norm_is_declared() -> None:
    rows = [CLIP, {"stage": "rotate"}, {"stage": "encode"}]
    line = federation({"privacy.pipeline": rows, "budget.epsilon": math.inf}).pipeline
    assert line.final.inflation > 1
    assert line.signals[2].sensitivity > line.signals[1].sensitivity
    assert line.final.sensitivity * line.final.scale > line.signals[2].sensitivity


# --- noise ---


@pytest.mark.parametrize(
    "rows",
    [[CLIP, {"stage": "central-gaussian", "noise_multiplier": 2.0}], [CLIP, {"stage": "own-gaussian", "noise_multiplier": 2.0}],
     SHARES["privacy.pipeline"]],
    ids=["central", "own", "shares"],
)  # fmt: skip
def test_rule_9_every_released_value_lies_on_a_public_grid(rows: list[dict[str, Any]]) -> None:
    made = federation({"privacy.pipeline": rows, "privacy.relation": "zero-out"})
    owners = tuple(range(5))
    env = Env(SeededEntropy(1), 1, 0, owners, owners)
    messages = made.pipeline.send(Dense(torch.randn(5, 31)), env)
    assert messages.dense().dtype == torch.int64
    opened = made.pipeline.receive(messages.total(), env)
    scale = made.pipeline.final.scale
    points = opened.total.to(torch.float64) / scale
    assert float((points - points.round()).abs().max()) <= 2.0**-23 * float(
        points.abs().max()
    )  # rounded to float32 last


def test_rule_9_no_stream_crosses_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SystemEntropy().stream("central-gaussian", 1)
    assert len(stream.bytes(8)) == 8
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    with pytest.raises(EntropyError, match="crossed a fork"):
        stream.bytes(8)


def test_rule_10_no_configuration_names_the_entropy() -> None:
    """A seed is an argument of the simulator; no key of a file sets one for the draws of a server or an owner."""
    for key in ("seed", "entropy", "server.seed", "rounds.seed", "privacy.seed", "local.seed"):
        with pytest.raises(ConfigError):
            federation({key: 5})


def test_rule_11_shares_are_drawn_owner_by_owner() -> None:
    made = federation(SHARES)
    both = made.pipeline.send(Dense(torch.zeros(2, 31)), Env(SeededEntropy(1), 1, 0, (4, 5))).dense()
    alone = made.pipeline.send(Dense(torch.zeros(1, 31)), Env(SeededEntropy(1), 1, 0, (5,))).dense()
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])


# --- rounds ---


@pytest.mark.parametrize("engine", ENGINES)
def test_rule_12_only_the_simulator_stops_and_names_the_owner(engine: str) -> None:
    """What an agent does instead is in tests/client/test_worker.py."""
    simulation = prepare(config({"rounds.participation": {"use": "everyone"}}), seed=2, engine=engine)
    simulation.population.training.inputs[int(simulation.population.shares[7][0]), 0] = math.nan
    with pytest.raises(SimulationError, match="owner 7"):
        list(simulation.rounds())
    assert simulation.ledger.entries == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_rule_13_a_round_asks_all_at_once_and_sums_whoever_answered(engine: str) -> None:
    """One exchange a round, all sampled owners in it: nobody is asked in place of another, nobody more than needed."""
    simulation = prepare(config({"population.dropout": 0.3, "rounds.attempts": 9}), seed=2, engine=engine)
    gather, exchanges = simulation.transport.gather, []

    class Counting:
        def gather(self, requests: Any, deadline: float) -> Any:
            replies = list(gather(requests, deadline))
            exchanges.append((requests, {owner for reply in replies for owner in reply.owners}))
            return replies

    simulation.coordinator._transport = Counting()
    for _, record in simulation.coordinator.rounds(simulation.progress, 4):
        requests, answered = exchanges[-1]
        assert (requests[0].round, requests[0].attempt) == (record.number, record.attempt)
        assert (len(requests), len(answered)) == (record.sampled, record.survived)
        draw = SeededEntropy(2).stream("participation", record.number)
        expected = simulation.federation.schedule.participation.draw(10, record.number, draw)
        assert [request.owner for request in requests] == expected.tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_rule_13_an_empty_round_releases_noise_and_is_charged(engine: str) -> None:
    simulation = run(engine, **{"rounds.participation": {"use": "poisson", "rate": 1e-9}})
    assert simulation.trained == 0
    assert [entry.round for entry in simulation.ledger.entries] == [1, 2, 3, 4]
    moved = simulation.progress.weights.to(torch.float64)
    assert np.isfinite(moved.numpy()).all()
    assert int((moved != 0).sum()) == 31


def test_rule_13_over_selection_is_charged_at_its_own_rate() -> None:
    events = [
        federation({"rounds.participation": {"use": "poisson", "rate": rate}}).claims()[0].event for rate in (0.5, 0.6)
    ]
    cheap, dear = (account(event, "add-remove", 1e-5).epsilon for event in events)
    assert cheap < dear


def test_rule_14_the_guarantee_is_that_of_the_floor_whatever_survived() -> None:
    everyone = {"rounds.participation": {"use": "everyone"}}
    made = federation({**SHARES, **everyone})
    assert made.pipeline.final.least == 5  # of 10
    share = made.pipeline.final.noise[0].variance
    assert made.round_event(made.pipeline) == Skellam(
        5 * share, made.pipeline.final.sensitivity, made.pipeline.final.l1
    )
    colluding = federation({**SHARES, **everyone, "budget.colluders": 2})
    assert colluding.round_event(colluding.pipeline) == Skellam(
        3 * share, made.pipeline.final.sensitivity, made.pipeline.final.l1
    )
    full = run("plain-loop", **SHARES, **everyone)
    fewer = run("plain-loop", **SHARES, **everyone, **{"population.dropout": 0.2, "rounds.attempts": 50})
    assert full.claims()[0].epsilon == fewer.claims()[0].epsilon
    assert {entry.event for entry in full.ledger.entries} == {entry.event for entry in fewer.ledger.entries}
    assert fewer.trained < full.trained


def test_rule_14_the_budget_is_of_the_whole_schedule_and_fixed_before_it() -> None:
    made = federation()
    assert affordable_rounds(made) == (4, [])
    with pytest.raises(ConfigError, match="4 rounds cost"):
        affordable_rounds(federation({"budget.epsilon": 2.0}))


def test_rule_15_a_noisy_message_is_never_asked_for_twice_under_one_charge() -> None:
    own = {
        "privacy.pipeline": GRADIENT["privacy.pipeline"],
        **GRADIENT,
        "population.dropout": 0.9,
        "budget.observer": "server",
    }
    simulation = prepare(config({**own, "rounds.participation": {"use": "everyone"}}), seed=2)
    with pytest.raises(RoundError, match="asked only once a round"):
        list(simulation.rounds())
    assert simulation.federation.attempts == 1
    assert federation().attempts == 3


def test_rule_24_the_headline_is_given_at_a_common_delta_too() -> None:
    (row, *_) = simulate(config({"privacy.delta": 1e-3})).to_json()["privacy"]
    assert row["delta"] == 1e-3
    assert row["epsilon_at_1e-5"] > row["epsilon"]


def test_rule_24_a_population_of_repeated_examples_is_called_that() -> None:
    synthetic = simulate(config({"population.partition": {"use": "bootstrap", "per_owner": 5}}))
    assert any("synthetic" in note for note in synthetic.notes)
    assert not any("synthetic" in note for note in simulate(config()).notes)


def test_no_noise_is_never_called_private() -> None:
    """The ground of all rules: without noise every claim is ε = ∞, and a budget is refused."""
    quiet = federation({"privacy.pipeline": [CLIP], "budget.epsilon": math.inf})
    assert all(
        isinstance(quiet.schedule.round_events(claim.observer, "add-remove")[0], NonPrivate) for claim in quiet.claims()
    )
    assert all(
        math.isinf(each.epsilon) for each in run(**{"privacy.pipeline": [CLIP], "budget.epsilon": math.inf}).claims()
    )
