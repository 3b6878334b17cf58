"""Federation: what is unsound is refused by key, value and remedy before anything runs; calibrated noise meets its budget."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.commands.starters import STARTERS
from tacit.config import Config, ConfigError, parse
from tacit.privacy.accounting.figures import account_within
from tacit.privacy.claim import ClaimError
from tacit.privacy.event import Gaussian, NonPrivate, Poisson
from tacit.simulation.run import prepare, simulate
from tacit.strategies.federation import Federation, OverBudgetError, affordable_rounds, build, learner_for
from tacit.strategies.scaffold import Scaffold
from tacit.tasks.catalogue import lookup

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 20
[rounds]
total = 10
participation = { use = "poisson", rate = 0.5 }
[local]
use = "sgd"
lr = 0.5
[privacy]
delta = 1e-4
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 4.0 } ]
[budget]
epsilon = 50.0
"""
CLIP, ENCODE = {"stage": "clip", "norm": 0.5}, {"stage": "encode"}
MEASURE, OWNERS = {"stage": "measure"}, {"evaluation.on": "owners"}
INF = {"budget.epsilon": math.inf}
EXAMPLE: dict[str, Any] = {"privacy.unit": "example", "privacy.delta": 1e-4}
GRADIENT = {"local": {"use": "clipped-gradient", "norm": 1.0, "denominator": 20.0}}
DPSGD = {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 2.0, "rate": 0.1, "denominator": 2.0}


def noise(stage: str, multiplier: float | str = 4.0) -> dict[str, Any]:
    return {"stage": stage, "noise_multiplier": multiplier}


SHARED = {"privacy.pipeline": [CLIP, ENCODE, noise("skellam")]}


def config(changes: dict[str, Any]) -> Config:
    return parse(TEXT, changes)


OWN = """
import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy
import tacit

INPUTS = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
TARGETS = (INPUTS[:, 0] > 0).astype(np.int64)

def _task(model, reduction="none"):
    return tacit.Task(
        model=model, loss=lambda outputs, targets: cross_entropy(outputs, targets, reduction=reduction),
        train=(INPUTS[:48], TARGETS[:48]), test=(INPUTS[48:], TARGETS[48:]),
    )

def batch_norm():
    return _task(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))

def mean_loss():
    return _task(lambda: nn.Linear(3, 2), "mean")
"""

