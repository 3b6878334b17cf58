"""Flower, the coordinator's side: a run of a SuperLink as a channel for letters, by Flower's own wire protocol.

The run's bundle is a placeholder that holds a `pyproject.toml` and is executed by nobody; the run's task is acquired here with
the SuperLink's executor secret. A letter (`strategies.parcel`) lies in the message's own content; the pieces of large frames
go another way (`server.pieces`). A message's id is random and secret: an owner that could guess it could answer in another's
name.

Private names of flwr (covered by tests/server/test_flower_names.py): `supercore.control.control_http_client.
ControlHttpClient`, `supercore.runtime.RuntimeHttpClient`, `supercore.interceptors.{RuntimeTokenHttpInterceptor,
SuperExecAuthHttpInterceptor}`, `supercore.constant.TaskType`, `common.constant.SUPERLINK_NODE_ID`, and the generated messages
in `proto`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import secrets
import ssl
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto import control_pb2, fab_pb2, fleet_pb2, message_pb2, node_pb2, recorddict_pb2, runtime_pb2
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf comes without types

from ..strategies.codec import CodecError
from .answer import ChannelLostError, SuperLinkError, UnansweredError, answer
from .whole import write_whole

log = logging.getLogger(__name__)

_HEARTBEAT = 10.0
_STAMPED = 2.0  # seconds for which a message's date is tried
_PROJECT = """\
[project]
name = "tacit-channel"
version = "1.0.0"
description = "Placeholder: nothing in here is ever executed"
license = { text = "Apache-2.0" }

[tool.flwr.app]
publisher = "tacit"

[tool.flwr.app.components]
serverapp = "tacit:none"
clientapp = "tacit:none"
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a SuperLink listens (host:port on loopback), whom it is trusted by, and its executor secret."""

    where: str
    tls: ssl.SSLContext = field(repr=False)
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one node. Its id is secret: whoever knows it can answer in the node's name."""

    id: str = field(repr=False)
    node: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a letter: the reply's own id and letter, or why there will be none."""

    answers: str
    id: str
    letter: bytes = field(repr=False)
    error: str = ""


def new_id() -> str:
    """A message's id: 256 random bits. Whoever knows it can answer the message."""
    return secrets.token_hex(32)


class Nodes:
    """The nodes that the SuperLink lets connect."""

    def __init__(self, address: Address) -> None:
        self._client = ControlHttpClient(f"https://{address.where}", verify=address.tls)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def admit(self, public_key: bytes) -> int:
        """The id of the node with this public key (PEM, NIST curve), registered where it is new."""
        for known in self._nodes():
            if known.public_key == public_key and known.status != "unregistered":
                return int(known.node_id)
        request = control_pb2.RegisterNodeRequest(public_key=public_key)
        return int(answer(self._client.RegisterNode, request, 10.0).node_id)

    def remove(self, node: int) -> None:
        """Never let this node connect again."""
        answer(self._client.UnregisterNode, control_pb2.UnregisterNodeRequest(node_id=node), 10.0)

    def online(self) -> dict[int, bool]:
        """Every registered node, and whether it gave a sign of life lately."""
        return {int(n.node_id): n.status == "online" for n in self._nodes() if n.status != "unregistered"}

    def _nodes(self) -> Sequence[node_pb2.NodeInfo]:
        return list(answer(self._client.ListNodes, control_pb2.ListNodesRequest(), 10.0).nodes_info)


@dataclass(frozen=True, slots=True)
class _Saved:
    run: int
    token: str = field(repr=False)


