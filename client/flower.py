"""Flower, the owner's side: this process as a long-lived node of a Flower federation, by Flower's own wire protocol.

It never asks for a run's bundle, so nothing that it receives can be executed. A message is a letter (`strategies.parcel`) in
the message's own content, plus objects for the pieces of large frames: two requests for a small exchange where Flower's own
node needs about sixteen. Everything is retried for as long as it can succeed; a node that was killed goes on with the id that
it had written down.

Private names of flwr (covered by tests/client/test_flower_names.py): `supernode.fleet_http_client.FleetHttpClient`,
`supercore.protobuf.client.{ProtobufCall, ProtobufRequestContext}`, `supercore.primitives.asymmetric.{sign_message,
public_key_to_bytes}`, `supercore.constant.FLEET_HTTP_{PUBLIC_KEY,SIGNATURE}_HEADER`, `common.constant.{SUPERLINK_NODE_ID,
TIMESTAMP_HEADER}`, and the generated messages in `proto`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import random
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Self, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.common.constant import SUPERLINK_NODE_ID, TIMESTAMP_HEADER
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, node_pb2, recorddict_pb2
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

from ..strategies.codec import CodecError
from ..strategies.parcel import joined, opened, piece_in, stored, wrap

log = logging.getLogger(__name__)

HOLD_HEADER = "tacit-hold"
_WHOLE = 1 << 20
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CLOCK_TOLERANCE = 2.0
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class NodeError(Exception):
    """This node cannot take part in the federation."""


class NotEnrolledError(NodeError):
    """The coordinator does not know this node's key, or no longer."""


class ClosedError(NodeError):
    """The node was closed while it was waiting."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a reply must carry to find its request; JSON values, so that a reply can be sent after a restart.

    `message` is secret between this owner and the coordinator. The times are the coordinator's.
    """

    message: str = field(repr=False)
    run: int
    created: float
    ttl: float

    def to_json(self) -> dict[str, str | int | float]:
        """As stored beside a reply."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that arrived."""

    ticket: Ticket
    frame: bytes = field(repr=False)


class _Signed:
    """Signs each request's time with the node's key; corrects a clock that the coordinator refuses."""

    def __init__(self, key: EllipticCurvePrivateKey, hold: float) -> None:
        self._key = key
        self._public = b64encode(public_key_to_bytes(key.public_key())).decode("ascii")
        self._hold = hold
        self._offset = timedelta(0)

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the headers that Flower's node authentication reads."""
        timestamp = (datetime.now(UTC) + self._offset).isoformat()
        signature = b64encode(sign_message(self._key, timestamp.encode("ascii"))).decode("ascii")
        context.request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER] = self._public
        context.request.headers[TIMESTAMP_HEADER] = timestamp
        context.request.headers[FLEET_HTTP_SIGNATURE_HEADER] = signature
        if context.rpc_method.endswith("/PullMessages"):
            context.request.headers[HOLD_HEADER] = f"{self._hold:g}"
        response = call_next(context)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._follow(response.headers.get("date", ""))
        return response

    def _follow(self, date: str) -> None:
        """Take over the coordinator's clock where ours is off; only these timestamps use it."""
        try:
            theirs = parsedate_to_datetime(date)
        except ValueError:
            return
        offset = theirs - datetime.now(UTC)
        if abs((offset - self._offset).total_seconds()) > _CLOCK_TOLERANCE:
            log.warning("this machine's clock is %.0f s off the coordinator's; correct it", -offset.total_seconds())
            self._offset = offset


@dataclass(slots=True)
class _Pause:
    """Waiting times that double from `least` to `most` seconds, with jitter."""

    least: float
    most: float
    now: float = 0.0

    def next(self) -> float:
        self.now = min(self.most, max(self.least, self.now * 2))
        return self.now * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        self.now = 0.0