UNSOUND: dict[str, tuple[dict[str, Any], list[str]]] = {
    # observers
    "central noise against the server": (
        {"budget.observer": "server"},
        ["'server' cannot be met", "sees the sum without it", "another observer"],
    ),
    "shares without masks against the server": (
        {**SHARED, "privacy.relation": "zero-out", "budget.observer": "server"},
        ["'server' cannot be met", "without masks"],
    ),
    "colluders who hold all shares": (
        {**SHARED, "privacy.relation": "zero-out", "budget.colluders": 19},
        ["no honest share"],
    ),
    "a budget without noise": (
        {"privacy.pipeline": [CLIP]},
        ["budget.epsilon = 50", "no stage adds noise", "epsilon = inf"],
    ),
    "a budget with noise of zero": (
        {"privacy.pipeline": [CLIP, noise("central-gaussian", 0.0)]},
        ["cannot be met", "no stage adds noise"],
    ),
    "a budget and dp-sgd without noise": (
        {**EXAMPLE, "privacy.pipeline": [], "local": {**DPSGD, "noise_multiplier": 0.0}},
        ["cannot be met", "noise_multiplier = 0"],
    ),
    # units and relations
    "an owner's solver for examples": ({**EXAMPLE}, ["privacy.unit = 'example'", "'sgd'", "per owner", "change one"]),
    "an example's solver for owners": ({**GRADIENT}, ["privacy.unit = 'owner'", "'clipped-gradient'", "per example"]),
    "fixed cohort under add-remove": (
        {"rounds.participation": {"use": "fixed", "cohort": 5}},
        ["fixed cohort", 'relation = "replace-one"'],
    ),
    "shares under add-remove": (SHARED, ["zero-out", "share of the noise"]),
    "shares under replace-one": ({**SHARED, "privacy.relation": "replace-one"}, ["zero-out"]),
    "own noise of owners under add-remove": (
        {"privacy.pipeline": [CLIP, noise("own-gaussian")]},
        ["zero-out", "shows by sending"],
    ),
    "examples of a population that repeats them": (
        {
            **EXAMPLE,
            **GRADIENT,
            "privacy.pipeline": [noise("central-gaussian")],
            "population.partition": {"use": "bootstrap", "per_owner": 5},
        },
        ["population.partition.use", "several owners", "deal each example once"],
    ),
    # numbers
    "delta above one over N": ({"privacy.delta": 0.05}, ["privacy.delta = 0.05", "1/N", "N^-1.1"]),
    "delta above one over the examples": (
        {**EXAMPLE, **GRADIENT, "privacy.delta": 0.01, "privacy.pipeline": [noise("central-gaussian")]},
        ["privacy.delta = 0.01"],
    ),
    "a cohort above the population": (
        {"rounds.participation": {"use": "fixed", "cohort": 21}},
        ["rounds.participation", "cohort = 21 of 20", "at most 20"],
    ),
    "a cap above the population": (
        {"rounds.participation": {"use": "poisson", "rate": 0.5, "cap": 21}},
        ["cap = 21 of 20", "at most 20"],
    ),
    "a rate of nothing": ({"rounds.participation": {"use": "poisson", "rate": 0.0}}, ["rate = 0", "above 0"]),
    "cycles too long": (
        {"rounds.participation": {"use": "cyclic", "cohort": 6, "separation": 4}},
        ["needs 24 owners", "lower one"],
    ),
    "unknown participation": (
        {"rounds.participation": {"use": "poison"}},
        ["rounds.participation.use = 'poison'", "poisson"],
    ),
    # pipelines
    "noise without a bound": (
        {"privacy.pipeline": [noise("central-gaussian")]},
        ["privacy.pipeline", "nothing bounds", "put a clip"],
    ),
    "two noises": (
        {"privacy.pipeline": [CLIP, noise("own-gaussian"), noise("central-gaussian")]},
        ["privacy.pipeline", "keep one noise stage"],
    ),
    "a ring too small": ({"privacy.pipeline": [CLIP, {"stage": "encode", "bits": 4}]} | INF, ["ring", "bits ="]),
    "a ring too small for the noise": (
        {
            "privacy.pipeline": [
                CLIP,
                {"stage": "encode", "max_noise_multiplier": 0.0},
                noise("discrete-gaussian", 300.0),
            ],
            "privacy.relation": "zero-out",
        },
        ["ring", "too small", "max_noise_multiplier"],
    ),
    "unknown stage": (
        {"privacy.pipeline": [{"stage": "clop"}]},
        ["privacy.pipeline.0.stage = 'clop'", "did you mean 'clip'"],
    ),
    "unknown key of a stage": (
        {"privacy.pipeline": [{"stage": "clip", "nrm": 1.0}]},
        ["privacy.pipeline.0.nrm = 1.0", "'norm'"],
    ),
    "a step that does not follow the norm": (
        {
            "privacy.pipeline": [
                {"stage": "adaptive-clip", "norm": 0.5},
                {"stage": "encode", "step": 0.001, "bits": 30},
                noise("skellam"),
            ],
            "privacy.relation": "zero-out",
        },
        ["privacy.pipeline.1.step = 0.001", "adaptive-clip", "leave step out"],
    ),
    "a quantile bit at example level": (
        {
            **EXAMPLE,
            **GRADIENT,
            "privacy.pipeline": [{"stage": "adaptive-clip", "norm": 0.5}, noise("central-gaussian")],
        },
        ["adaptive-clip", "use clip"],
    ),
    "owners who evaluate without a measure": ({"evaluation.on": "owners"}, ["evaluation.on", '{ stage = "measure" }']),
    "a measure that nobody asked for": (
        {"privacy.pipeline": [CLIP, MEASURE, noise("central-gaussian")]},
        ["evaluation.on", "take the stage out"],
    ),
    "a measure under the solver's own noise": (
        {**EXAMPLE, **OWNERS, "local": DPSGD, "privacy.pipeline": [MEASURE]},
        ["does not cover", "public test data"],
    ),
    "noise on noise of the solver": (
        {**EXAMPLE, "local": DPSGD, "privacy.pipeline": [CLIP, noise("own-gaussian")]},
        ["already adds noise", "leave this stage out"],
    ),
    "a measure of what nothing bounds": (
        {**OWNERS, "privacy.pipeline": [MEASURE, noise("central-gaussian")]},
        ["nothing bounds", "put a clip"],
    ),
    # calibration
    "two to calibrate": (
        {
            **EXAMPLE,
            "local": {**DPSGD, "noise_multiplier": "calibrate"},
            "privacy.pipeline": [CLIP, noise("own-gaussian", "calibrate")],
        },
        ["two places", "must be a number"],
    ),
    "calibrated without a budget": (
        {"privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")]} | INF,
        ["calibrate", "finite budget.epsilon"],
    ),
    "calibrated against the server": (
        {"privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")], "budget.observer": "server"},
        ["'server' cannot be met"],
    ),
    "calibrated without a sound claim": (
        {
            "privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")],
            "rounds.participation": {"use": "fixed", "cohort": 5},
        },
        ["fixed cohort", "replace-one"],
    ),
    # strategies
    "median": ({"strategy": {"use": "fedavg", "aggregator": "median"}}, ["'median'", "only the sum", "leave it out"]),
    "trimmed mean": ({"strategy": {"use": "fedavg", "aggregator": "trimmed-mean"}}, ["'trimmed-mean'", "only the sum"]),
    "weighted mean": (
        {"strategy": {"use": "fedavg", "aggregator": "weighted-mean"}},
        ["'weighted-mean'", "private", "uniform"],
    ),
    "unknown aggregator": ({"strategy": {"use": "fedavg", "aggregator": "krum"}}, ["strategy.aggregator = 'krum'"]),
    "fedprox without prox": ({"strategy": {"use": "fedprox"}}, ["fedprox", 'local.use = "prox"']),
    "scaffold at example level": (
        {**EXAMPLE, **GRADIENT, "strategy": {"use": "scaffold"}, "privacy.pipeline": [noise("central-gaussian")]},
        ["scaffold", "bounded per owner", "fedavg"],
    ),
    "scaffold over dp-sgd": (
        {**EXAMPLE, "local": DPSGD, "strategy": {"use": "scaffold"}, "privacy.pipeline": []},
        ["scaffold", "DpSgd"],
    ),
    # tasks
    "unknown task": ({"task.use": "digit"}, ["task", "'digit'", "digits"]),
    "unknown option of a task": ({"task.size": 3}, ["task", "size", "its options are"]),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_unsound_is_refused_with_key_value_and_remedy(what: str) -> None:
    changes, words = UNSOUND[what]
    with pytest.raises(ConfigError) as caught:
        build(config(changes))
    for word in words:
        assert word in str(caught.value)


