"""Contract with flwr, its own runtimes: the public names that the apps use are there and are what they were."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower tells the process of an app before it loads it; messages are made in its name."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.mark.parametrize(
    ("call", "parameters"),
    [("get_node_ids", ["self"]), ("push_messages", ["self", "messages"]), ("pull_messages", ["self", "message_ids"])],
)
def test_a_grid_has_its_calls(call: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(Grid, call)).parameters) == parameters


def test_a_context_has_its_parts() -> None:
    context = Context(run_id=1, node_id=2, node_config={"partition-id": 3}, state=RecordDict(), run_config={"seed": 4})
    assert (context.run_id, context.node_config["partition-id"], context.run_config["seed"]) == (1, 3, 4)


def test_a_message_and_its_reply() -> None:
    content = RecordDict({"tacit": ConfigRecord({"seed": 5})})
    message = Message(content, 7, MessageType.TRAIN, ttl=60.0)
    assert message.metadata.dst_node_id == 7
    reply = Message(RecordDict({"tacit": ConfigRecord({"owner": 1})}), reply_to=message)
    assert reply.metadata.src_node_id == 7
    assert reply.content.config_records["tacit"]["owner"] == 1
    assert not reply.has_error()
    assert Message(Error(code=1, reason="broken"), reply_to=message).error.reason == "broken"


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_bytes_travel_as_an_array(size: int) -> None:
    frame = np.arange(size, dtype=np.uint8)
    record = RecordDict({"frame": ArrayRecord({"frame": Array(frame)})}).array_records["frame"]
    assert record["frame"].numpy().tobytes() == frame.tobytes()


def test_an_app_takes_its_functions_and_is_called_with_a_context() -> None:
    client, server = ClientApp(), ServerApp()
    context = Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})
    called = []

    @client.train()
    def train(message: Message, given: Context) -> Message:
        return Message(RecordDict(), reply_to=message)

    @client.query()
    def query(message: Message, given: Context) -> Message:
        return Message(RecordDict({"q": ConfigRecord()}), reply_to=message)

    @server.main()
    def serve(grid: Grid, given: Context) -> None:
        called.append(given)

    assert not client(Message(RecordDict(), 2, MessageType.TRAIN), context).content
    assert "q" in client(Message(RecordDict(), 2, MessageType.QUERY), context).content
    server(None, context)  # type: ignore[arg-type]  # it passes the grid on
    assert called == [context]
