"""Requests and replies as bytes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.codec import CodecError, decode, encode
from tacit.strategies.messages import Cohort, Recipe, Reply, Request, reply_from, request_from
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd", "lr": 1.0}, {"use": "fedavg"}, ({"stage": "clip", "norm": 0.3},), 3, 9, TERMS)
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


def test_a_masked_round_names_its_cohort_and_a_step_its_payload() -> None:
    cohort = Cohort((0, 4, 7), "ab" * 32)
    assert request_from(replace(REQUEST, cohort=cohort).to_bytes()).cohort == cohort
    assert request_from(REQUEST.to_bytes()).cohort is None
    found = reply_from(Reply("run", 2, 1, (4,), "ok", step=3, payload=b"\0\xff").to_bytes())
    assert (found.step, found.payload, found.total) == (3, b"\0\xff", None)


@pytest.mark.parametrize(("bits", "kind"), [(8, torch.uint8), (20, torch.uint32), (40, torch.uint64)])
def test_a_masked_vector_takes_no_more_memory_than_its_ring_needs(bits: int, kind: torch.dtype) -> None:
    total = torch.tensor([0, 1, (1 << bits) - 1]).to(kind)
    found = reply_from(Reply("run", 2, 1, (4,), "ok", total, bits, step=4).to_bytes()).total
    assert found is not None
    assert (found.dtype, found.tolist()) == (kind, total.tolist())
    assert reply_from(Reply("run", 2, 1, (4,), "ok", payload=b"").to_bytes()).payload == b""


@pytest.mark.parametrize(
    "cohort",
    [
        {"members": [0, 1]}, {"members": [1, 0], "roster": "ab" * 32}, {"members": [1, 1], "roster": "ab" * 32},
        {"members": [-1, 1], "roster": "ab" * 32}, {"members": [True], "roster": "ab" * 32}, {"members": 3, "roster": ""},
        {"members": [1 << 31], "roster": "ab" * 32}, {"members": [0, 1], "roster": "AB" * 32},
        {"members": [0, 1], "roster": None}, {"members": [0, 1], "roster": "ab" * 32, "keys": []}, [0, 1],
    ],
)  # fmt: skip
def test_a_cohort_of_another_shape_is_refused(cohort: object) -> None:
    with pytest.raises(CodecError, match="cohort"):
        request_from(sent(lambda header: header.update(cohort=cohort)))


def test_a_refusal_carries_its_reason_and_code() -> None:
    said = Reply("run", 2, 1, (4,), "refused", reason="the cohort is too small", code="cohort")
    found = reply_from(said.to_bytes())
    assert (found.status, found.code, found.reason, found.total) == (
        "refused",
        "cohort",
        "the cohort is too small",
        None,
    )


def test_a_reason_is_cut_to_what_a_log_can_bear_and_a_longer_one_is_no_reply() -> None:
    assert len(reply_from(Reply("run", 2, 1, (4,), "refused", reason="x" * 5000).to_bytes()).reason) == 2000
    header = {
        "kind": "reply",
        "run": "r",
        "round": 1,
        "attempt": 0,
        "owner": 1,
        "step": 1,
        "status": "refused",
        "ring": None,
        "dim": 0,
    }
    assert reply_from(encode({**header, "reason": "no", "code": "work"}, {})).code == "work"
    with pytest.raises(CodecError, match="2000"):
        reply_from(encode({**header, "reason": "x" * 2001, "code": "work"}, {}))
    for code in ("Budget", "x" * 31, "a b", "a\n", 3, None):
        with pytest.raises(CodecError, match="code"):
            reply_from(encode({**header, "reason": "no", "code": code}, {}))
    with pytest.raises(CodecError, match="not a reply"):  # nothing rides along
        reply_from(encode({**header, "reason": "no", "code": "work", "loss": 0.5}, {}))


# --- what a request must say, and all that it may say ---


def sent(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The frame of `REQUEST` after a change to its header."""
    header, arrays = decode(REQUEST.to_bytes())
    change(header)
    return encode(header, arrays)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a word more": lambda header: header.update(bundle="fab"),
    "a word less": lambda header: header.pop("owner"),
    "no recipe": lambda header: header.update(recipe=None),
    "a recipe with a word more": lambda header: header["recipe"].update(code="print()"),
    "a recipe with a word less": lambda header: header["recipe"].pop("terms"),
    "an empty name of the run": lambda header: header.update(run=""),
    "a name of the run that fills a disk": lambda header: header.update(run="r" * 1001),
    **{
        f"terms with {key} = {str(value)[:20]!r}": lambda header, key=key, value=value: header["recipe"]["terms"].update(
            {key: value}
        )
        for key, value in [
            ("task", "digits"), ("task", {}), ("task", {"use": 3}), ("task", {"use": "x" * 301}), ("code", None),
            ("code", "c" * 301), ("relation", 1), ("participation", "everyone"), ("population", 0), ("population", 2**53),
            ("population", True), ("population", 10.0), ("rounds", 0), ("rounds", "20"), ("extra", 1),
        ]
    },
    "terms with a word less": lambda header: header["recipe"]["terms"].pop("rounds"),
    "terms that are a list": lambda header: header["recipe"].update(terms=[]),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_request_says_all_that_an_owner_must_know_and_nothing_else(what: str) -> None:
    request_from(sent(lambda header: None))
    with pytest.raises(CodecError):
        request_from(sent(HOSTILE[what]))