def test_what_the_unsound_ones_were_changed_from_is_sound() -> None:
    assert build(config({})).units == 20


@pytest.mark.parametrize("local", [DPSGD, GRADIENT["local"]], ids=["dp-sgd", "clipped-gradient"])
def test_batch_norm_with_per_example_gradients(local: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own_federation.py").write_text(OWN)
    rows = [] if local is DPSGD else [noise("central-gaussian")]
    changes = {
        "task.use": "own_federation:batch_norm",
        "local": local,
        "privacy.pipeline": rows,
        **EXAMPLE,
        "population.owners": 4,
    }
    with pytest.raises(ConfigError, match=r"(?s)BatchNorm.*GroupNorm"):
        build(config(changes), tmp_path)
    sys.modules.pop("own_federation")


@pytest.mark.parametrize("local", [{"use": "sgd"}, DPSGD, GRADIENT["local"]], ids=["sgd", "dp-sgd", "clipped-gradient"])
def test_a_loss_that_is_a_mean(local: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "own_federation.py").write_text(OWN)
    path = tmp_path / "f.toml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError, match=r'one number per example.*reduction="none"'):
        prepare(
            path,
            set={
                "task.use": "own_federation:mean_loss",
                "local": local,
                "privacy.pipeline": [],
                "population.owners": 4,
                **INF,
            },
        )
    sys.modules.pop("own_federation")


@pytest.mark.parametrize(
    ("partition", "words"),
    [({"use": "iid"}, "owners = 456"), ({"use": "shards", "per_owner": 3}, "shards"), ({"use": "natural"}, "needs groups"),
     ({"use": "dirichlet", "alpha": -1.0}, "alpha = -1"), ({"use": "dirichlt", "alpha": 1.0}, "did you mean 'dirichlet'")],
)  # fmt: skip
def test_a_deal_that_cannot_be_made(partition: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=r"population\.partition") as caught:
        prepare(config({"population.partition": partition, "population.owners": 456}))
    assert words in str(caught.value)


# --- what a budget pays for ---

WIDE = {"stage": "encode", "bits": 20, "max_noise_multiplier": 40.0}
CALIBRATED: dict[str, dict[str, Any]] = {
    "poisson": {"privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")]},
    "everyone": {
        "privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")],
        "rounds.participation": {"use": "everyone"},
    },
    "fixed": {
        "privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")],
        "privacy.relation": "replace-one",
        "rounds.participation": {"use": "fixed", "cohort": 5},
    },
    "cyclic": {
        "privacy.pipeline": [CLIP, noise("central-gaussian", "calibrate")],
        "rounds.participation": {"use": "cyclic", "cohort": 4, "separation": 5},
    },
    "adaptive": {"privacy.pipeline": [{"stage": "adaptive-clip", "norm": 0.5}, noise("central-gaussian", "calibrate")]},
    "measured": {**OWNERS, "privacy.pipeline": [CLIP, MEASURE, noise("central-gaussian", "calibrate")]},
    "measured examples": {
        **EXAMPLE,
        **GRADIENT,
        **OWNERS,
        "privacy.pipeline": [MEASURE, noise("own-gaussian", "calibrate")],
        "budget.observer": "server",
    },
    "own": {
        "privacy.pipeline": [CLIP, noise("own-gaussian", "calibrate")],
        "privacy.relation": "zero-out",
        "budget.observer": "server",
    },
    "examples": {
        **EXAMPLE,
        **GRADIENT,
        "privacy.pipeline": [noise("own-gaussian", "calibrate")],
        "budget.observer": "server",
    },
    "dp-sgd": {
        **EXAMPLE,
        "local": {**DPSGD, "noise_multiplier": "calibrate"},
        "privacy.pipeline": [],
        "budget.observer": "server",
    },
    "skellam": {"privacy.pipeline": [CLIP, WIDE, noise("skellam", "calibrate")], "privacy.relation": "zero-out"},
    "discrete": {
        "privacy.pipeline": [CLIP, WIDE, noise("discrete-gaussian", "calibrate")],
        "privacy.relation": "zero-out",
    },
}


