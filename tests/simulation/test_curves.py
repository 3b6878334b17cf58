"""Curves: every point is the claim of so many rounds."""

from __future__ import annotations

import math

import pytest
from tacit.config import parse
from tacit.privacy.accounting.figures import figures
from tacit.simulation.curves import POINTS, curves, points
from tacit.strategies.federation import Federation, build

CONFIG = """
[task]
use = "digits"
[population]
owners = 479
[rounds]
total = 40
participation = { use = "poisson", rate = 0.5 }
[local]
use = "sgd"
lr = 1.0
[privacy]
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.74 } ]
[budget]
epsilon = 4.0
"""


@pytest.fixture(scope="module")
def federation() -> Federation:
    return build(parse(CONFIG))


@pytest.mark.parametrize("rounds", [1, 2, 5, 12, 80, 1000])
def test_points_begin_at_one_and_end_at_the_last(rounds: int) -> None:
    found = points(rounds)
    assert found[0] == 1
    assert found[-1] == rounds
    assert list(found) == sorted(set(found))
    assert len(found) <= POINTS


def test_no_rounds_no_points() -> None:
    assert points(0) == ()


def test_curves_end_in_the_claims(federation: Federation) -> None:
    made = curves(federation, 4)
    claims = federation.claims(4)
    assert [each["observer"] for each in made] == [claim.observer.who for claim in claims]
    for each, claim in zip(made, claims, strict=True):
        known = figures(claim, federation.delta)
        assert each["epsilon"][-1] == known.epsilon
        assert each["epsilon_unamplified"][-1] == known.epsilon_unamplified
        assert each["epsilon_at_1e-5"][-1] == known.headline
        assert (
            len(each["rounds"])
            == len(each["epsilon"])
            == len(each["epsilon_unamplified"])
            == len(each["epsilon_at_1e-5"])
        )


def test_curves_rise_and_amplification_lies_below(federation: Federation) -> None:
    analyst, server, _ = curves(federation, 4)
    assert analyst["epsilon"] == sorted(analyst["epsilon"])
    assert all(a < b for a, b in zip(analyst["epsilon"], analyst["epsilon_unamplified"], strict=True))
    assert server["epsilon"] == [math.inf] * 4
