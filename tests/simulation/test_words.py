"""Words: each claim says what it protects, from whom, and what it does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tacit.privacy.claim import RULES
from tacit.simulation import words

UNITS, RELATIONS = ("owner", "example"), ("add-remove", "zero-out", "replace-one")
OBSERVERS = ("analyst", "server", "owners")


def claim(**replaced: Any) -> dict[str, Any]:
    event = {"event": "gaussian", "noise_multiplier": 2.0}
    return {
        "unit": "owner", "observer": "analyst", "colluders": 0, "relation": "add-remove", "adversary": "semi-honest",
        "basis": "statistical", "events": event, "events_unamplified": event, "epsilon": 2.0, "epsilon_lower": 2.0,
        "epsilon_unamplified": 2.0, "delta": 1e-5, "epsilon_at_1e-5": 2.0, "accountant": "pld", "why": "", **replaced,
    }  # fmt: skip


@pytest.mark.parametrize(("unit", "relation", "observer"), list(itertools.product(UNITS, RELATIONS, OBSERVERS)))
def test_every_promise_names_its_secret_its_observer_and_its_numbers(unit: str, relation: str, observer: str) -> None:
    made = claim(unit=unit, relation=relation, observer=observer)
    promise = words.promise(made)
    assert words.SECRETS[unit, relation] in promise
    assert words.figure(made) in promise
    assert "2.00" in words.figure(made)
    assert "10⁻⁵" in words.figure(made)
    assert "88.1\u00a0%" in promise  # (e² + δ)/(1 + e²)
    assert words.limits(made)
    assert words.observer_title(made)


def test_no_two_combinations_promise_the_same() -> None:
    made = [
        words.promise(claim(unit=u, relation=r, observer=o))
        for u, r, o in itertools.product(UNITS, RELATIONS, OBSERVERS)
    ]
    assert len(set(made)) == len(made)


def test_every_allowed_claim_has_words_of_its_own() -> None:
    allowed = {
        (unit, relation)
        for rule in RULES
        if rule.allowed
        for unit in ([rule.unit] if rule.unit else UNITS)
        for relation in ([rule.relation] if rule.relation else RELATIONS)
    }
    assert allowed <= set(words.SECRETS)


@pytest.mark.parametrize("unit", UNITS)
def test_public_facts_of_a_relation_are_listed(unit: str) -> None:
    for relation in ("zero-out", "replace-one"):
        assert any("public" in limit for limit in words.limits(claim(unit=unit, relation=relation)))
    assert not any("public" in limit for limit in words.limits(claim(unit=unit)))


def test_an_example_claim_says_that_owners_are_not_protected() -> None:
    assert any("owner as a whole" in limit for limit in words.limits(claim(unit="example")))


def test_trust_and_cryptography_are_named() -> None:
    assert any("trusted" in limit for limit in words.limits(claim(adversary="honest")))
    assert any("protocol" in limit for limit in words.limits(claim(adversary="semi-honest")))
    assert any("masks" in limit for limit in words.limits(claim(basis="computational")))
    assert not any("masks" in limit for limit in words.limits(claim()))


def test_amplification_names_what_it_rests_on() -> None:
    amplified = claim(epsilon_unamplified=36.1)
    assert words.is_amplified(amplified)
    assert any("36.1 instead of 2.00" in limit for limit in words.limits(amplified))
    assert not words.is_amplified(claim())


@pytest.mark.parametrize("nested", [lambda e: e, lambda e: {"event": "repeated", "of": e, "count": 3},
                                    lambda e: {"event": "composed", "parts": [{"event": "nothing"}, e]}])  # fmt: skip
def test_infinity_is_not_private_and_says_why(nested: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    made = claim(epsilon="inf", events=nested({"event": "non-private", "reason": "the server sees the sum"}))
    assert words.figure(made) == "not private (ε\u00a0=\u00a0∞)"
    assert "the server sees the sum" in words.promise(made)
    assert "nothing is promised" in words.promise(made)
    assert words.limits(made) == ()


@pytest.mark.parametrize("epsilon", [None, "text", float("nan")])
def test_an_unreadable_epsilon_promises_nothing(epsilon: object) -> None:
    assert not words.is_private(claim(epsilon=epsilon))
    assert "nothing is promised" in words.promise(claim(epsilon=epsilon))


def test_a_useless_epsilon_is_called_that() -> None:
    assert "no limit worth the name" in words.promise(claim(epsilon=12.0))
    assert "practically every time" in words.headline({"privacy": [claim(epsilon=12.0)]})


def test_an_interval_is_written_out() -> None:
    made = claim(epsilon=6.641, epsilon_lower=6.4748)
    assert "between 6.47 and 6.65" in words.promise(made)
    assert words.epsilon_range(made) == "6.47 – 6.65"
    assert words.epsilon_range(claim()) == "2.00"
    assert words.epsilon_range(claim(epsilon_lower=0.0)) == "2.00"


@pytest.mark.parametrize("count", [1, 3])
def test_colluders_are_named(count: int) -> None:
    made = claim(colluders=count)
    assert f"{count} owner" in words.promise(made)
    assert f"{count} colluding owner" in words.observer_short(made)
    assert f"{count} owner" in words.headline({"privacy": [made]})


def test_the_headline_holds_unit_observer_relation_and_delta() -> None:
    line = words.headline({"privacy": [claim(unit="example", observer="server", relation="replace-one")]})
    for part in ("example level", "observer server", "replace-one", "2.00", "10⁻⁵"):
        assert part in line
    assert line.count(". ") == 0


def test_no_claim_is_no_promise() -> None:
    assert "Nothing is promised" in words.headline({})


def test_a_seed_is_confessed() -> None:
    assert "no guarantee for real data" in words.seeded({"seed": 0})
    assert words.seeded({"seed": None}) == ""


def test_what_was_achieved(result: dict[str, Any]) -> None:
    told = words.achieved(result, "accuracy")
    assert told == (
        "A softmax model for digits was trained over 479 simulated owners in 80 rounds; on public test data its accuracy is "
        "97.4\u00a0%."
    )
    assert "no metric" in words.achieved({"config": {"task": {"use": "topics"}}}, None)