def epsilon(federation: Federation) -> float:
    config = federation.config
    event = federation.schedule.events(federation.observer, config.privacy.relation)[0]
    return account_within(event, config.privacy.relation, federation.delta, federation.schedule.delta_extra()).epsilon


@pytest.mark.parametrize("target", [1.0, 6.0])
@pytest.mark.parametrize("kind", CALIBRATED)
def test_calibrated_noise_never_exceeds_the_budget_and_wastes_a_thousandth_at_most(kind: str, target: float) -> None:
    made = build(config({**CALIBRATED[kind], "budget.epsilon": target}))
    spent = epsilon(made)
    assert target * (1 - 1e-3) <= spent <= target
    assert affordable_rounds(made) == (10, [])
    rows = [made.recipe(made.pipeline).solver, *made.recipe(made.pipeline).pipeline]
    (solved,) = [row["noise_multiplier"] for row in rows if "noise_multiplier" in row]
    assert isinstance(solved, float)  # what travels to owners is the number


def test_calibrated_noise_pays_for_the_rounding_of_the_lattice() -> None:
    """δ + (1 + e^ε)·η is what a claim holds at: at ε = 19, η of the lattice takes a part of δ that shows."""
    changes = {**CALIBRATED["poisson"], "budget.epsilon": 19.0, "rounds.total": 2}
    made = build(config(changes))
    assert epsilon(made) <= 19.0
    assert affordable_rounds(made) == (2, [])
    with pytest.raises(ConfigError, match=r"uses up δ|leaves the range|so small"):
        build(config({**changes, "budget.epsilon": 500.0}))


@settings(max_examples=8)
@given(st.integers(1, 60), st.floats(0.5, 20.0), st.sampled_from([0.1, 0.5, 1.0]))
def test_calibrated_noise_at_any_budget(rounds: int, target: float, rate: float) -> None:
    changes = {
        **CALIBRATED["poisson"],
        "budget.epsilon": target,
        "rounds.total": rounds,
        "rounds.participation.rate": rate,
    }
    made = build(config(changes))
    assert epsilon(made) <= target
    affordable_rounds(made)


def test_a_target_that_no_noise_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)noise.*"):
        build(config({**CALIBRATED["poisson"], "budget.epsilon": 1e-9, "privacy.delta": 1e-12}))