class Node:
    """One node of the federation. `receive` and `send` are for one thread; `close` may be called from any."""

    def __init__(
        self, address: str, tls: ssl.SSLContext, key: EllipticCurvePrivateKey, state: Path,
        *, patience: float = float("inf"), heartbeat: float = 30.0, hold: float = 5.0, idle: float = 3.0,
        largest: int = 4 << 30,
    ) -> None:  # fmt: skip
        """A node at the gateway `address` (host:port). `tls` holds the client certificate and the only trusted authority.

        `state` is the file of the node's id. `patience`: seconds after which an unreachable coordinator is an error;
        `heartbeat`: seconds between signs of life (the coordinator misses a node after two); `hold`: seconds for which
        the gateway may keep a poll open; `idle`: the longest pause between polls; `largest`: bytes of a request.
        """
        self._tls, self._state, self._patience = tls, state, patience
        self._heartbeat, self._largest = heartbeat, largest
        self._public = public_key_to_bytes(key.public_key())
        self._client = FleetHttpClient(f"https://{address}", interceptors=[_Signed(key, hold)], verify=tls)
        self._closed = threading.Event()
        self._pause = _Pause(0.1, idle)
        self._beating = threading.Thread(target=self._beat, name="tacit-heartbeat", daemon=True)
        self._node = node_pb2.Node()
        try:
            self._node = self._join()
        except BaseException:
            self._client.close()
            raise
        self._beating.start()

    @property
    def id(self) -> int:
        """The node's number in the federation."""
        return int(self._node.node_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, timeout: float) -> Delivery | None:
        """The next request, or None when none came within `timeout` seconds or the node was closed."""
        until = time.monotonic() + timeout
        while not self._closed.is_set():
            asked = time.monotonic()
            with contextlib.suppress(ClosedError):
                delivery = self._poll()
                if delivery is not None:
                    self._pause.reset()
                    return delivery
            now = time.monotonic()
            wait = max(0.0, self._pause.next() - (now - asked))
            if now + wait >= until:
                self._closed.wait(max(0.0, until - now))
                return None
            self._closed.wait(wait)
        return None

    def send(self, ticket: Ticket, frame: bytes) -> bool:
        """Send the reply to `ticket`; sending the same bytes again is harmless. False where the run is over.

        True does not mean that the coordinator still waits for it: a late reply is dropped at the other end.
        """
        parcel = wrap(frame, _WHOLE)
        digest = hashlib.sha256(ticket.message.encode() + hashlib.sha256(frame).digest()).hexdigest()
        metadata = message_pb2.Metadata(
            run_id=ticket.run, message_id=digest, src_node_id=self.id, dst_node_id=SUPERLINK_NODE_ID,
            reply_to_message_id=ticket.message, ttl=ticket.ttl, message_type="train", created_at=ticket.created,
        )  # fmt: skip
        children = [message_pb2.ObjectTree(object_id=name.hex()) for name in dict.fromkeys(parcel.names)]
        request = fleet_pb2.PushMessagesRequest(
            node=self._node,
            messages_list=[message_pb2.Message(metadata=metadata, content=_content(parcel.letter))],
            message_object_trees=[message_pb2.ObjectTree(object_id=digest, children=children)],
        )
        bodies = {name.hex(): piece for name, piece in zip(parcel.names, parcel.pieces, strict=True)}
        self._pause.reset()
        for _ in range(5):
            try:
                answer = self._call(self._client.PushMessages, request)
                if self._upload(ticket.run, answer.session_id, answer.objects_to_push, bodies):
                    return True
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.FORBIDDEN:
                    log.info("the run of a reply is over; the reply is dropped")
                    return False
                raise
        log.warning("a reply was not taken in five attempts; it is dropped until it is asked for again")
        return False

    def close(self) -> None:
        """Leave the federation; a poll that is under way ends within the gateway's hold."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(httpx.HTTPError, ValueError):
            self._client.DeactivateNode(fleet_pb2.DeactivateNodeRequest(node_id=self.id))
        self._beating.join(timeout=10.0)
        self._client.close()

    def _join(self) -> node_pb2.Node:
        """Go on with the saved id where the coordinator still knows it; otherwise become active by the key.

        A heartbeat makes a known node active again whatever its state, so a killed node needs no deactivation first.
        """
        saved = self._saved()
        if saved is not None:
            for _ in range(2):  # the second after a correction of the clock
                try:
                    if self._sign(node_pb2.Node(node_id=saved)):
                        return node_pb2.Node(node_id=saved)
                    break
                except httpx.HTTPStatusError as error:
                    if error.response.status_code != httpx.codes.UNAUTHORIZED:
                        raise
        request = fleet_pb2.ActivateNodeRequest(public_key=self._public, heartbeat_interval=self._heartbeat)
        until = time.monotonic() + min(self._patience, 2 * self._heartbeat + 5)
        while True:
            try:
                answer = self._call(self._client.ActivateNode, request)
                break
            except httpx.HTTPStatusError as error:
                # 412: the key is unknown, or its node is still active and its id was lost here: that one expires.
                if error.response.status_code not in (401, 412) or time.monotonic() > until:
                    raise NotEnrolledError(
                        f"the coordinator does not know this node's key (HTTP {error.response.status_code}); enrol "
                        f"again, or ask the operator whether it was revoked"
                    ) from error
            self._wait(1.0)
        self._save(answer.node_id)
        return node_pb2.Node(node_id=answer.node_id)

    def _saved(self) -> int | None:
        try:
            found = json.loads(self._state.read_text())["node"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, int) else None

    def _save(self, node: int) -> None:
        self._state.parent.mkdir(parents=True, exist_ok=True)
        beside = self._state.with_name(f".{self._state.name}.tmp")
        with beside.open("w") as file:
            json.dump({"node": node}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._state)

    def _poll(self) -> Delivery | None:
        answer = self._call(self._client.PullMessages, fleet_pb2.PullMessagesRequest(node=self._node))
        for message in answer.messages_list:
            metadata = message.metadata
            ticket = Ticket(metadata.message_id, metadata.run_id, metadata.created_at, metadata.ttl)
            try:
                return Delivery(ticket, self._frame(ticket, _letter(message)))
            except CodecError as error:
                log.warning("a message that is none of ours is dropped: %s", error)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.FORBIDDEN:
                    raise
                log.info("the run of a request is over; the request is dropped")
        return None

    def _frame(self, ticket: Ticket, letter: bytes) -> bytes:
        names, head = opened(letter, self._largest)
        until = time.monotonic() + ticket.ttl

        def piece(name: bytes) -> memoryview:
            request = message_pb2.PullObjectRequest(node=self._node, run_id=ticket.run, object_id=name.hex())
            pause = _Pause(0.05, 1.0)
            while time.monotonic() < until:
                answer = self._call(self._client.PullObject, request)
                if not answer.object_found:
                    break
                if answer.object_available:
                    return piece_in(answer.object_content)
                self._wait(pause.next())
            raise CodecError("a piece of it is gone or never came")

        if not names:
            return head
        with ThreadPoolExecutor(2) as workers:
            return joined(head, list(workers.map(piece, names)))

    def _upload(self, run: int, session: str, missing: list[str], bodies: dict[str, memoryview]) -> bool:
        """Whether every missing piece was stored."""
        wanted = [name for name in missing if name in bodies]

        def push(name: str) -> bool:
            content = stored(bodies[name])
            request = message_pb2.PushObjectRequest(
                node=self._node, run_id=run, session_id=session, object_id=name, object_content=content
            )
            return bool(self._call(self._client.PushObject, request).stored)

        if not wanted:
            return True
        with ThreadPoolExecutor(2) as workers:
            return all(list(workers.map(push, wanted)))

    def _call(self, call: Callable[[_Request], _Response], request: _Request) -> _Response:
        """The answer, however long that takes; raises what cannot be helped by waiting."""
        pause, since, told = _Pause(0.1, 5.0), time.monotonic(), 0.0
        refused = 0
        while True:
            try:
                return call(request)
            except httpx.TransportError as error:
                problem: Exception = error
            except ValueError as error:
                problem = error
            except httpx.HTTPStatusError as error:
                refused += error.response.status_code == httpx.codes.UNAUTHORIZED
                again = error.response.status_code == httpx.codes.UNAUTHORIZED and refused <= 1
                if error.response.status_code not in _RETRY and not again:
                    raise
                problem = error
            now = time.monotonic()
            if now - since > self._patience:
                raise NodeError(
                    f"the coordinator did not answer for {now - since:.0f} s ({problem or type(problem).__name__}); "
                    f"check its address, this machine's network and certificate"
                ) from problem
            if now - told > 60.0:
                log.warning("the coordinator does not answer (%s); trying on", problem or type(problem).__name__)
                told = now
            self._wait(pause.next())

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise ClosedError("the node was closed")

    def _sign(self, node: node_pb2.Node) -> bool:
        """Show that the node lives; False where the coordinator no longer knows it."""
        request = heartbeat_pb2.SendNodeHeartbeatRequest(node=node, heartbeat_interval=self._heartbeat)
        return bool(self._call(self._client.SendNodeHeartbeat, request).success)

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat * random.uniform(0.6, 0.8)):
            try:
                if not self._sign(self._node):
                    log.error("the coordinator removed this node; enrol again")
            except ClosedError:
                return
            except (httpx.HTTPError, NodeError) as error:
                log.warning("no heartbeat: %s", error)


def _content(letter: bytes) -> recorddict_pb2.RecordDict:
    value = recorddict_pb2.ConfigRecordValue(bytes=letter)
    record = recorddict_pb2.ConfigRecord(items=[recorddict_pb2.ConfigRecord.Item(key="letter", value=value)])
    return recorddict_pb2.RecordDict(items=[recorddict_pb2.RecordDict.Item(key="tacit", config_record=record)])


def _letter(message: message_pb2.Message) -> bytes:
    for item in _records(message):
        for field_ in item.config_record.items:
            if field_.key == "letter" and field_.value.WhichOneof("value") == "bytes":
                return bytes(field_.value.bytes)
    raise CodecError("it holds no letter")


def _records(message: message_pb2.Message) -> Iterator[recorddict_pb2.RecordDict.Item]:
    return (item for item in message.content.items if item.key == "tacit" and item.HasField("config_record"))
