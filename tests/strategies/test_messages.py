"""Requests and replies as bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.codec import CodecError, encode
from tacit.strategies.messages import Recipe, Reply, Request, reply_from, request_from

RECIPE = Recipe({"use": "sgd", "lr": 1.0}, {"use": "fedavg"}, ({"stage": "clip", "norm": 0.3},), 3, 9)
REQUEST = Request("run", 2, 1, 4, RECIPE, torch.tensor([1.0, -2.5]), torch.tensor([0.5]))


def test_a_request_survives_the_wire() -> None:
    found = request_from(REQUEST.to_bytes())
    assert (found.run, found.round, found.attempt, found.owner) == ("run", 2, 1, 4)
    assert found.recipe == RECIPE
    assert torch.equal(found.weights, REQUEST.weights)
    assert torch.equal(found.broadcast, REQUEST.broadcast)


@pytest.mark.parametrize(
    ("total", "ring"),
    [(torch.tensor([1.5, -2.0]), None), (torch.tensor([5, -7]), None), (torch.tensor([0, 2**20 - 1, 77]), 20)],
)
def test_a_reply_survives_the_wire(total: torch.Tensor, ring: int | None) -> None:
    found = reply_from(Reply("run", 2, 1, (4,), "ok", total, ring).to_bytes())
    assert found.total is not None
    assert torch.equal(found.total, total)
    assert found.total.dtype == total.dtype
    assert (found.owners, found.status, found.ring) == ((4,), "ok", ring)


def test_a_refusal_carries_its_reason() -> None:
    found = reply_from(Reply("run", 2, 1, (4,), "refused", reason="the cohort is too small").to_bytes())
    assert (found.status, found.reason, found.total) == ("refused", "the cohort is too small", None)


def test_a_reply_for_several_owners_never_travels() -> None:
    with pytest.raises(CodecError, match="one owner"):
        Reply("run", 1, 0, (1, 2), "ok", torch.zeros(1)).to_bytes()


FIELDS = ["kind", "run", "round", "attempt", "owner", "recipe", "status", "ring", "dim", "reason"]
VALUES = st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES | st.just({"pipeline": [1], "solver": {}, "algorithm": {}})))
def test_headers_of_any_shape_give_codec_error_only(header: dict[str, object]) -> None:
    frame = encode({**header}, {"weights": np.zeros(2, np.float32), "broadcast": np.zeros(0, np.float32)})
    for kind, parse in (("train", request_from), ("reply", reply_from)):
        with pytest.raises(CodecError):
            parse(frame)
        with pytest.raises(CodecError):
            parse(encode({**header, "kind": kind}, {"weights": np.zeros(1), "broadcast": np.zeros(1, np.float32)}))


def test_an_ok_reply_without_its_message_or_with_floats_for_ring_elements_is_refused() -> None:
    header = {"kind": "reply", "run": "r", "round": 1, "attempt": 0, "owner": 1, "status": "ok", "reason": ""}
    with pytest.raises(CodecError, match="without its message"):
        reply_from(encode({**header, "ring": None, "dim": 0}, {}))
    with pytest.raises(CodecError, match="packed"):
        reply_from(encode({**header, "ring": 20, "dim": 2}, {"total": np.zeros(2, np.float32)}))
    with pytest.raises(CodecError, match="says 3"):
        reply_from(encode({**header, "ring": None, "dim": 3}, {"total": np.zeros(2, np.float32)}))
    with pytest.raises(CodecError, match="bytes for"):
        reply_from(encode({**header, "ring": 20, "dim": 2**61}, {"total": np.zeros(2, np.uint8)}))