def test_the_budget_refuses_or_stops() -> None:
    over = {"budget.epsilon": 1.0}
    with pytest.raises(
        OverBudgetError, match=r"budget\.epsilon = 1, but 10 rounds cost ε = .*raise the budget, add noise"
    ):
        affordable_rounds(build(config(over)))
    stopping = build(config({**over, "budget.on_exhausted": "stop"}))
    fits, notes = affordable_rounds(stopping)
    assert 0 < fits < 10
    assert f"pays for {fits} of 10 rounds" in notes[0]
    costs = [stopping.schedule.events(stopping.observer, "add-remove", rounds)[0] for rounds in (fits, fits + 1)]
    spent = [account_within(event, "add-remove", stopping.delta, 0.0).epsilon for event in costs]
    assert spent[0] <= 1.0 < spent[1]
    with pytest.raises(OverBudgetError, match="a single round costs"):
        affordable_rounds(build(config({"budget.epsilon": 0.01, "budget.on_exhausted": "stop"})))


@pytest.mark.parametrize("rounds", [2, 5, 10])
def test_a_budget_a_millionth_short_of_a_round_does_not_pay_for_it(rounds: int) -> None:
    made = build(config({"budget.on_exhausted": "stop"}))
    event = made.schedule.events(made.observer, "add-remove", rounds)[0]
    cost = account_within(event, "add-remove", made.delta, made.schedule.delta_extra(rounds)).epsilon
    for budget, fits in ((cost * (1 - 1e-6), rounds - 1), (cost, rounds)):
        short = build(config({"budget.on_exhausted": "stop", "budget.epsilon": budget}))
        assert affordable_rounds(short)[0] == fits


def test_a_run_that_stops_at_its_budget_runs_the_rounds_that_fit() -> None:
    changes = {"budget.epsilon": 1.0, "budget.on_exhausted": "stop"}
    fits, _ = affordable_rounds(build(config(changes)))
    run = simulate(config(changes))
    assert run.rounds[-1].number == fits
    assert run.claims[0].epsilon <= 1.0
    assert any("the run stops there" in note for note in run.notes)


# --- what a federation is ---


def test_the_numbers_of_a_federation_come_from_one_place() -> None:
    made = build(config({"strategy": {"use": "scaffold"}}))
    source = made.pipeline.source
    assert (made.population, made.units) == (20, 20)
    assert build(config({"privacy.delta": "N^-1.1"})).delta == pytest.approx(20**-1.1)
    assert (source.dim, source.most, source.expected) == (62, 20, 10.0)  # Δy and Δc of 31 weights
    assert source.least == 8  # ⌊quorum · expected⌋
    assert isinstance(made.algorithm, Scaffold)
    assert made.algorithm.fraction == 0.5
    assert build(config({**EXAMPLE, **GRADIENT, "privacy.pipeline": [noise("central-gaussian")]})).units == 455


def test_a_recipe_is_the_federation_as_data() -> None:
    made = build(config({}))
    recipe = made.recipe(made.pipeline)
    assert recipe.solver["use"] == "sgd"
    assert recipe.algorithm["use"] == "fedavg"
    assert [row["stage"] for row in recipe.pipeline] == ["clip", "central-gaussian"]
    assert (recipe.least, recipe.most) == (8, 20)


def test_claims_for_every_observer_the_budgets_first() -> None:
    claims = build(config({"budget.observer": "owners"})).claims()
    assert [claim.observer.who for claim in claims] == ["owners", "analyst", "server"]
    assert build(config({})).claims(3)[0].event != claims[0].event


def test_without_a_budget_the_event_of_a_refused_combination_is_no_privacy() -> None:
    made = build(config({"rounds.participation": {"use": "fixed", "cohort": 5}} | INF))
    assert isinstance(made.round_event(made.pipeline), NonPrivate)
    private = build(config({}))
    assert private.round_event(private.pipeline) == Poisson(0.5, Gaussian(4.0))
    with pytest.raises(ClaimError):
        made.schedule.round_events(made.observer, "add-remove")


def test_everybody_starts_from_the_same_weights() -> None:
    task = lookup("digits", model="mlp")
    one, same, other = (learner_for(task, seed).weights() for seed in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)


def test_calibration_turns_back_where_the_ring_or_the_sampler_ends() -> None:
    shared = [
        {"stage": "encode", "max_noise_multiplier": 16.0},
        {"stage": "skellam", "noise_multiplier": "calibrate"},
        {"stage": "mask"},
    ]
    found = build(parse(STARTERS["breast-cancer"], {"privacy.pipeline": shared}))
    assert found.pipeline.stages[1].noise_multiplier == pytest.approx(8.405, abs=2e-3)
    small = [{"stage": "encode", "max_noise_multiplier": 8.0}, *shared[1:]]
    with pytest.raises(ConfigError, match="raise encode's max_noise_multiplier"):
        build(parse(STARTERS["breast-cancer"], {"privacy.pipeline": small}))
