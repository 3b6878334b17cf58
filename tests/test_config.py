"""The configuration file: defaults, overrides, and one clear line for every fault."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.config import ConfigError, PrivacyFrame, chosen, described, load, override, parse
from tacit.privacy.participation import PARTICIPATIONS, PoissonOwners

TEXT = """
[task]
use = "digits"
model = "softmax"
[population]
owners = 479
partition = { use = "dirichlet", alpha = 0.3 }
[rounds]
total = 80
participation = { use = "poisson", rate = 0.5 }
deadline = "5m"
[privacy]
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.74 } ]
[budget]
epsilon = 4.0
"""


def test_what_is_said_and_what_is_not() -> None:
    config = parse(TEXT, name="digits")
    assert config.name == "digits"
    assert config.task.options == {"model": "softmax"}
    assert config.rounds.deadline == 300.0
    assert config.privacy.unit == "owner"
    assert config.private


def test_the_resolved_text_describes_the_same_configuration() -> None:
    config = parse(TEXT, {"budget.epsilon": math.inf})
    again = parse(config.to_toml())
    assert again == config
    assert again.digest() == config.digest()
    assert not again.private


def test_one_place_to_evaluate_or_several() -> None:
    for said, on in (("owners", ("owners",)), (["public-test", "owners"], ("public-test", "owners"))):
        found = parse(TEXT, {"evaluation.on": said})
        assert found.evaluation.on == on
        assert parse(found.to_toml()) == found
    assert parse(TEXT).evaluation.on == ("public-test",)
    for wrong in ([], "test", ["owners", 3]):
        with pytest.raises(ConfigError, match=r"evaluation\.on"):
            parse(TEXT, {"evaluation.on": wrong})


def test_the_digest_changes_with_any_value() -> None:
    assert parse(TEXT).digest() != parse(TEXT, {"rounds.total": 81}).digest()


def test_overrides_reach_into_tables_and_lists() -> None:
    config = parse(TEXT, {"rounds.total": 5, "privacy.pipeline.0.norm": 0.5, "population.partition.alpha": 1.0})
    assert config.rounds.total == 5
    assert config.privacy.pipeline[0]["norm"] == 0.5
    assert config.population.partition == {"use": "dirichlet", "alpha": 1.0}


@pytest.mark.parametrize(
    ("setting", "want"),
    [("rounds.total=80", ("rounds.total", 80)), ("budget.epsilon=inf", ("budget.epsilon", math.inf)),
     ("task.model=mlp", ("task.model", "mlp")), ("a = [1, 2]", ("a", [1, 2]))],
)  # fmt: skip
def test_settings_are_toml_values_or_text(setting: str, want: tuple[str, object]) -> None:
    assert override(setting) == want


@pytest.mark.parametrize(
    ("change", "key", "remedy"),
    [
        ({"rounds.totl": 5}, "rounds.totl = 5", "did you mean 'total'?"),
        ({"rounds.total": 0}, "rounds.total = 0", "greater than 0"),
        ({"rounds.total": "many"}, "rounds.total = 'many'", "integer"),
        ({"rounds.deadline": "soon"}, "rounds.deadline = 'soon'", '"60s"'),
        ({"rounds.quorum": 1.5}, "rounds.quorum = 1.5", "less than or equal to 1"),
        ({"privacy.unit": "patient"}, "privacy.unit = 'patient'", "'example' or 'owner'"),
        ({"budget.epsilon": -1}, "budget.epsilon = -1", "greater than 0"),
        ({"population.dropout": 1.0}, "population.dropout = 1.0", "less than 1"),
        ({"task.use.name": 1}, "task.use.name", "path"),
        ({"privacy.pipeline.7.norm": 1}, "privacy.pipeline.7.norm", "no index"),
    ],
)
def test_a_fault_names_key_value_and_remedy(change: dict[str, object], key: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TEXT, change)
    assert key in str(caught.value)
    assert remedy in str(caught.value)


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TEXT, {"rounds.total": 0, "budget.epsilon": 0})
    assert str(caught.value).count("\n") == 1


def test_a_missing_budget_is_refused_with_both_ways_out() -> None:
    with pytest.raises(ConfigError, match="epsilon = inf"):
        parse(TEXT.split("[budget]")[0])


def test_text_that_is_not_toml_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse("task = {", name="broken.toml")
    with pytest.raises(ConfigError, match="tacit init"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "binary.toml")


@given(st.text(max_size=40))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):  # no text this short holds a task, a population, rounds and a budget
        parse(text)


@given(st.integers(min_value=2, max_value=10**9))
def test_delta_as_a_power_of_n_stays_below_one_over_n(units: int) -> None:
    delta = PrivacyFrame(delta="N^-1.1").delta_for(units)
    assert 0 < delta < 1 / units


@pytest.mark.parametrize("delta", [1 / 479, 0.5, "N^-1", "N^-0.5"])
def test_delta_of_one_over_n_or_more_is_refused(delta: float | str) -> None:
    with pytest.raises(ConfigError, match=r"1/N"):
        PrivacyFrame(delta=delta).delta_for(479)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, "tiny", math.nan])
def test_delta_outside_of_its_range_is_refused(delta: float | str) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.delta"):
        PrivacyFrame(delta=delta).delta_for(479)


def test_a_row_is_chosen_from_its_table_and_described_again() -> None:
    value = chosen({"use": "poisson", "rate": 0.5}, "use", PARTICIPATIONS, "rounds.participation")
    assert value == PoissonOwners(0.5)
    assert chosen(described(value, "use", PARTICIPATIONS), "use", PARTICIPATIONS, "x") == value


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"use": "poison", "rate": 0.5}, "did you mean 'poisson'?"),
        ({"use": ["poisson"]}, "known: everyone, poisson, fixed, cyclic"),
        ({"use": "poisson", "rat": 0.5}, "did you mean 'rate'?"),
        ({"use": "poisson", "rate": "0.5"}, "rounds.participation.rate = '0.5'"),
        ({"use": "poisson", "rate": True}, "rounds.participation.rate = True"),
        ({"use": "poisson", "rate": 2.0}, "above 0 and up to 1"),
        ({"use": "poisson"}, "rounds.participation.rate: missing"),
        ({}, "rounds.participation.use = None"),
    ],
)
def test_a_row_that_describes_nothing(row: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(row, "use", PARTICIPATIONS, "rounds.participation")
    assert message in str(caught.value)


def test_the_configuration_of_the_design_is_valid_toml() -> None:
    assert tomllib.loads(TEXT)["task"]["use"] == "digits"
