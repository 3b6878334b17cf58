"""Trials: the same bits as `simulate`, the same ε as `plan`; a setting that cannot be run is an answer with a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tacit.config import Config, ConfigError, parse
from tacit.simulation.planning import plan
from tacit.simulation.run import simulate
from tacit.simulation.studies.extrapolation import told
from tacit.simulation.studies.journal import key_of
from tacit.simulation.studies.trial import Bench, curve, price, sketch, train

NOISE = "privacy.pipeline.1.noise_multiplier"
IN_TURN = {"rounds.participation": {"use": "cyclic", "cohort": 4, "separation": 3}, "rounds.total": 6}
SETTINGS: list[dict[str, Any]] = [
    {"rounds.total": 3},
    {NOISE: 1.5, "local.lr": 0.2},
    {"rounds.participation": {"use": "everyone"}, "privacy.pipeline.0.norm": 1.0},
    {NOISE: "calibrate", "budget.epsilon": 5.0},
    {"population.owners": 20},
    {**IN_TURN, "privacy.pipeline.1": {"stage": "correlated-gaussian", "noise_multiplier": "calibrate", "bands": 3}},
    {
        **IN_TURN,
        "privacy.pipeline.1": {"stage": "correlated-gaussian", "noise_multiplier": 2.0, "decay": [0.9], "scale": [0.2]},
    },
]


@pytest.fixture
def bench(small: Config) -> Bench:
    return Bench(small, None)


@pytest.mark.parametrize("values", SETTINGS, ids=lambda values: "+".join(values))
def test_a_trial_is_the_run_that_simulate_makes_and_costs_what_it_claims(bench: Bench, values: dict[str, Any]) -> None:
    drawn = sketch(bench, values)
    found = train(bench, values, drawn["noise"], drawn["noise_scale"], seed=3)
    run = simulate(bench.base, seed=3, set=values)
    assert found["metrics"] == run.rounds[-1].metrics
    priced = price(drawn["mechanism"])
    claim = run.claims[0]
    assert priced["epsilon"] == claim.epsilon
    assert priced["epsilon_unamplified"] == claim.epsilon_unamplified
    assert priced["epsilon_at_1e-5"] == claim.headline
    assert drawn["mechanism"]["delta"] == claim.delta


def test_beyond_the_budget_a_setting_is_trained_all_the_same(bench: Bench) -> None:
    values = {"budget.epsilon": 0.5}
    assert "metrics" in train(bench, values, sketch(bench, values)["noise"], 1.0, 0)


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"local.lr": 0.1}, True),
        ({"privacy.pipeline.0.norm": 0.1}, True),
        ({"rounds.total": 5}, False),
        ({NOISE: 2.5}, False),
        ({"rounds.participation.rate": 0.25}, False),
        ({"population.owners": 24}, False),
    ],
)
def test_settings_share_their_accounting_exactly_where_the_mechanism_is_equal(
    bench: Bench, values: dict[str, Any], same: bool
) -> None:
    first, other = sketch(bench, {})["mechanism"], sketch(bench, values)["mechanism"]
    assert (key_of(first) == key_of(other)) == same
    assert (price(first) == price(other)) == same


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rounds.totl": 3}, "unknown key"),
        ({"local.lrr": 3}, "unknown key"),
        ({"rounds.total": -1}, "rounds.total"),
        ({"rounds.participation": {"use": "fixed", "cohort": 50}}, "50 of 12 owners"),
        ({"rounds.participation": {"use": "fixed", "cohort": 5}}, "fixed cohort"),
        ({"privacy.pipeline": [{"stage": "central-gaussian", "noise_multiplier": 1.0}]}, "put a clip before it"),
        ({"privacy.pipeline": [{"stage": "clip", "norm": 1.0}]}, "cannot be met"),
        ({"privacy.pipeline.7.norm": 1.0}, "no index"),
    ],
)
def test_what_cannot_be_run_says_why(bench: Bench, values: dict[str, Any], reason: str) -> None:
    assert reason in sketch(bench, values)["reason"]


def test_a_model_that_diverges_says_so(bench: Bench) -> None:
    values = {"strategy.server_lr": 1e38, "privacy.pipeline.0.norm": 1e6}
    found = train(bench, values, sketch(bench, values)["noise"], 1.0, 0)
    assert "not finite" in found["reason"]


def test_the_curve_ends_in_the_price_and_rises(bench: Bench) -> None:
    drawn = sketch(bench, {"rounds.total": 30})
    found = curve(drawn["mechanism"], drawn["at"])
    assert found["rounds"][-1] == 30
    assert found["epsilon"][-1] == price(drawn["mechanism"])["epsilon"]
    assert found["epsilon"] == sorted(found["epsilon"])


def test_without_privacy_epsilon_is_infinite(small: Config) -> None:
    open_ = parse(small.to_toml(), {"budget.epsilon": math.inf, "privacy.pipeline": [{"stage": "clip", "norm": 1.0}]})
    assert price(sketch(Bench(open_, None), {})["mechanism"])["epsilon"] == math.inf


# --- a larger population than is simulated ---


@pytest.mark.parametrize("participation", [{"use": "poisson", "rate": 0.5}, {"use": "everyone"}])
def test_an_extrapolation_keeps_noise_over_cohort_and_costs_what_the_large_population_does(
    small: Config, participation: dict[str, Any]
) -> None:
    values = {"rounds.participation": participation}
    large = sketch(Bench(small, None, 1200), values)
    assert large["noise_scale"] == pytest.approx(1 / 100)
    planned = plan(small, set={**values, "population.owners": 1200})
    assert price(large["mechanism"])["epsilon"] == pytest.approx(planned.epsilon, rel=1e-9)
    assert (
        large["mechanism"]["delta"]
        == planned.federation.delta
        < sketch(Bench(small, None), values)["mechanism"]["delta"]
    )


def test_where_owners_noise_their_own_messages_the_sum_averages_it(small: Config) -> None:
    values = {
        "privacy.relation": "zero-out",
        "privacy.pipeline": [{"stage": "clip", "norm": 0.5}, {"stage": "own-gaussian", "noise_multiplier": 8.0}],
        "budget.observer": "server",
    }
    assert sketch(Bench(small, None, 1200), values)["noise_scale"] == pytest.approx(1 / 10)


def test_an_extrapolation_trains_with_the_scaled_noise(small: Config) -> None:
    drawn = sketch(Bench(small, None, 1200), {})
    found = train(Bench(small, None, 1200), {}, drawn["noise"], drawn["noise_scale"], 1)
    quiet = train(Bench(small, None), {NOISE: 2.0 / 100}, {}, 1.0, 1)
    assert found["metrics"] == quiet["metrics"] != train(Bench(small, None), {}, {}, 1.0, 1)["metrics"]


def test_noise_for_a_budget_is_solved_for_the_large_population(small: Config) -> None:
    values = {NOISE: "calibrate", "budget.epsilon": 2.0}
    drawn = sketch(Bench(small, None, 1200), values)
    assert drawn["noise"][NOISE] == plan(small, set={**values, "population.owners": 1200}).noise_multiplier


@pytest.mark.parametrize(
    ("change", "population", "message"),
    [
        ({}, 12, "give a larger population"),
        ({"privacy.unit": "example"}, 100, "extrapolates the number of owners"),
    ],
)
def test_what_is_no_extrapolation_is_refused(
    small: Config, change: dict[str, Any], population: int, message: str
) -> None:
    bench = Bench(parse(small.to_toml(), change), None, population)
    assert message in sketch(bench, {})["reason"]


def test_a_task_that_does_not_exist_is_told_at_once(small: Config) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Bench(parse(small.to_toml(), {"task.use": "nowhere"}), None)


def test_noise_that_is_too_little_to_be_drawn_is_held_at_the_least_that_can(small: Config) -> None:
    """A lower estimate: never with less noise than the large population has."""
    bench = Bench(small, None, 12_000_000)
    drawn = sketch(bench, {})
    assert drawn["noise_held"]
    more = drawn["noise_scale"] / 1e-6
    assert more > 1
    assert more == pytest.approx(2 ** round(math.log2(more)))
    assert "metrics" in train(bench, {}, drawn["noise"], drawn["noise_scale"], 0)
    assert "so small" in train(bench, {}, drawn["noise"], drawn["noise_scale"] / 2, 0)["reason"]
    assert not sketch(Bench(small, None, 1200), {})["noise_held"]
    assert "In 1 setting " in told(small, 12_000_000, held=1)["how"]
    assert "lower estimate" not in told(small, 1200, held=0)["how"]


def test_a_large_population_that_cannot_be_trained_says_that_it_is_one(small: Config) -> None:
    values = {"strategy.server_lr": 1e38, "privacy.pipeline.0.norm": 1e6}
    bench = Bench(small, None, 12_000)
    drawn = sketch(bench, values)
    reason = train(bench, values, drawn["noise"], drawn["noise_scale"], 0)["reason"]
    assert "the simulated owners stand for a population 1,000 times as large" in reason
