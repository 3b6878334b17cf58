"""Flower, the coordinator's side: a run of a SuperLink as a channel for letters, by Flower's own wire protocol.

The run's bundle is a placeholder that holds a `pyproject.toml` and is executed by nobody; the run's task is acquired here with
the SuperLink's executor secret. A letter lies in the message's own content, pieces of large frames are objects
(`strategies.parcel`). A message's id is random and secret: an owner that could guess it could answer in another's name.

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
import sys
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from ..strategies.parcel import Parcel, begun, opened, piece_in, pieces, place, stored
from .answer import ChannelLostError, SuperLinkError, UnansweredError, answer
from .whole import write_whole

log = logging.getLogger(__name__)

_HEARTBEAT = 10.0
_PARALLEL = 2
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
    parcel: Parcel = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a letter: the reply's own id and letter, or why there will be none."""

    answers: str
    id: str
    letter: bytes = field(repr=False)
    error: str = ""

    @property
    def pieces(self) -> int:
        """How many objects belong to the reply."""
        return pieces(self.letter)


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
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="tacit-channel", daemon=True)
        self._beating.start()

    def post(self, letters: Sequence[Letter], ttl: float, within: float) -> set[str]:
        """Send `letters`; the ids of those that the SuperLink took. Posting the same letters again is harmless."""
        if not letters:
            return set()
        messages, trees = [], []
        bodies: dict[str, memoryview] = {}
        for letter in letters:
            parcel = letter.parcel
            metadata = message_pb2.Metadata(
                run_id=self._run, message_id=letter.id, src_node_id=SUPERLINK_NODE_ID, dst_node_id=letter.node,
                ttl=ttl, message_type="train",
            )  # fmt: skip
            messages.append(message_pb2.Message(metadata=metadata, content=_content(parcel.letter)))
            names = [name.hex() for name in parcel.names]
            children = [message_pb2.ObjectTree(object_id=name) for name in dict.fromkeys(names)]
            trees.append(message_pb2.ObjectTree(object_id=letter.id, children=children))
            bodies |= {name: piece for name, piece in zip(names, parcel.pieces, strict=True) if name not in bodies}
        request = runtime_pb2.PushAppMessagesRequest(messages_list=messages, message_object_trees=trees)
        until = time.monotonic() + within
        while True:
            told = self._pushed(request, until)
            if self._upload(told.session_id, told.objects_to_push, bodies, until):
                return set(told.message_ids) - {""}

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
        """What arrived for the letters `ids`; each is reported once and must then be taken with `frame`."""
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

    def last(self, arrival: Arrival, largest: int, within: float) -> memoryview | None:
        """The last piece of an arrival, which its sender uploads last; None where it has no pieces. Raises as `frame`."""
        names, _ = opened(arrival.letter, largest)
        return self._piece(names[-1], time.monotonic() + within) if names else None

    def frame(self, arrival: Arrival, last: memoryview | None, within: float) -> bytes | memoryview:
        """The frame of an arrival. Raises `CodecError` where it is none of ours, too large, or never completed."""
        names, head = opened(arrival.letter, sys.maxsize)
        if last is None:
            return head
        until = time.monotonic() + within
        frame = begun(head, len(names), last)

        def fetch(index: int) -> None:
            place(frame, head, index, self._piece(names[index], until))

        with ThreadPoolExecutor(_PARALLEL) as workers:
            list(workers.map(fetch, range(len(names) - 1)))
        return frame

    def forget(self, ids: Sequence[str], within: float) -> None:
        """Delete messages and their pieces at the SuperLink; those that nobody took yet never reach their node."""
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

    def _piece(self, name: bytes, until: float) -> memoryview:
        request = message_pb2.PullObjectRequest(node=self._node, run_id=self._run, object_id=name.hex())
        pause = 0.02
        while True:
            told = answer(self._client.PullObject, request, until - time.monotonic())
            if told.object_available:
                return piece_in(told.object_content)
            if not told.object_found or time.monotonic() + pause > until:
                raise CodecError("a piece of the reply never came")
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _upload(self, session: str, missing: Sequence[str], bodies: Mapping[str, memoryview], until: float) -> bool:
        """Whether every missing piece was stored."""

        def upload(name: str) -> bool:
            request = message_pb2.PushObjectRequest(
                node=self._node, run_id=self._run, session_id=session, object_id=name,
                object_content=stored(bodies[name]),
            )  # fmt: skip
            return bool(answer(self._client.PushObject, request, until - time.monotonic()).stored)

        wanted = [name for name in missing if name in bodies]
        if not wanted:
            return True
        with ThreadPoolExecutor(_PARALLEL) as workers:
            return all(list(workers.map(upload, wanted)))

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
