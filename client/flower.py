"""Flower, the owner's side: the calls of a Flower node, by Flower's own wire protocol.

It never asks for a run's bundle, so nothing that arrives can be executed. A letter (`strategies.parcel`) lies in the message's
own content: two requests for a small exchange where Flower's own node makes about sixteen. Pieces of large frames do not pass
Flower at all: they are fetched from the gateway and left there. Nothing is retried here (see `client.node`): every call raises
httpx's errors, or `ValueError` for an answer that is none.

Private names of flwr (covered by tests/client/test_flower_names.py): `supernode.fleet_http_client.FleetHttpClient`,
`supercore.protobuf.client.{ProtobufCall, ProtobufRequestContext}`, `supercore.primitives.asymmetric.{sign_message,
public_key_to_bytes}`, `supercore.constant.FLEET_HTTP_{PUBLIC_KEY,SIGNATURE}_HEADER`, `common.constant.{SUPERLINK_NODE_ID,
TIMESTAMP_HEADER}`, and the generated messages in `proto`.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.common.constant import SUPERLINK_NODE_ID, TIMESTAMP_HEADER
from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, node_pb2, recorddict_pb2
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

from ..strategies.codec import CodecError
from ..strategies.parcel import PIECE, PIECES
from .line import Line

log = logging.getLogger(__name__)

HOLD_HEADER = "tacit-hold"
_CLOCK_TOLERANCE = 2.0
_CLOCK_LIMIT = timedelta(days=36_500)  # what no clock is off by, and what a date can be moved by


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


def ticket_from(row: Mapping[str, object]) -> Ticket:
    """The ticket that `to_json` wrote. Raises `ValueError`."""
    message, run, created, ttl = (row.get(key) for key in ("message", "run", "created", "ttl"))
    if not isinstance(message, str) or not isinstance(run, int):
        raise ValueError("a ticket names a message and a run")
    if not isinstance(created, int | float) or not isinstance(ttl, int | float):
        raise ValueError("a ticket says when it was made and for how long it counts")
    return Ticket(message, run, float(created), float(ttl))


class GoneError(Exception):
    """The piece is not, or no longer, at the coordinator."""


class Wire:
    """A connection to the gateway; its calls may be made from several threads."""

    def __init__(
        self, address: str, tls: ssl.SSLContext, key: EllipticCurvePrivateKey, hold: float, moved: Callable[[], None]
    ) -> None:
        """A connection to `address`; `moved` is called where the coordinator's clock turns out to be another than it was."""
        self._public = public_key_to_bytes(key.public_key())
        self._where = f"https://{address}"
        self._line = Line(tls)
        # The last interceptor is the way out: Flower's own client would follow redirects and unpack without an end.
        through = (_Signed(key, hold, moved), _Through(self._line))
        self._client = FleetHttpClient(self._where, interceptors=through, verify=tls)

    def activate(self, heartbeat: float) -> int:
        """The node of this key, active from now on. HTTP 412: no such node, or it is active already."""
        request = fleet_pb2.ActivateNodeRequest(public_key=self._public, heartbeat_interval=heartbeat)
        return int(self._client.ActivateNode(request).node_id)

    def deactivate(self, node: int) -> None:
        """The node goes away on purpose."""
        self._client.DeactivateNode(fleet_pb2.DeactivateNodeRequest(node_id=node))

    def beat(self, node: int, heartbeat: float) -> bool:
        """The node lives, and is active whatever it was before; False where it was removed."""
        request = heartbeat_pb2.SendNodeHeartbeatRequest(node=node_pb2.Node(node_id=node), heartbeat_interval=heartbeat)
        return bool(self._client.SendNodeHeartbeat(request).success)

    def pull(self, node: int) -> tuple[Ticket, bytes] | None:
        """The next letter for the node; it is handed out once. Raises `CodecError` for a message that holds none."""
        answer = self._client.PullMessages(fleet_pb2.PullMessagesRequest(node=node_pb2.Node(node_id=node)))
        for message in answer.messages_list:
            metadata = message.metadata
            if metadata.message_type != "train":
                raise CodecError(f"a message of the type {metadata.message_type!r}, which this agent never answers")
            ticket = Ticket(metadata.message_id, metadata.run_id, metadata.created_at, metadata.ttl)
            return ticket, _letter(message)
        return None

    def piece(self, name: bytes) -> bytes:
        """A piece of a request. Raises `GoneError`, or `CodecError` for bytes that are not those of that name."""
        response = self._line.send(self._called("GET", name, b""))
        if response.status_code == httpx.codes.NOT_FOUND:
            raise GoneError(f"piece {name.hex()[:12]}… is not at the coordinator")
        content = response.raise_for_status().content
        if len(content) > PIECE or hashlib.sha256(content).digest() != name:
            raise CodecError(f"{len(content)} bytes that are not the piece {name.hex()[:12]}…")
        return content

    def upload(self, name: bytes, piece: memoryview) -> None:
        """Leave a piece of a reply at the coordinator; leaving it twice is harmless."""
        self._line.send(self._called("POST", name, bytes(piece))).raise_for_status()

    def push(self, node: int, ticket: Ticket, id: str, letter: bytes) -> None:
        """Send a reply, whose pieces are there already."""
        metadata = message_pb2.Metadata(
            run_id=ticket.run, message_id=id, src_node_id=node, dst_node_id=SUPERLINK_NODE_ID,
            reply_to_message_id=ticket.message, ttl=ticket.ttl, message_type="train", created_at=ticket.created,
        )  # fmt: skip
        request = fleet_pb2.PushMessagesRequest(
            node=node_pb2.Node(node_id=node),
            messages_list=[message_pb2.Message(metadata=metadata, content=_content(letter))],
            # The letter is the message's content; the tree only names it.
            message_object_trees=[message_pb2.ObjectTree(object_id=id)],
        )
        self._client.PushMessages(request)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
        self._line.close()

    def _called(self, method: str, name: bytes, content: bytes) -> httpx.Request:
        headers = {FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(self._public).decode("ascii")}
        return httpx.Request(method, f"{self._where}{PIECES}{name.hex()}", headers=headers, content=content)


class _Through:
    """The end of the chain of interceptors: sends over a `Line`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """The answer; `call_next` is never called."""
        return self._line.send(context.request)


class _Signed:
    """Signs each request's time with the node's key; follows the coordinator's clock where it refuses ours."""

    def __init__(self, key: EllipticCurvePrivateKey, hold: float, moved: Callable[[], None]) -> None:
        self._key = key
        self._public = b64encode(public_key_to_bytes(key.public_key())).decode("ascii")
        self._hold, self._moved = hold, moved
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
        """Take over the coordinator's clock where ours is off; nothing but these timestamps uses it."""
        try:
            offset = parsedate_to_datetime(date) - datetime.now(UTC)
        except (ValueError, TypeError):
            return
        if abs(offset) < _CLOCK_LIMIT and abs((offset - self._offset).total_seconds()) > _CLOCK_TOLERANCE:
            log.warning("this machine's clock is %.0f s off the coordinator's; correct it", -offset.total_seconds())
            self._offset = offset
            self._moved()


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
