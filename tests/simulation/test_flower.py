"""The apps for Flower's own runtimes: over its simulation runtime (ray taken away, or not) and against grids that misbehave."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tacit
import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend import Backend
from flwr.simulation.run_simulation import _run_simulation
from flwr.supercore.task_identity import TaskIdentity
from flwr.supercore.telemetry import EventType
from tacit.simulation.artefacts import RunFolder
from tacit.simulation.flower import OverGrid, RollError, _content, _frame, client, roll, server
from tacit.simulation.weights import load_into
from tacit.strategies.codec import CodecError
from tacit.strategies.federation import build, learner_for
from tacit.strategies.messages import Reply, Request, request_from

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "examples" / "flower-app"


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower tells the process of an app before it loads it; messages are made in its name."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class InProcess(Backend):
    """Flower's simulation runtime with its apps in this process instead of in ray's."""

    def __init__(self, config: object) -> None:
        self._load: Callable[[], ClientApp] | None = None

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        self._load = app_fn

    @property
    def num_workers(self) -> int:
        return 1

    def is_worker_idle(self) -> bool:
        return True

    def terminate(self) -> None:
        return

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        assert self._load is not None
        return self._load()(message, context), context


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "flwr.server.superlink.fleet.vce.backend.raybackend"
    module = types.ModuleType(name)
    module.RayBackend = InProcess  # type: ignore[attr-defined]  # as Flower's own module has it
    monkeypatch.setitem(sys.modules, name, module)


def simulated(config: Path, out: Path, owners: int, backend: str) -> None:
    """One run of the apps over Flower's simulation runtime."""
    settings = {"config": str(config), "seed": 5, "out": str(out), "wait": 60}
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
    leaving = EventType.PYTHON_API_RUN_SIMULATION_LEAVE
    _run_simulation(
        owners, leaving, client, server, backend_name=backend, server_app_context=context,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )  # fmt: skip


def check_against_memory(config: Path, out: Path) -> None:
    """Law: the transport does not matter, to the bit."""
    run = tacit.simulate(config, seed=5, engine="in-memory")
    module = run.model()
    load_into(module, RunFolder(out).model)
    assert torch.equal(run.task.trainable(module).flatten(module), run.weights)
    rows = [json.loads(line)["metrics"] for line in RunFolder(out).rows.read_text().splitlines()]
    assert rows == [row.metrics for row in run.rounds]


@pytest.fixture
def telemetry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flwr.supercore.telemetry.FLWR_TELEMETRY_ENABLED", "0")


@pytest.mark.usefixtures("without_ray", "telemetry_off")
def test_a_seeded_run_over_flowers_runtime_is_the_one_in_memory(tmp_path: Path) -> None:
    simulated(APP / "digits.toml", tmp_path / "run", 2, "in-process")
    check_against_memory(APP / "digits.toml", tmp_path / "run")


SCAFFOLD = """
name = "remembering"
task = { use = "digits", model = "softmax" }
population = { owners = 2 }
rounds = { total = 2, participation = { use = "everyone" }, quorum = 1.0, deadline = "60s" }
local = { use = "sgd", lr = 0.1 }
strategy = { use = "scaffold" }
evaluation = { every = 1 }
budget = { epsilon = inf }
privacy = { unit = "owner", relation = "zero-out", delta = 0.01, pipeline = [] }
"""


@pytest.mark.usefixtures("without_ray", "telemetry_off")
def test_what_owners_remember_survives_between_messages(tmp_path: Path) -> None:
    config = tmp_path / "remembering.toml"
    config.write_text(SCAFFOLD)
    simulated(config, tmp_path / "run", 2, "in-process")
    check_against_memory(config, tmp_path / "run")


@pytest.mark.soak
@pytest.mark.usefixtures("telemetry_off")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is an extra: pip install 'tacit[cluster]'")
@pytest.mark.filterwarnings("ignore::Warning")  # ray's own
def test_a_seeded_run_over_ray_is_the_one_in_memory(tmp_path: Path) -> None:
    simulated(APP / "digits.toml", tmp_path / "run", 2, "ray")
    check_against_memory(APP / "digits.toml", tmp_path / "run")


