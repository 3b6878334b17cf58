"""The page of an audit: self-contained, and it says what was found, in every verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tacit.config import parse
from tacit.simulation.audits.audit import audit
from tacit.simulation.audits.report import report
from tacit.simulation.audits.words import ANEW, BLIND, overall, verdict_sentence
from tacit.simulation.document import dumps

TEXT = """
name = "trial <b>"
[task]
use = "digits"
[population]
owners = 30
[rounds]
total = 3
[local]
use = "sgd"
[privacy]
delta = 1e-5
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = "calibrate" } ]
[budget]
epsilon = 1.0
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """A small audit, as `--json` prints it."""
    found: dict[str, Any] = json.loads(dumps(audit(parse(TEXT), canaries=200, seed=1, device="cpu").to_json()))
    return found


def changed(told: dict[str, Any], **found: Any) -> dict[str, Any]:
    views = {name: {**view, **found} for name, view in told["views"].items()}
    return {**told, "verdict": found["verdict"], "views": views}


def test_the_page_stands_alone_and_tells_all_figures(told: dict[str, Any], read: Callable[[str], Any]) -> None:
    page = read(report(told, "tacit audit federation.toml"))
    assert "trial <b>" in page.text
    assert verdict_sentence(overall(told)) in page.text
    for sentence in (ANEW, *BLIND):
        assert sentence in page.text
    assert "tacit audit federation.toml" in page.text
    assert "estimate" in page.text
    assert page.text.count("Membership inference") == 1


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"verdict": "fail", "bound": 3.456, "reach": 5.0}, "The claim ε = 1.00 does not hold"),
        ({"verdict": "no power", "bound": 0.1, "reach": 0.5}, "neither supports nor refutes"),
        ({"verdict": "pass", "bound": 0.1, "reach": 5.0}, "ε ≥ 0.10 was shown"),
    ],
)
def test_each_verdict_is_said(
    told: dict[str, Any], read: Callable[[str], Any], found: dict[str, Any], said: str
) -> None:
    assert said in read(report(changed(told, claim=1.0, **found), "")).text


def test_an_infinite_estimate_is_drawn_beside_the_rest(told: dict[str, Any], read: Callable[[str], Any]) -> None:
    page = read(report(changed(told, verdict="fail", estimate="inf", bound=7.0, reach=7.0), ""))
    assert "∞" in page.text


def test_without_test_data_the_natural_attack_is_left_out(told: dict[str, Any], read: Callable[[str], Any]) -> None:
    assert "by loss" not in read(report({**told, "natural": None}, "")).text


def test_nothing_that_its_pictures_say_is_cut_off(told: dict[str, Any], cut_off: Callable[[], list[str]]) -> None:
    report(told, "")
    assert cut_off() == []