class Channel:
    """A run of the SuperLink for as long as its token lives. Its methods may be called from several threads."""

    def __init__(self, address: Address, saved: _Saved) -> None:
        self._run = saved.run
        self._client = RuntimeHttpClient(
            f"https://{address.where}", interceptors=[RuntimeTokenHttpInterceptor(saved.token)], verify=address.tls
        )
        self._control = ControlHttpClient(f"https://{address.where}", verify=address.tls)
        self._node = node_pb2.Node(node_id=SUPERLINK_NODE_ID)
        self._keys: dict[int, bytes] = {}
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="tacit-channel", daemon=True)
        self._beating.start()

    def post(self, letters: Sequence[Letter], ttl: float, within: float) -> set[str]:
        """Send `letters`; the ids of those that the SuperLink took. Posting the same letters again is harmless."""
        if not letters:
            return set()
        messages = []
        for letter in letters:
            metadata = message_pb2.Metadata(
                run_id=self._run, message_id=letter.id, src_node_id=SUPERLINK_NODE_ID, dst_node_id=letter.node,
                ttl=ttl, message_type="train",
            )  # fmt: skip
            messages.append(message_pb2.Message(metadata=metadata, content=_content(letter.content)))
        # The letter is the message's content; the tree only names it.
        trees = [message_pb2.ObjectTree(object_id=letter.id) for letter in letters]
        request = runtime_pb2.PushAppMessagesRequest(messages_list=messages, message_object_trees=trees)
        return set(self._pushed(request, time.monotonic() + within).message_ids) - {""}

    def _pushed(self, request: runtime_pb2.PushAppMessagesRequest, until: float) -> runtime_pb2.PushAppMessagesResponse:
        """The answer to a push, which is stamped anew for each try: a clock that jumped makes an old stamp a fault."""
        while True:
            for message in request.messages_list:
                message.metadata.created_at = time.time()
            try:
                return answer(self._client.PushMessages, request, min(_STAMPED, until - time.monotonic()))
            except UnansweredError:
                if time.monotonic() >= until:
                    raise

    def collect(self, ids: Sequence[str], within: float) -> list[Arrival]:
        """What arrived for the letters `ids`; each is reported once."""
        request = runtime_pb2.PullAppMessagesRequest(message_ids=ids)
        arrivals = []
        for message in answer(self._client.PullMessages, request, within).messages_list:
            metadata = message.metadata
            if message.HasField("error"):
                arrivals.append(Arrival(metadata.reply_to_message_id, metadata.message_id, b"", message.error.reason))
                continue
            try:
                arrivals.append(Arrival(metadata.reply_to_message_id, metadata.message_id, _letter(message)))
            except CodecError as error:
                arrivals.append(Arrival(metadata.reply_to_message_id, metadata.message_id, b"", str(error)))
        return arrivals

    def online(self, within: float) -> set[int]:
        """The nodes that gave a sign of life lately."""
        return {int(n.node_id) for n in answer(self._client.GetNodes, runtime_pb2.GetNodesRequest(), within).nodes}

    def alive(self, within: float) -> bool:
        """Whether the run still goes on."""
        try:
            return bool(answer(self._client.SendTaskHeartbeat, runtime_pb2.SendTaskHeartbeatRequest(), within).success)
        except ChannelLostError:
            return False

    def key(self, node: int, within: float) -> bytes:
        """The public key (PEM) of a node; empty where there is no such node any more."""
        if node not in self._keys:
            nodes = answer(self._control.ListNodes, control_pb2.ListNodesRequest(), within).nodes_info
            self._keys = {int(known.node_id): known.public_key for known in nodes if known.status != "unregistered"}
        return self._keys.get(node, b"")

    def forget(self, ids: Sequence[str], within: float) -> None:
        """Delete messages at the SuperLink; those that nobody took yet never reach their node."""
        for id in ids:
            request = message_pb2.ConfirmMessageReceivedRequest(node=self._node, run_id=self._run, message_object_id=id)
            answer(self._client.ConfirmMessageReceived, request, within)

    def finish(self) -> None:
        """End the run and delete everything in it."""
        self.close()
        with contextlib.suppress(SuperLinkError, httpx.HTTPStatusError):
            answer(self._control.StopRun, control_pb2.StopRunRequest(run_id=self._run), 5.0)
        self._control.close()

    def close(self) -> None:
        """Stop using the run without ending it: within a minute another process can go on with its token."""
        if not self._over.is_set():
            self._over.set()
            self._beating.join(timeout=10.0)
            self._client.close()

    def _beat(self) -> None:
        request = runtime_pb2.SendTaskHeartbeatRequest()
        while not self._over.wait(_HEARTBEAT):
            try:
                self._client.SendTaskHeartbeat(request)
            except (httpx.HTTPError, ValueError, RuntimeError) as error:
                log.debug("no heartbeat of the channel: %s", error)


