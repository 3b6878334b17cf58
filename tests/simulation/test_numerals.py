"""Numerals: nothing printed promises more than was derived."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from tacit.simulation.numerals import (
    better,
    certainty,
    certainty_text,
    epsilon_text,
    lower_text,
    metric_text,
    number,
    plain_text,
    small_text,
)

EPSILONS = st.floats(1e-6, 1e5)


def _read(text: str) -> float:
    return float(text.replace(",", ""))


@given(EPSILONS)
def test_an_epsilon_is_rounded_up_and_its_lower_end_down_by_little(value: float) -> None:
    slack = 1 + 1e-8
    assert value <= _read(epsilon_text(value)) * slack
    assert _read(epsilon_text(value)) <= max(value * 1.1, value + 0.01) * slack
    assert value * 0.9 - 0.01 <= _read(lower_text(value)) <= value * slack


@given(EPSILONS, EPSILONS)
def test_a_larger_epsilon_never_prints_smaller(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert _read(epsilon_text(low)) <= _read(epsilon_text(high))


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.0, "4.00"), (3.9951, "4.00"), (4.001, "4.01"), (36.14, "36.2"), (0.0123, "0.013"), (535.2, "536"),
     (0.0, "0.00"), (-0.1, "0.00"), ("inf", "∞"), (math.inf, "∞"), (None, "unknown"), (math.nan, "unknown"), (1234.5, "1,235")],
)  # fmt: skip
def test_epsilon_text(value: object, text: str) -> None:
    assert epsilon_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1e-5, "10⁻⁵"), (0.00113, "0.0011"), (3.2e-7, "3.2·10⁻⁷"), (None, "unknown")]
)
def test_small_text(value: object, text: str) -> None:
    assert small_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1290, "1,290"), (0.3, "0.3"), (1.2e-9, "1.2·10⁻⁹"), (0, "0"), (23100.4, "23,100"), (1e12, "1.0·10¹²"), (-0.5, "−0.5"),
     ("inf", "∞"), ("-inf", "−∞"), ("text", "unknown"), (True, "unknown"), ([], "unknown")],
)  # fmt: skip
def test_plain_text(value: object, text: str) -> None:
    assert plain_text(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.974, "97.4\u00a0%"),
        ("loss", 0.1362, "0.136"),
        ("perplexity", "inf", "∞"),
        ("f1", None, "not a number"),
    ],
)
def test_metric_text(name: str, value: object, text: str) -> None:
    assert metric_text(name, value) == text


def test_number_reads_what_result_json_holds() -> None:
    assert number("inf") == math.inf
    assert number("-inf") == -math.inf
    assert math.isnan(number(None))
    assert number(3) == 3.0


def test_which_metric_is_better() -> None:
    assert better("accuracy", 0.9, 0.8)
    assert better("loss", 0.1, 0.2)


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 0.1))
def test_certainty_grows_from_even_odds_to_one(one: float, other: float, delta: float) -> None:
    low, high = sorted((one, other))
    assert 0.5 <= certainty(low, delta) <= certainty(high, delta) <= 1
    assert certainty(0, 0) == 0.5


@given(st.floats(0.05, 4), st.floats(0, 6))
def test_certainty_bounds_the_best_test_against_the_gaussian_mechanism(mu: float, epsilon: float) -> None:
    # δ(ε) of N(0, 1) against N(μ, 1): Balle and Wang 2018, Theorem 8. The best test is right Φ(μ/2) of the time.
    delta = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert certainty(epsilon, max(0.0, float(delta))) >= norm.cdf(mu / 2) - 1e-12


def test_certainty_of_what_is_unknown_is_full() -> None:
    assert certainty(math.nan, 0.1) == 1
    assert certainty(math.inf, 0.0) == 1
    assert certainty_text(math.inf, 0.0) == "100\u00a0%"
    assert certainty_text(4.0, 0.00113) == "98.3\u00a0%"