def test_recipes_have_the_same_digest_where_they_ask_the_same_and_only_there() -> None:
    assert request_from(REQUEST.to_bytes()).recipe.digest() == RECIPE.digest()
    reordered = replace(RECIPE, solver=dict(reversed(RECIPE.solver.items())))
    assert reordered.digest() == RECIPE.digest()
    changes: list[dict[str, Any]] = [
        {"solver": {"use": "sgd", "lr": 2.0}}, {"algorithm": {"use": "fedavgm"}}, {"pipeline": ()}, {"least": 4}, {"most": 8},
        *({"terms": replace(TERMS, **{key: value})} for key, value in [
            ("task", {"use": "topics"}), ("code", "tacit 9"), ("relation", "add-remove"), ("rounds", 21),
            ("participation", {"use": "cyclic"}), ("population", 11),
        ]),
    ]  # fmt: skip
    assert len({RECIPE.digest(), *(replace(RECIPE, **change).digest() for change in changes)}) == len(changes) + 1


def test_a_reply_for_several_owners_never_travels() -> None:
    with pytest.raises(CodecError, match="one owner"):
        Reply("run", 1, 0, (1, 2), "ok", torch.zeros(1)).to_bytes()


FIELDS = ["kind", "run", "round", "attempt", "owner", "recipe", "status", "ring", "dim", "reason", "code"]
VALUES = st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        VALUES | st.just({"pipeline": [1], "solver": {}, "algorithm": {}, "least": 1, "most": 1, "terms": {}}),
    )
)
def test_headers_of_any_shape_give_codec_error_only(header: dict[str, object]) -> None:
    frame = encode({**header}, {"weights": np.zeros(2, np.float32), "broadcast": np.zeros(0, np.float32)})
    for kind, parse in (("train", request_from), ("reply", reply_from)):
        with pytest.raises(CodecError):
            parse(frame)
        with pytest.raises(CodecError):
            parse(encode({**header, "kind": kind}, {"weights": np.zeros(1), "broadcast": np.zeros(1, np.float32)}))


def test_an_ok_reply_without_its_message_or_with_floats_for_ring_elements_is_refused() -> None:
    header = {
        "kind": "reply",
        "run": "r",
        "round": 1,
        "attempt": 0,
        "owner": 1,
        "step": 1,
        "status": "ok",
        "code": "",
        "reason": "",
    }
    with pytest.raises(CodecError, match="without its message"):
        reply_from(encode({**header, "ring": None, "dim": 0}, {}))
    with pytest.raises(CodecError, match="packed"):
        reply_from(encode({**header, "ring": 20, "dim": 2}, {"total": np.zeros(2, np.float32)}))
    with pytest.raises(CodecError, match="says 3"):
        reply_from(encode({**header, "ring": None, "dim": 3}, {"total": np.zeros(2, np.float32)}))
    with pytest.raises(CodecError, match="bytes for"):
        reply_from(encode({**header, "ring": 20, "dim": 2**30}, {"total": np.zeros(2, np.uint8)}))


def test_a_reply_of_more_numbers_than_were_asked_for_is_not_unpacked() -> None:
    """Packed to a bit each they take an eighth of a byte, and unpacked up to eight: nobody may make the reader do that."""
    whole = Reply("run", 1, 0, (4,), "ok", torch.ones(640, dtype=torch.int64), 1).to_bytes()
    assert len(reply_from(whole, 640).total) == 640
    tracemalloc.start()
    try:
        bits = np.full(1 << 20, 255, np.uint8)
        header = {"kind": "reply", "run": "r", "round": 1, "attempt": 0, "owner": 4, "step": 4, "status": "ok", "code": "",
                  "reason": "", "ring": 1}  # fmt: skip
        frame = encode({**header, "dim": 8 << 20}, {"total": bits})
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for numbers in (639, 0, (8 << 20) - 1):
            with pytest.raises(CodecError, match="were asked for"):
                reply_from(frame, numbers)
        assert tracemalloc.get_traced_memory()[1] - before < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("run", ["a\nb", "\x1b[2J", "\u202eevil", ""])
def test_a_runs_name_is_one_printable_line(run: str) -> None:
    """It is quoted in the logs of both sides."""
    with pytest.raises(CodecError, match="name of the run"):
        request_from(replace(REQUEST, run=run).to_bytes())
    with pytest.raises(CodecError, match="name of the run"):
        reply_from(Reply(run, 2, 1, (4,), "refused").to_bytes())


def test_a_reason_is_one_printable_line() -> None:
    """One side escapes what it quotes, the other believes nothing."""
    sent = Reply("run", 2, 1, (4,), "refused", reason="no\nINFO approved").to_bytes()
    assert reply_from(sent).reason == r"no\nINFO approved"
    with pytest.raises(CodecError, match="printable"):
        reply_from(sent.replace(rb"no\\nINFO", rb"no \nINFO"))


def test_a_pipeline_has_no_more_stages_than_anybody_needs() -> None:
    row = {"stage": "clip", "norm": 0.3}
    assert len(request_from(replace(REQUEST, recipe=replace(RECIPE, pipeline=(row,) * 64)).to_bytes()).recipe.pipeline)
    with pytest.raises(CodecError, match="65 stages"):
        request_from(replace(REQUEST, recipe=replace(RECIPE, pipeline=(row,) * 65)).to_bytes())


@given(st.integers(0, 50), st.integers(0, 3))
def test_a_reply_in_writable_memory_is_read_in_place(length: int, shift: int) -> None:
    """The numbers are those of a copy; the memory is the frame's own where it is aligned, as every frame's head makes it."""
    sent = Reply("run", 1, 0, (0,), "ok", torch.arange(float(length))).to_bytes()
    memory = np.zeros(len(sent) + shift, np.uint8)
    memory[shift:] = np.frombuffer(sent, np.uint8)
    found = reply_from(memoryview(memory)[shift:])
    assert found.total is not None
    assert torch.equal(found.total, torch.arange(float(length)))
    memory[:] = 0
    assert torch.equal(found.total, torch.zeros(length)) == (shift == 0 or length < 2)
