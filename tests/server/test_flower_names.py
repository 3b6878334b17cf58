"""Contract with flwr, the coordinator's side: every private name that the adapter uses is there and is what it was."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest
from flwr.common.config import get_fab_config
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, HEARTBEAT_PATIENCE, SUPERLINK_NODE_ID
from flwr.proto import control_pb2, fab_pb2, fleet_pb2, message_pb2, node_pb2, runtime_pb2
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.runtime import RuntimeHttpClient
from tacit.server import flower
from tacit.server.gateway import FLEET

FIELDS: Mapping[type, set[str]] = {
    control_pb2.RegisterNodeRequest: {"public_key"},
    control_pb2.RegisterNodeResponse: {"node_id"},
    control_pb2.UnregisterNodeRequest: {"node_id"},
    control_pb2.ListNodesResponse: {"nodes_info"},
    control_pb2.StartRunRequest: {"fab"},
    control_pb2.StartRunResponse: {"run_id"},
    control_pb2.StopRunRequest: {"run_id"},
    fab_pb2.Fab: {"hash_str", "content"},
    fleet_pb2.PushMessagesRequest: {"node", "messages_list", "message_object_trees"},
    message_pb2.ConfirmMessageReceivedRequest: {"node", "run_id", "message_object_id"},
    message_pb2.ObjectTree: {"object_id", "children"},
    node_pb2.NodeInfo: {"node_id", "public_key", "status"},
    runtime_pb2.AcquireTaskRequest: {"supported_task_types"},
    runtime_pb2.AcquireTaskResponse: {"task", "token"},
    runtime_pb2.GetNodesResponse: {"nodes"},
    runtime_pb2.PullAppMessagesRequest: {"message_ids"},
    runtime_pb2.PullAppMessagesResponse: {"messages_list"},
    runtime_pb2.PushAppMessagesRequest: {"messages_list", "message_object_trees"},
    runtime_pb2.PushAppMessagesResponse: {"message_ids"},
    runtime_pb2.SendTaskHeartbeatResponse: {"success"},
}


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.__name__)
def test_messages_have_their_fields(message: type) -> None:
    assert FIELDS[message] <= set(message.DESCRIPTOR.fields_by_name)  # type: ignore[attr-defined]  # made by protobuf


CALLS = [
    *((ControlHttpClient, call) for call in ("ListNodes", "RegisterNode", "UnregisterNode", "StartRun", "StopRun")),
    *(
        (RuntimeHttpClient, call)
        for call in (
            "AcquireTask", "PullTaskInput", "SendTaskHeartbeat", "GetNodes", "PushMessages", "PullMessages",
            "ConfirmMessageReceived",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("client", "call"), CALLS)
def test_the_clients_have_their_calls(client: type, call: str) -> None:
    assert list(inspect.signature(getattr(client, call)).parameters) == ["self", "request"]


def test_interceptors_take_what_they_are_given() -> None:
    RuntimeTokenHttpInterceptor("token")
    SuperExecAuthHttpInterceptor(master_secret=b"secret", protected_methods={"/flwr.proto.Runtime/AcquireTask"})
    assert TaskType.SERVER_APP == "flwr-serverapp"
    assert SUPERLINK_NODE_ID == 1


def test_a_saved_token_lives_for_a_minute() -> None:
    """What the documentation of `Channel.close` promises."""
    assert HEARTBEAT_DEFAULT_INTERVAL * HEARTBEAT_PATIENCE == 60


def test_the_placeholder_is_a_bundle() -> None:
    """It names no module that exists, and is the same bytes each time."""
    bundle = flower._bundle()
    assert bundle == flower._bundle()
    assert get_fab_config(bundle)["tool"]["flwr"]["app"]["components"]["serverapp"] == "tacit:none"


def test_the_gateway_knows_flowers_paths() -> None:
    """Each path that passes exists, and all that Flower serves beside them stays out."""
    fleet = {path for method, path in PROTOBUF_REQUEST_TYPES if method == "POST" and path.startswith("/v1/fleet/")}
    closed = {
        f"/v1/fleet/{call}"
        for call in ("register-node", "unregister-node", "get-run", "get-fab", "pull-object", "push-object")
    }
    assert set(FLEET) == fleet - closed
