"""Worker: refuses before the data is touched, and afterwards nothing but the message depends on the data (PRIVACY.md 12)."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.client.worker import Permit, RefusedError, Worker, agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Pipeline
from tacit.strategies.codec import MAGIC, CodecError
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Reply, Request, reply_from
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.metrics import Classification
from tacit.tasks.trainable import Trainable
from torch import nn

CLIP = {"stage": "clip", "norm": 0.5}
CENTRAL = {"stage": "central-gaussian", "noise_multiplier": 2.0}
PIPELINES: dict[str, tuple[dict[str, Any], ...]] = {
    "nothing": (),
    "clip": (CLIP,),
    "central": (CLIP, CENTRAL),
    "adaptive": ({"stage": "adaptive-clip", "norm": 0.5}, CENTRAL),
    "measured": (CLIP, {"stage": "measure"}, CENTRAL),
    "own": (CLIP, {"stage": "own-gaussian", "noise_multiplier": 2.0}),
    "skellam": (CLIP, {"stage": "rotate"}, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 2.0}),
    "discrete": (CLIP, {"stage": "encode"}, {"stage": "discrete-gaussian", "noise_multiplier": 2.0}),
}
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"use": "sgd", "lr": 0.5},
    "adam": {"use": "adam", "steps": 2, "batch": 2},
    "clipped-gradient": {"use": "clipped-gradient", "norm": 1.0, "denominator": 5.0},
    "dp-sgd": {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.5, "denominator": 3.0},
}
DIM = 15
TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)


class Untouchable(Examples):
    """Data that fails whoever looks at it."""

    def __init__(self) -> None:
        return

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the data was touched: {name}")

    def __len__(self) -> int:
        raise AssertionError("the data was counted")


def learner(module: nn.Module | None = None) -> Learner:
    torch.manual_seed(0)
    made = module or nn.Linear(4, 3)
    return Learner(made, cross_entropy, Trainable(made), correct=Classification().correct)


def data(rows: int = 5, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(rows, 4, generator=generator), torch.arange(rows) % 3)


def request(pipeline: str = "central", solver: str = "sgd", algorithm: str = "fedavg", **changes: Any) -> Request:
    recipe = Recipe(SOLVERS[solver], {"use": algorithm}, PIPELINES[pipeline], 5, 10, TERMS)
    made = Request("run", 3, 1, 4, recipe, torch.zeros(DIM), torch.zeros(DIM if algorithm == "scaffold" else 0))
    return replace(made, **changes)


def worker(examples: Examples | None = None, **given: Any) -> Worker:
    return Worker(
        4, given.pop("learner", learner()), data() if examples is None else examples, SeededEntropy(7), **given
    )


def recipe(**changes: Any) -> Request:
    return request(recipe=replace(request().recipe, **changes))


UNSOUND: dict[str, tuple[Request, str]] = {
    "another owner": (request(owner=5), "the request is for owner 5; this is owner 4"),
    "a shorter model": (request(weights=torch.zeros(DIM - 1)), "has 15 numbers; the request carries 14"),
    "a longer model": (request(weights=torch.zeros(DIM + 1)), "carries 16"),
    "a broadcast to an algorithm without": (request(broadcast=torch.zeros(DIM)), "fedavg broadcasts 0 numbers"),
    "no control variate for scaffold": (
        request("clip", algorithm="scaffold", broadcast=torch.zeros(0)), "scaffold broadcasts 15 numbers",
    ),
    "unknown solver": (recipe(solver={"use": "adamw"}), "unknown"),
    "solver with an unknown key": (recipe(solver={"use": "sgd", "path": "/etc"}), "unknown key"),
    "solver of a wrong type": (recipe(solver={"use": "sgd", "lr": "0.1"}), "valid number"),
    "no solver": (recipe(solver={}), "unknown"),
    "a name to import": (recipe(solver={"use": "os:system"}), "unknown"),
    "unknown algorithm": (recipe(algorithm={"use": "fedsgd"}), "unknown"),
    "algorithm that does not fit": (recipe(algorithm={"use": "fedprox"}), "proximal"),
    "scaffold at example level": (request("clip", "clipped-gradient", "scaffold"), "bounded per owner"),
    "robust aggregator": (recipe(algorithm={"use": "fedavg", "aggregator": "median"}), "only the sum"),
    "unknown stage": (recipe(pipeline=({"stage": "clop"},)), "did you mean 'clip'"),
    "noise without a clip": (recipe(pipeline=(CENTRAL,)), "put a clip before it"),
    "a clip after the noise": (recipe(pipeline=(CLIP, CENTRAL, CLIP)), "clip"),
    "two noises": (recipe(pipeline=(CLIP, CENTRAL, CENTRAL)), "central-gaussian"),
    "noise still to be calibrated": (
        recipe(pipeline=(CLIP, {"stage": "central-gaussian", "noise_multiplier": "calibrate"})), "not solved",
    ),
    "negative noise": (
        recipe(pipeline=(CLIP, {"stage": "central-gaussian", "noise_multiplier": -1.0})), "at least 0",
    ),
    "a ring too small": (recipe(pipeline=(CLIP, {"stage": "encode", "bits": 2})), "ring"),
    "a norm that is no number": (recipe(pipeline=({"stage": "clip", "norm": math.nan},)), "norm"),
    "no cohort": (recipe(least=0), "a sum of 0 to 10"),
    "a cohort upside down": (recipe(least=11), "a sum of 11 to 10"),
    "noise beyond computing": (
        recipe(pipeline=(*PIPELINES["discrete"][:2], {"stage": "discrete-gaussian", "noise_multiplier": 1e300})), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_unsound_is_refused_before_the_data_is_touched(what: str) -> None:
    asked, words = UNSOUND[what]
    with pytest.raises(RefusedError) as caught:
        worker(Untouchable()).contribute(asked)
    assert words in str(caught.value)
    assert str(caught.value)
    if what not in ("another owner", "a norm that is no number"):  # JSON has no NaN
        reply = reply_from(worker(Untouchable()).handle(asked.to_bytes()))
        assert (reply.status, reply.total, reply.owners) == ("refused", None, (4,))
        assert reply.code in ("model", "recipe")
        assert words in reply.reason


def test_a_sound_request_does_reach_the_data() -> None:
    with pytest.raises(AssertionError, match="the data was"):
        worker(Untouchable()).contribute(request())


@pytest.mark.parametrize("solver", ["clipped-gradient", "dp-sgd"])
def test_batch_norm_with_per_example_gradients_is_refused_before_the_data(solver: str) -> None:
    model = learner(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    asked = request("nothing", solver, weights=torch.zeros(model.dim))
    with pytest.raises(RefusedError, match="BatchNorm"):
        worker(Untouchable(), learner=model).contribute(asked)


def test_the_policy_is_asked_before_the_data_is_touched_and_sees_the_traced_pipeline() -> None:
    @dataclass
    class Strict:
        seen: list[tuple[Request, Pipeline]] = field(default_factory=list)

        def check(self, asked: Request, concrete: Pipeline) -> None:
            self.seen.append((asked, concrete))
            raise RefusedError("no more rounds this week")

    policy = Strict()
    reply = reply_from(worker(Untouchable(), policy=policy).handle(request().to_bytes()))
    assert (reply.status, reply.reason) == ("refused", "no more rounds this week")
    ((asked, concrete),) = policy.seen
    assert asked.recipe == request().recipe
    assert concrete.final.noise[0].place == "server"
    Permit().check(asked, concrete)


NUMBERS = st.one_of(
    st.sampled_from(
        [
            0,
            -1,
            1,
            2**31,
            2**62,
            1e-300,
            1e300,
            -1e300,
            5e-324,
            1e38,
            0.5,
            2.0**22,
            2.0**23,
            2.0**34,
            True,
            None,
            "calibrate",
            [],
            {},
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63),
)


@settings(max_examples=150)
@given(st.data())
def test_a_request_of_any_numbers_is_agreed_on_or_refused(source: st.DataObject) -> None:
    """A malicious coordinator can make the agent refuse, never break."""
    rows = [dict(row) for row in PIPELINES[source.draw(st.sampled_from(sorted(PIPELINES)))]]
    solver = dict(SOLVERS[source.draw(st.sampled_from(sorted(SOLVERS)))])
    for row in source.draw(st.lists(st.sampled_from([solver, *rows]), min_size=1, max_size=2)):
        keys = [key for key in row if key not in ("use", "stage")] or ["surprise"]
        row[source.draw(st.sampled_from(keys))] = source.draw(NUMBERS)
    counts = st.sampled_from([0, 1, 2, 10, 2**31, 2**62 - 1])
    asked = replace(
        request(),
        recipe=Recipe(solver, {"use": "fedavg"}, tuple(rows), source.draw(counts), source.draw(counts), TERMS),
    )
    with contextlib.suppress(RefusedError):
        assert agreed(asked, learner()).pipeline.final.dim >= DIM


@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_are_no_request(junk: bytes) -> None:
    for frame in (junk, MAGIC + junk):
        with pytest.raises(CodecError):
            worker(Untouchable()).handle(frame)
    with pytest.raises(CodecError):  # a reply is no request
        worker(Untouchable()).handle(Reply("run", 1, 0, (4,), "refused").to_bytes())


# --- after the data was touched ---

WILD = st.one_of(st.sampled_from([0.0, math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, 1e19]), st.floats(width=32))
COMBINATIONS = [
    (pipeline, solver)
    for pipeline in PIPELINES
    for solver in SOLVERS
    if (solver in ("sgd", "adam") and pipeline != "nothing")
    or (solver == "clipped-gradient" and pipeline not in ("adaptive",))
    or (solver == "dp-sgd" and pipeline in ("nothing", "clip"))
]


@pytest.mark.parametrize(("pipeline", "solver"), COMBINATIONS)
@settings(max_examples=12)
@given(rows=st.lists(st.lists(WILD, min_size=4, max_size=4), min_size=1, max_size=6))
def test_the_length_and_kind_of_a_reply_do_not_depend_on_the_data(
    pipeline: str, solver: str, rows: list[list[float]]
) -> None:
    faults: list[tuple[int, int, str]] = []
    shared = learner()
    frame = request(pipeline, solver).to_bytes()
    usual = worker(learner=shared).handle(frame)
    examples = Examples(torch.tensor(rows, dtype=torch.float32), torch.zeros(len(rows), dtype=torch.int64))
    found = worker(examples, learner=shared, on_fault=lambda *what: faults.append(what)).handle(frame)
    assert len(found) == len(usual)
    reply = reply_from(found)
    assert (reply.status, reply.reason) == ("ok", "")
    assert reply.total is not None
    assert bool(torch.isfinite(reply.total).all())
    assert header(found) == header(usual)
    assert all(fault[:2] == (4, 3) for fault in faults)


def header(frame: bytes) -> bytes:
    """All of a frame but its numbers."""
    size = int.from_bytes(frame[8:12], "little")
    return frame[: 12 + size]


@pytest.mark.parametrize("pipeline", [name for name in PIPELINES if name != "nothing"])
def test_a_contribution_that_is_not_finite_becomes_zero_with_the_noise_that_a_zero_would_have(pipeline: str) -> None:
    faults: list[tuple[int, int, str]] = []
    broken = data()
    broken.inputs[2, 1] = math.inf
    frame = request(pipeline).to_bytes()
    found = reply_from(worker(broken, on_fault=lambda *what: faults.append(what)).handle(frame)).total
    still = reply_from(worker(data(rows=0)).handle(frame)).total  # nothing to learn from: the zero vector
    assert found is not None
    assert still is not None
    if pipeline == "adaptive":  # the bit says longer than the norm (any data may), the vector is zero
        assert found[-1] == -still[-1]
        found, still = found[:-1], still[:-1]
    assert torch.equal(found, still)
    ((owner, round, what),) = faults
    assert (owner, round) == (4, 3)
    assert "not finite" in what


def test_the_fault_is_logged_without_a_number(caplog: pytest.LogCaptureFixture) -> None:
    broken = data()
    broken.inputs[0, 0] = math.nan
    with caplog.at_level("WARNING"):
        reply_from(worker(broken).handle(request().to_bytes()))
    (record,) = caplog.records
    assert "zero vector" in record.getMessage()
    assert "nan" not in record.getMessage().lower().replace("finite", "")


def test_a_measure_of_right_and_wrong_where_there_is_none_is_refused_before_the_data() -> None:
    made = nn.Linear(4, 3)
    with pytest.raises(RefusedError, match=r"nothing is right or wrong in this task; give of"):
        worker(Untouchable(), learner=Learner(made, cross_entropy, Trainable(made))).contribute(request("measured"))


def test_the_model_that_came_is_measured_not_the_one_that_was_trained() -> None:
    """Weights that tell all: the owner is right on everything, however far it then learns."""
    sure = Examples(torch.eye(4)[:3], torch.arange(3))
    weights = torch.cat([50 * torch.eye(3, 4).flatten(), torch.zeros(3)])
    total, _ = worker(sure).contribute(request("measured", weights=weights))
    block = (total[-2:].to(torch.float64) / total[:-2].to(torch.float64).norm().clamp(min=1)).tolist()
    assert block[0] > 0 > block[1]  # all right, no loss
    assert block[0] == pytest.approx(-block[1])


def test_a_turn_that_is_not_finite_is_not_remembered() -> None:
    broken = data()
    broken.inputs[0, 0] = math.nan
    owner = worker(broken, on_fault=lambda *what: None)
    owner.contribute(request("clip", algorithm="scaffold"))
    assert owner.memory is not None
    assert torch.equal(owner.memory, torch.zeros(DIM))
    good = worker()
    good.contribute(request("clip", algorithm="scaffold"))
    assert good.memory is not None
    assert float(good.memory.norm()) > 0


@pytest.mark.parametrize(("pipeline", "solver"), COMBINATIONS)
def test_the_same_request_gives_the_same_bytes_and_another_attempt_fresh_noise(pipeline: str, solver: str) -> None:
    shared = learner()
    frame = request(pipeline, solver).to_bytes()
    assert worker(learner=shared).handle(frame) == worker(learner=shared).handle(frame)
    again = reply_from(worker(learner=shared).handle(request(pipeline, solver, attempt=2).to_bytes())).total
    first = reply_from(worker(learner=shared).handle(frame)).total
    noisy = pipeline in ("own", "skellam", "discrete") or solver == "dp-sgd"
    drawn = noisy or solver == "adam"
    assert torch.equal(again, first) is not drawn


@pytest.mark.parametrize("number", ["round", "attempt"])
def test_noise_of_different_rounds_and_attempts_is_unrelated(number: str) -> None:
    """Replies of one owner to 200 rounds with the same data: noise around one mean, uncorrelated."""
    totals = []
    owner = worker()
    for k in range(200):
        total, _ = owner.contribute(request("own", **{number: k}))
        totals.append(total.to(torch.float64).numpy())
    noise = np.array(totals) - np.mean(totals, axis=0)
    correlation = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert abs(correlation) < 5.5 / math.sqrt(199 * DIM)


def test_a_repr_shows_neither_data_nor_memory() -> None:
    text = repr(worker(memory=torch.full((DIM,), 8.125)))
    assert "8.125" not in text
    assert "Examples" not in text
    assert "Entropy" not in text


def test_nothing_but_the_message_leaves() -> None:
    """The header of a reply says whose round it answers, and its shape: no loss, no count, no time (PRIVACY.md 6)."""
    frame = worker().handle(request("skellam").to_bytes())
    size = int.from_bytes(frame[8:12], "little")
    said = json.loads(frame[12 : 12 + size])
    assert set(said["header"]) == {
        "kind",
        "run",
        "round",
        "attempt",
        "owner",
        "step",
        "status",
        "code",
        "reason",
        "ring",
        "dim",
    }
    assert [row[0] for row in said["arrays"]] == ["total"]
