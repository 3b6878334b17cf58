"""The policy that `up` writes: enough for one run, and an error where no ε would be."""

from __future__ import annotations

import math

import pytest
from tacit.client.life import largest_limit
from tacit.config import ConfigError, parse
from tacit.simulation import permission
from tacit.simulation.permission import policy_text
from tacit.strategies.federation import build

TEXT = """
task = {{ use = "digits", model = "softmax" }}
population = {{ owners = 3 }}
rounds = {{ total = 3, participation = {{ use = "everyone" }}, quorum = 1.0 }}
local = {{ use = "sgd", lr = 1.0 }}
budget = {{ observer = "analyst", epsilon = 1e12 }}

[privacy]
delta = 0.01
pipeline = [{{ stage = "clip", norm = 0.3 }}, {{ stage = "central-gaussian", noise_multiplier = {noise} }}]
"""


def needed(noise: float) -> float:
    text = policy_text(build(parse(TEXT.format(noise=noise))), seeded=False)
    return float(next(line for line in text.splitlines() if line.startswith("epsilon = ")).split(" = ")[1])


def test_a_costly_run_gets_the_budget_that_it_needs() -> None:
    assert 0 < needed(3.0) < needed(0.5) < 40


def test_the_search_for_a_budget_ends_at_the_largest_that_the_samplers_allow() -> None:
    """Above some ε what the samplers err by is more than δ, whatever the limit; what has no finite ε gets no limit."""
    federation = build(parse(TEXT.format(noise=0.4)))
    extra = 3 * federation.pipeline.final.delta_extra
    assert needed(0.4) <= largest_limit(0.01, extra) < needed(0.4) + 0.02
    assert math.isinf(needed(0.1))


def test_what_no_owner_could_permit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "_MOST", 1.0)
    with pytest.raises(ConfigError, match=r"no owner could permit.*budget"):
        needed(0.5)
