"""Steps of a masked attempt as bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.codec import CodecError, encode
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.steps import Certify, Step, asked_in, number_of
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd", "lr": 1.0}, {"use": "fedavg"}, ({"stage": "clip", "norm": 0.3},), 3, 9, TERMS)
HEADER = {"kind": "step", "run": "run", "round": 2, "attempt": 1, "owner": 4, "step": 3}
NOTHING = {"payload": np.zeros(0, np.uint8)}


@given(st.integers(2, 6), st.binary(max_size=100))
def test_a_step_survives_the_wire(number: int, payload: bytes) -> None:
    step = Step("run", 2, 1, 4, number, payload)
    assert asked_in(step.to_bytes()) == step


def test_a_request_is_told_from_a_step() -> None:
    found = asked_in(Request("run", 2, 1, 4, RECIPE, torch.zeros(3)).to_bytes())
    assert isinstance(found, Request)
    assert found.recipe == RECIPE


@pytest.mark.parametrize(
    "change",
    [{"step": 1}, {"step": 7}, {"step": True}, {"step": "2"}, {"extra": 0}, {"run": ""}, {"round": -1}, {"owner": 0.5}],
)
def test_what_is_no_step_is_refused(change: dict[str, object]) -> None:
    assert isinstance(asked_in(encode(HEADER, NOTHING)), Step)
    with pytest.raises(CodecError):
        asked_in(encode({**HEADER, **change}, NOTHING))


def test_a_step_holds_its_payload_and_nothing_else() -> None:
    for arrays in ({}, {"payload": np.zeros(1, np.float32)}, {**NOTHING, "weights": np.zeros(1, np.float32)}):
        with pytest.raises(CodecError, match="not a step"):
            asked_in(encode(HEADER, arrays))


def test_a_payload_stays_out_of_a_log() -> None:
    assert "secret" not in repr(Step("run", 2, 1, 4, 3, b"secret"))


def test_a_request_for_a_statement_survives_the_wire_and_is_of_no_round() -> None:
    asked = Certify("run", 4)
    assert asked_in(asked.to_bytes()) == asked
    assert (asked.round, asked.attempt, number_of(asked)) == (0, 0, 1)


@pytest.mark.parametrize("change", [{"round": 1}, {"attempt": 1}, {"more": 1}, {"owner": -1}, {"run": ""}], ids=repr)
def test_what_is_no_request_for_a_statement_is_refused(change: dict[str, object]) -> None:
    header = {"kind": "certify", "run": "run", "round": 0, "attempt": 0, "owner": 4, **change}
    with pytest.raises(CodecError):
        asked_in(encode(header, {}))
    with pytest.raises(CodecError):
        asked_in(encode({**header, "round": 0}, NOTHING))
