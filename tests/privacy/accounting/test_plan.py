"""Forecasts: what `tacit plan` prints."""

import json
import math
from typing import Any

import pytest
from tacit.privacy.accounting.plan import forecast, plan
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.event import Gaussian, NonPrivate, Repeated, Skellam

_KEYS = {"epsilon", "epsilon_rdp", "epsilon_lower", "epsilon_upper", "epsilon_unamplified", "noise_multiplier", "delta",
         "relation", "unit", "rounds", "accountant", "curve", "risk"}  # fmt: skip


def test_the_issues_example() -> None:
    found = plan(noise_multiplier=1.1, sampling="poisson", rate=0.01, rounds=1000, delta=1e-5)
    row = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(row) == _KEYS
    assert row["epsilon"] == pytest.approx(1.51537, abs=1e-3)
    assert (
        row["epsilon_lower"]
        <= row["epsilon"]
        == row["epsilon_upper"]
        <= row["epsilon_rdp"]
        <= row["epsilon_unamplified"]
    )
    assert (row["relation"], row["unit"], row["accountant"]) == ("add-remove", "owner", "pld")
    assert 18 <= len(row["curve"]) <= 22
    assert row["curve"][-1] == {"rounds": 1000, "epsilon": row["epsilon"]}
    assert [point["epsilon"] for point in row["curve"]] == sorted(point["epsilon"] for point in row["curve"])


def test_fixed_cohorts_default_to_replace_one_and_give_an_interval() -> None:
    found = plan(noise_multiplier=1.0, sampling="fixed", cohort=10, population=1000, rounds=100, delta=1e-5)
    assert found.relation == "replace-one"
    assert found.epsilon_lower < 6.48 < found.epsilon_upper == found.epsilon < 11.2
    assert found.epsilon_unamplified == plan(noise_multiplier=0.5, rounds=100, delta=1e-5).epsilon


def test_facts_amplified_and_not() -> None:
    # 1,438 owners at q = 0.1, ε = 2 amplified, is 36 unamplified (PRIVACY.md 1).
    found = plan(target_epsilon=2.0, sampling="poisson", rate=0.1, rounds=200, delta=1438**-1.1, unit="owner")
    assert 1.998 <= found.epsilon <= 2.0
    assert found.epsilon_unamplified == pytest.approx(36, abs=0.5)
    assert found.noise_multiplier == pytest.approx(2.416, abs=0.005)


def test_without_sampling_both_epsilons_are_one() -> None:
    found = plan(noise_multiplier=10.0, rounds=100, delta=1e-5, unit="example")
    assert found.epsilon == found.epsilon_unamplified == found.epsilon_lower
    assert found.unit == "example"
    assert found.epsilon == pytest.approx(4.377178, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_rounds(count: int) -> None:
    found = plan(noise_multiplier=2.0, sampling="poisson", rate=0.5, rounds=count, delta=1e-5)
    assert [rounds for rounds, _ in found.curve] == (list(range(1, count + 1)) if count else [0])
    assert found.epsilon == found.curve[-1][1]


def test_no_noise_is_the_string_inf_in_json() -> None:
    row = plan(noise_multiplier=0.0, rounds=3, delta=1e-5).to_json()
    assert row["epsilon"] == "inf"
    assert json.dumps(row, allow_nan=False)
    assert row["risk"]["membership_advantage"] == 1.0


def test_any_schedule_can_be_forecast() -> None:
    found = forecast(lambda count: Repeated(Skellam(400.0, 1.0, 1.0), count), lambda count: Repeated(Gaussian(20.0), count),
                     30, "zero-out", 1e-5, "example")  # fmt: skip
    assert found.accountant == "rdp"
    assert found.noise_multiplier is None
    assert found.epsilon > found.epsilon_unamplified
    assert math.isinf(forecast(lambda _: NonPrivate(), lambda _: NonPrivate(), 3, "zero-out", 1e-5, "owner").epsilon)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either a noise multiplier or a target"),
        ({"noise_multiplier": 1.0, "target_epsilon": 1.0}, "not both"),
        ({"noise_multiplier": 1.0, "sampling": "poisson"}, "needs a rate"),
        ({"noise_multiplier": 1.0, "sampling": "fixed", "cohort": 10}, "needs its size and the population"),
        ({"noise_multiplier": 1.0, "sampling": "none", "rate": 0.1}, "rate = 0.1 means nothing"),
        ({"noise_multiplier": 1.0, "sampling": "fixed", "rate": 0.1, "cohort": 1, "population": 2}, "means nothing"),
        ({"noise_multiplier": 1.0, "sampling": "shuffle"}, "'shuffle' is unknown"),
        ({"noise_multiplier": 1.0, "sampling": "poisson", "rate": 1.5}, "rate = 1.5"),
        ({"noise_multiplier": -1.0}, "noise_multiplier = -1.0"),
        ({"noise_multiplier": 1.0, "delta": 0.0}, "delta"),
        ({"noise_multiplier": 1.0, "rounds": -1}, "rounds = -1"),
        (
            {"noise_multiplier": 1.0, "sampling": "fixed", "cohort": 1, "population": 9, "relation": "add-remove"},
            "replace-one",
        ),
        ({"target_epsilon": 0.0}, "target_epsilon"),
    ],
)
def test_bad_input_is_one_error_with_the_value(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        plan(**{"rounds": 10, "delta": 1e-5, **given})
    assert isinstance(caught.value, AccountingError) or "Event" in type(caught.value).__name__
