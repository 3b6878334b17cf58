"""Contract with flwr, the owner's side: every private name that the adapter uses is there and is what it was."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common import constant
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, node_pb2, recorddict_pb2
from flwr.supercore import constant as core
from flwr.supercore.primitives import asymmetric
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

FIELDS: Mapping[type, set[str]] = {
    fleet_pb2.ActivateNodeRequest: {"public_key", "heartbeat_interval"},
    fleet_pb2.ActivateNodeResponse: {"node_id"},
    fleet_pb2.DeactivateNodeRequest: {"node_id"},
    fleet_pb2.PullMessagesRequest: {"node"},
    fleet_pb2.PullMessagesResponse: {"messages_list"},
    fleet_pb2.PushMessagesRequest: {"node", "messages_list", "message_object_trees"},
    heartbeat_pb2.SendNodeHeartbeatRequest: {"node", "heartbeat_interval"},
    heartbeat_pb2.SendNodeHeartbeatResponse: {"success"},
    message_pb2.Message: {"metadata", "content", "error"},
    message_pb2.Metadata: {
        "run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "ttl", "message_type", "created_at",
    },
    message_pb2.ObjectTree: {"object_id"},
    node_pb2.Node: {"node_id"},
    recorddict_pb2.RecordDict: {"items"},
    recorddict_pb2.ConfigRecord: {"items"},
    recorddict_pb2.ConfigRecordValue: {"bytes"},
}  # fmt: skip


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.__name__)
def test_messages_have_their_fields(message: type) -> None:
    assert FIELDS[message] <= set(message.DESCRIPTOR.fields_by_name)  # type: ignore[attr-defined]  # made by protobuf


@pytest.mark.parametrize(
    "call",
    ["ActivateNode", "DeactivateNode", "SendNodeHeartbeat", "PullMessages", "PushMessages"],
)
def test_the_client_has_its_calls(call: str) -> None:
    assert list(inspect.signature(getattr(FleetHttpClient, call)).parameters) == ["self", "request"]


def test_the_client_takes_a_context_and_interceptors() -> None:
    parameters = inspect.signature(FleetHttpClient).parameters
    assert {"base_url", "interceptors", "verify"} <= set(parameters)
    FleetHttpClient("https://127.0.0.1:1", interceptors=[], verify=ssl.create_default_context()).close()
    assert [*inspect.signature(ProtobufRequestContext).parameters] == ["rpc_method", "message", "request"]


def test_the_names_of_headers_and_nodes() -> None:
    assert core.FLEET_HTTP_PUBLIC_KEY_HEADER == "flwr-public-key"
    assert core.FLEET_HTTP_SIGNATURE_HEADER == "flwr-signature"
    assert constant.TIMESTAMP_HEADER == "flwr-timestamp"
    assert constant.SUPERLINK_NODE_ID == 1


def test_a_signature_is_the_one_that_is_checked() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    signature = asymmetric.sign_message(key, b"now")
    assert asymmetric.verify_signature(key.public_key(), b"now", signature)
    assert not asymmetric.verify_signature(key.public_key(), b"then", signature)
    known = asymmetric.bytes_to_public_key(asymmetric.public_key_to_bytes(key.public_key()))
    assert known.public_numbers() == key.public_key().public_numbers()
