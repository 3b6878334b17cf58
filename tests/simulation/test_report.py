"""Report: one page that loads nothing, lies about nothing and breaks on nothing."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tacit.config import from_mapping
from tacit.simulation.document import dumps
from tacit.simulation.numerals import epsilon_text
from tacit.simulation.report import configuration, notes, report

COMMAND = "tacit simulate examples/digits-owner.toml --seed 7"
HOSTILE = "</title></style><script>alert('x')</script><img src=x onerror=alert(1)>\"' & $x_{"


def test_the_page_is_whole_and_small(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    text = report(result, COMMAND)
    page = read(text)
    assert text.startswith("<!doctype html>")
    assert len(text.encode()) < 200_000
    assert COMMAND in page.text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert {"h1", "figure", "svg", "table", "pre"} <= page.tags


def test_every_drawing_has_a_text_alternative(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    page = read(report(result, COMMAND))
    told = [value for name, value in page.attributes if name == "aria-label"]
    assert report(result, COMMAND).count("<svg ") == 4
    assert len(told) == 5  # and the pipeline's
    assert all(told)
    assert any("97.4" in value for value in told)


def test_every_claim_shows_all_its_numbers(changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]) -> None:
    made = changed(
        **{"privacy.2.epsilon": 5.55, "privacy.2.epsilon_unamplified": 6.66, "privacy.2.epsilon_at_1e-5": 7.77}
    )
    page = read(report(made, COMMAND))
    for claim in made["privacy"]:
        for key in ("epsilon", "epsilon_unamplified", "epsilon_at_1e-5"):
            assert epsilon_text(claim[key]) in page.text
    assert "80 × Gaussian 3.74" in page.text
    assert "no guarantee for real data" in page.text
    assert "the server adds the noise and sees the sum without it" in page.text


def test_headline_numbers(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    page = read(report(result, COMMAND))
    for part in ("digits-owner", "479", "97.4", "4.00", "of a budget of 4", "owner level", "add-remove", "0.0011"):
        assert part in page.text


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _put(result: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    here: Any = result
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value


def test_hostile_text_in_every_place_stays_text(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    known = read(report(result, COMMAND)).tags
    made = copy.deepcopy(result)
    for path, value in list(_leaves(result)):
        if isinstance(value, str) and value != "inf":
            _put(made, path, HOSTILE)
    made["notes"] = [HOSTILE]
    made["final"] = {HOSTILE: 0.5, "loss": 1.0}
    made["config"]["task"][HOSTILE] = HOSTILE
    made["config"]["local"][HOSTILE] = 1.0
    for row in made["rounds"]:
        row["metrics"] = {HOSTILE: 0.5, "loss": 1.0}
    page = read(report(made, HOSTILE))
    assert page.tags <= known
    assert HOSTILE in page.text


def test_names_that_look_like_formulas_are_drawn_as_they_are(changed: Callable[..., dict[str, Any]]) -> None:
    made = changed(final={"$x_{": 0.5}, rounds=[{"round": 1, "metrics": {"$x_{": 0.5}, "epsilon": 1.0, "seconds": 0.1}])
    assert "$x {" in report(made, COMMAND)


ODD: dict[str, dict[str, Any]] = {
    "no metrics": {"final": {}, "rounds": [{"round": 80, "metrics": {}, "epsilon": 4.0, "seconds": 1.0}]},
    "no rounds": {"final": {}, "rounds": [], "curves": []},
    "one round": {"rounds": [{"round": 1, "metrics": {"loss": 2.0, "accuracy": 0.1}, "epsilon": 0.4, "seconds": 0.1}]},
    "nothing finite": {
        "rounds": [
            {"round": n, "metrics": {"loss": None, "accuracy": None}, "epsilon": 0.4, "seconds": 1.0} for n in (1, 2)
        ],
        "final": {"loss": "inf", "accuracy": None},
    },
    "loss only": {
        "rounds": [{"round": n, "metrics": {"loss": 4.0 / n}, "epsilon": 0.4, "seconds": 1.0} for n in (1, 2)],
        "final": {"loss": 2.0},
    },
    "constant": {
        "rounds": [
            {"round": n, "metrics": {"loss": 0.0, "accuracy": 1.0}, "epsilon": 0.4, "seconds": 1.0} for n in (1, 2)
        ],
        "final": {"loss": 0.0, "accuracy": 1.0},
    },
    "a loss over orders": {
        "rounds": [{"round": n, "metrics": {"loss": 10.0**-n}, "epsilon": 0.4, "seconds": 1.0} for n in range(1, 6)],
        "final": {"loss": 1e-5},
    },
    "infinities as numbers": {"privacy.1.epsilon": math.inf, "privacy.1.epsilon_unamplified": math.inf},
    "NaN as numbers": {"final.loss": math.nan, "spread.worst_decile": math.nan},
    "no claims": {"privacy": [], "curves": []},
    "no curves": {"curves": []},
    "curves of zeros": {"curves.0.epsilon": [0.0] * 12},
    "no spread": {"spread": {}},
    "spread of a loss": {"spread.metric": "loss"},
    "spread with NaN": {"spread.quantiles": {"0": None}},
    "no pipeline": {"pipeline": []},
    "no seed": {"seed": None},
    "no timing": {"timing": {}},
    "no configuration": {"config": {}},
    "budget without limit": {"config.budget.epsilon": "inf"},
    "a first claim that is not private": {"privacy.0.epsilon": "inf", "curves.0.epsilon": ["inf"] * 12},
    "stopped early": {"config.rounds.total": 200},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_results_still_make_a_whole_page(
    name: str, changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]
) -> None:
    page = read(report(changed(**ODD[name]), COMMAND))
    assert not {"nan", "inf", "None"} & set(page.text.replace(",", " ").split("Make it again")[0].split())


def test_infinity_is_said_at_the_top(changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]) -> None:
    reason = {"event": "non-private", "reason": "no stage adds noise"}
    page = read(report(changed(**{"privacy.0.epsilon": "inf", "privacy.0.events": reason}), COMMAND))
    assert "Not private (ε = ∞): no stage adds noise." in page.text.replace("\u00a0", " ")


def test_many_rounds_are_thinned_to_a_small_page(changed: Callable[..., dict[str, Any]]) -> None:
    rows = [
        {"round": n, "metrics": {"loss": 1 / n, "accuracy": 1 - 1 / n}, "epsilon": n**0.5, "seconds": n}
        for n in range(1, 3001)
    ]
    assert len(report(changed(rounds=rows), COMMAND)) < 600_000


def test_a_page_made_of_the_file_equals_one_made_in_memory(result: dict[str, Any]) -> None:
    assert report(json.loads(dumps(result)), COMMAND) == report(result, COMMAND)


def test_the_configuration_can_be_run_again(changed: Callable[..., dict[str, Any]]) -> None:
    config = changed(**{"config.budget.epsilon": "inf", "config.population.partition": None})["config"]
    again = from_mapping(tomllib.loads(configuration(config)))
    assert again.budget.epsilon == math.inf
    assert again.rounds.total == 80
    assert again.population.partition is None


def test_notes_say_what_was_not_charged_and_what_was_made_up(changed: Callable[..., dict[str, Any]]) -> None:
    told = " ".join(notes(changed(notes=["stopped by the budget"], **{"config.rounds.total": 200})))
    for part in (
        "simulated",
        "dirichlet",
        "not charged",
        "outside every claim",
        "80 of 200 rounds",
        "stopped by the budget",
    ):
        assert part in told


def test_tuning_that_was_charged_is_not_called_free(changed: Callable[..., dict[str, Any]]) -> None:
    tuned = {"event": "tuned", "of": {"event": "gaussian", "noise_multiplier": 2.0}, "mean": 10, "shape": 1}
    assert "charged as tuning" in " ".join(notes(changed(**{"privacy.0.events": tuned})))


def test_claims_of_equal_events_share_a_curve(result: dict[str, Any], changed: Callable[..., dict[str, Any]]) -> None:
    apart = changed(**{"privacy.2.events": {"event": "gaussian", "noise_multiplier": 9.0}})
    drawn = [report(each, COMMAND).count('aria-label="ε over rounds') for each in (result, apart)]
    assert drawn == [1, 2]


@pytest.mark.parametrize("unit", ["owner", "example"])
@pytest.mark.parametrize("relation", ["add-remove", "zero-out", "replace-one"])
def test_every_kind_of_claim_makes_a_page(
    unit: str, relation: str, changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]
) -> None:
    page = read(report(changed(**{"privacy.0.unit": unit, "privacy.0.relation": relation}), COMMAND))
    assert f"{unit} level, {relation}" in page.text


MEASURED = {"accuracy": {"value": 1.034, "error": 0.061}, "loss": {"value": 0.25, "error": 0.2}}


def test_what_owners_measured_is_told_with_its_error_and_as_noised(
    changed: Callable[..., dict[str, Any]], result: dict[str, Any], read: Callable[[str], Any]
) -> None:
    rows = [{**row, "measured": MEASURED} for row in result["rounds"]]
    page = report(
        changed(**{"rounds": rows, "config.evaluation": {"every": 5, "on": ["public-test", "owners"]}}), "again"
    )
    read(page)
    assert "103.4\u00a0% ± 6.1\u00a0%" in page
    assert "accuracy, noised" in page
    assert "is in every claim" in page
    assert "noised" not in report(result, "again")


@pytest.mark.parametrize(
    "odd", [7, "all right", {"accuracy": None}, {"accuracy": {"value": "inf"}}, {"loss": 3}], ids=str
)
def test_odd_measures_still_make_a_page(
    changed: Callable[..., dict[str, Any]], result: dict[str, Any], read: Callable[[str], Any], odd: Any
) -> None:
    rows = [{**row, "measured": odd} for row in result["rounds"]]
    read(report(changed(**{"rounds": rows, "config.evaluation": {"on": 3}}), "again"))


def test_nothing_that_its_pictures_say_is_cut_off(result: dict[str, Any], cut_off: Callable[[], list[str]]) -> None:
    report(result, "tacit simulate digits.toml")
    assert cut_off() == []