class Nodes:
    """A grid whose nodes answer in this process, at once; `answers` may tell lies."""

    def __init__(
        self, configs: list[dict[str, Any]], answers: Callable[[Message], Message | None] | None = None
    ) -> None:
        self._contexts = {
            100 + index: Context(1, 100 + index, config, RecordDict(), {}) for index, config in enumerate(configs)
        }
        self._answers = answers
        self._waiting: dict[str, Message] = {}

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            names.append(f"letter-{len(self._waiting)}-{message.metadata.dst_node_id}")
            message.metadata.__dict__["_message_id"] = names[-1]
            self._waiting[names[-1]] = message
        return names

    def pull_messages(self, letters: Iterable[str]) -> Iterator[Message]:
        for letter in [each for each in letters if each in self._waiting]:
            message = self._waiting[letter]
            reply = self._answer(message)
            if reply is not None:
                yield reply

    def _answer(self, message: Message) -> Message | None:
        if self._answers is not None:
            return self._answers(message)
        try:
            return client(message, self._contexts[message.metadata.dst_node_id])
        except RollError as error:
            return Message(Error(code=1, reason=str(error)), reply_to=message)


def node(owner: int, of: int = 2) -> dict[str, Any]:
    return {"partition-id": owner, "num-partitions": of}


def test_every_owner_is_found_whatever_the_order_of_nodes() -> None:
    assert roll(Nodes([node(1), node(0)]), 2, 5.0) == {1: 100, 0: 101}  # type: ignore[arg-type]  # as much of a Grid as is used


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ([node(0), node(0)], "two nodes say that they are owner 0"),
        ([node(0, 3), node(1, 3)], "owner . of 3, but population.owners = 2"),
        ([node(0), node(2)], "owner 2 of 2"),
        ([node(0)], "1 of 2 owners came within 0.2 s, without 1;"),
        ([node(0), {}], "partition-id = None"),
        ([node(0), {"partition-id": "1"}], "partition-id = '1'"),
        ([node(0), {"partition-id": -1}], "partition-id = -1"),
    ],
)
def test_a_roll_that_does_not_add_up_says_what_to_do(configs: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(RollError, match=words):
        roll(Nodes(configs), 2, 0.2)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def asked() -> list[Request]:
    federation = build(tacit.config.load(APP / "digits.toml"))
    weights = learner_for(federation.task, 5).weights()
    recipe = federation.recipe(federation.pipeline)
    return [Request("run-1", 1, 0, owner, recipe, weights) for owner in range(2)]


SOURCE = "population:0/2?seed=5&partition=dirichlet&alpha=0.3"


def gathered(asked: list[Request], answers: Callable[[Message], Message | None] | None, wait: float) -> list[Reply]:
    grid = Nodes([node(0), node(1)], answers)
    return OverGrid(grid, {0: 100, 1: 101}, SOURCE, 5).gather(asked, wait)  # type: ignore[arg-type]


def test_every_owner_answers_for_itself(asked: list[Request]) -> None:
    replies = gathered(asked, None, 60.0)
    assert sorted(reply.owners for reply in replies) == [(0,), (1,)]
    assert all(reply.status == "ok" for reply in replies)


@pytest.mark.parametrize(
    "answer",
    [
        lambda message: Message(RecordDict(), reply_to=message),
        lambda message: Message(_content(b"nothing"), reply_to=message),
        lambda message: None,
    ],
    ids=["empty", "no frame", "silence"],
)
def test_whatever_a_node_sends_else_is_an_owner_that_did_not_answer(asked: list[Request], answer: Any) -> None:
    assert gathered(asked, answer, 0.2) == []


def test_an_error_of_flowers_says_why_an_owner_is_missing(asked: list[Request]) -> None:
    replies = gathered(asked, lambda message: Message(Error(code=1, reason="broken"), reply_to=message), 5.0)
    assert {(reply.owners, reply.status, reply.reason) for reply in replies} == {
        ((0,), "failed", "broken"),
        ((1,), "failed", "broken"),
    }


def test_a_node_cannot_answer_in_anothers_name(asked: list[Request]) -> None:
    def other(message: Message) -> Message:
        request = request_from(_frame(message.content))
        lie = Reply(request.run, request.round, request.attempt, (1 - request.owner,), "failed", reason="not me")
        return Message(_content(lie.to_bytes()), reply_to=message)

    assert gathered(asked, other, 5.0) == []


@pytest.mark.parametrize("frame", [b"\0", b"x" * 1000])
def test_a_frame_arrives_as_it_was_sent(frame: bytes) -> None:
    assert _frame(_content(frame, {"source": "s"})) == frame


def test_what_holds_no_frame_is_no_frame() -> None:
    with pytest.raises(CodecError):
        _frame(RecordDict())


def test_nothing_else_of_the_package_loads_the_apps() -> None:
    """Whoever imports tacit, simulates or runs an agent does not pay for them."""
    for room in ("commands", "privacy", "tasks", "strategies", "server", "client", "simulation"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "simulation.flower import" not in text, path
            assert room != "simulation" or "from .flower import" not in text, path