def open_channel(address: Address, saved: Path, within: float) -> tuple[Channel, bool]:
    """The channel whose token lies at `saved` where it still lives, otherwise a new one; and whether it is new."""
    until = time.monotonic() + within
    found = _saved(saved)
    if found is not None:
        channel = Channel(address, found)
        if channel.alive(until - time.monotonic()):
            return channel, False
        log.info("the saved channel is over; a new one is opened")
        channel.finish()
    fresh = _start(address, until)
    write_whole(saved, json.dumps(asdict(fresh)).encode())
    return Channel(address, fresh), True


def _start(address: Address, until: float) -> _Saved:
    """A new run, with its task acquired and running."""
    bundle = _bundle()
    fab = fab_pb2.Fab(hash_str=hashlib.sha256(bundle).hexdigest(), content=bundle)
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(ControlHttpClient(f"https://{address.where}", verify=address.tls))
        run = answer(control.StartRun, control_pb2.StartRunRequest(fab=fab), until - time.monotonic()).run_id
        executor = stack.enter_context(
            RuntimeHttpClient(
                f"https://{address.where}", verify=address.tls,
                interceptors=[
                    SuperExecAuthHttpInterceptor(
                        master_secret=address.secret, protected_methods={"/flwr.proto.Runtime/AcquireTask"}
                    )
                ],
            )
        )  # fmt: skip
        while True:
            request = runtime_pb2.AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
            claim = answer(executor.AcquireTask, request, until - time.monotonic())
            if not claim.token:
                raise SuperLinkError(f"the SuperLink started run {run} but has no task for it; restart the SuperLink")
            token = RuntimeTokenHttpInterceptor(claim.token)
            with RuntimeHttpClient(f"https://{address.where}", interceptors=[token], verify=address.tls) as client:
                answer(client.PullTaskInput, runtime_pb2.PullTaskInputRequest(), until - time.monotonic())
            if claim.task.run_id == run:
                return _Saved(int(run), claim.token)
            # A run whose coordinator died before it acquired the task.
            answer(control.StopRun, control_pb2.StopRunRequest(run_id=claim.task.run_id), until - time.monotonic())


def forged(path: str, body: bytes) -> str:
    """Why the body of a Fleet request must not pass the gateway; empty where it may.

    Flower checks that a request's node is the one whose key signed it, but not that the messages inside it come from that
    node: without this an owner could answer for another, or send instructions to one.
    """
    if path != "/v1/fleet/push-messages":
        return ""
    try:
        request = fleet_pb2.PushMessagesRequest.FromString(body)
    except DecodeError:
        return "the body is no PushMessagesRequest"
    for message in request.messages_list:
        metadata = message.metadata
        if metadata.src_node_id != request.node.node_id:
            return "a message in the name of another node"
        if metadata.dst_node_id != SUPERLINK_NODE_ID or not metadata.reply_to_message_id:
            return "a message that is no reply to the coordinator"
    if any(tree.children for tree in request.message_object_trees):
        return "a message with objects"
    return "" if len(request.messages_list) == 1 else "other than one message in a request"


def _saved(path: Path) -> _Saved | None:
    try:
        found = json.loads(path.read_text())
        return _Saved(int(found["run"]), str(found["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bundle() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("pyproject.toml"), _PROJECT)
    return file.getvalue()


def _content(letter: bytes) -> recorddict_pb2.RecordDict:
    value = recorddict_pb2.ConfigRecordValue(bytes=letter)
    record = recorddict_pb2.ConfigRecord(items=[recorddict_pb2.ConfigRecord.Item(key="letter", value=value)])
    return recorddict_pb2.RecordDict(items=[recorddict_pb2.RecordDict.Item(key="tacit", config_record=record)])


def _letter(message: message_pb2.Message) -> bytes:
    for record in message.content.items:
        if record.key != "tacit" or not record.HasField("config_record"):
            continue
        for item in record.config_record.items:
            if item.key == "letter" and item.value.WhichOneof("value") == "bytes":
                return bytes(item.value.bytes)
    raise CodecError("a message without a letter")
