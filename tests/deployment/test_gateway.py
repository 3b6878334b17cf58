"""What the gateway lets through, from outside, over real TLS to a real SuperLink; and what it does not."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import torch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto import fleet_pb2, message_pb2, node_pb2, recorddict_pb2
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from tacit.client.flower import GoneError
from tacit.server import door as doors
from tacit.server.flower import Letter, new_id, open_channel
from tacit.server.mail import Bell
from tacit.server.pieces import Pieces, sender
from tacit.strategies import parcel
from tacit.strategies.codec import CodecError
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.parcel import PIECES, opened, wrap
from tacit.strategies.terms import Terms

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Owner, Site

PULL, PUSH = "/v1/fleet/pull-messages", "/v1/fleet/push-messages"


def signed(owner: Owner, at: datetime | None = None) -> dict[str, str]:
    """The headers of Flower's node authentication."""
    timestamp = (at or datetime.now(UTC)).isoformat()
    signature = owner.key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "accept": PROTOBUF_MEDIA_TYPE,
        "flwr-public-key": b64encode(owner.public).decode(),
        "flwr-timestamp": timestamp,
        "flwr-signature": b64encode(signature).decode(),
    }


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """Owner 0's TLS connection."""
    with httpx.Client(base_url=f"https://{site.gateway}", verify=site.owners[0].tls(), timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def joined(site: Site) -> None:
    """Both nodes have been there."""
    for owner in (0, 1):
        site.node(owner).close()


def pull(site: Site, owner: int) -> bytes:
    return fleet_pb2.PullMessagesRequest(node=node_pb2.Node(node_id=site.nodes[owner])).SerializeToString()


def test_a_fleet_call_passes(site: Site, client: httpx.Client) -> None:
    response = client.post(PULL, content=pull(site, 0), headers=signed(site.owners[0]))
    assert response.status_code == 200
    assert response.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/list-nodes",
        "/v1/runtime/acquire-task",
        "/v1/runtime/pull-messages",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/get-run",
        "/v1/fleet/get-fab",
        "/v1/fleet/pull-object",
        "/v1/fleet/push-object",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/..%2fcontrol%2fstart-run",
        "/v1%2ffleet%2fpull-messages",
        "/v1/fleet/pull-messages/",
        "//v1/fleet/pull-messages",
        "/v1/fleet/pull-messages;/../../control/start-run",
        "/v1/fleet/pull-messages%00",
        "/v1/fleet/PULL-MESSAGES",
        "/v1/fleet/pull-messages?x=/v1/control/start-run",
        "/v1/fleet/pull-messages/../pull-messages",
        "/v1/fleet/./pull-messages",
        "/v1/fleet/pull%2dmessages",
        "/V1/fleet/pull-messages",
        "/v1/fleet/pull-messages%20",
        "/v1/control%252fstart-run",
        "/v1\\control\\start-run",
        "/v1/fleet/%c0%ae%c0%ae/control/start-run",
        "https://x/v1/control/start-run",
        "http://127.0.0.1:1/v1/runtime/acquire-task",
    ],
)
def test_nothing_else_passes(site: Site, path: str) -> None:
    """Raw bytes on the wire, because HTTP clients clean paths up."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(site.owners[0]).items())
    assert answered(site, f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{headers}\r\n".encode()) == 404


@pytest.mark.parametrize("target", [f"http://127.0.0.1:1{PULL}", f"{PULL}#/v1/control/start-run", f"{PULL}?"])
def test_what_stands_around_a_path_is_no_way_to_elsewhere(site: Site, target: str) -> None:
    """The path that goes on is the gateway's own, and so is where it goes."""
    body, headers = pull(site, 0), signed(site.owners[0])
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1:1\r\ncontent-length: {len(body)}\r\n{head}\r\n"
    assert answered(site, request.encode() + body) == 200


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/runtime/acquire-task", "/"])
def test_an_old_http_version_opens_nothing(site: Site, path: str) -> None:
    assert answered(site, f"POST {path} HTTP/1.0\r\ncontent-length: 0\r\n\r\n".encode()) == 404


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("content-length: 3\r\ntransfer-encoding: chunked", "0\r\n\r\nPOST /v1/control/start-run HTTP/1.1\r\n\r\n"),
        ("content-length: 3\r\ncontent-length: 50", "abc"),
        ("content-length: -1", "abc"),
        ("content-length: 99999999999999999999999", "abc"),
        ("transfer-encoding: chunked", "zz\r\nabc\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked", "2\r\nabcdef\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked", "fffffffffffffffff\r\nabc"),
        ("transfer-encoding: xchunked", "0\r\n\r\n"),
        ("x: y\r\n z: folded", ""),
    ],
)
def test_a_request_of_two_lengths_is_none(site: Site, framing: str, body: str) -> None:
    """Nothing is smuggled behind a body: whatever two programs could frame differently ends the connection."""
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(site.owners[0]).items())
    with connected(site) as wire:
        wire.sendall(f"POST {PULL} HTTP/1.1\r\nhost: x\r\n{framing}\r\n{head}\r\n{body}".encode())
        found = b""
        while chunk := wire.recv(10_000):
            found += chunk
    assert found.count(b"HTTP/1.1 ") <= 1
    assert found.split()[1:2] in ([], [b"400"], [b"408"], [b"413"])


def test_a_replayed_request_counts_once_and_for_its_own_connection_only(site: Site, client: httpx.Client) -> None:
    """The same signed bytes again: an answer handed out is not handed out twice, and nobody else can use them."""
    headers, body = signed(site.owners[0]), pull(site, 0)
    terms = Terms({"use": "digits"}, "1", "add-remove", {"use": "everyone"}, 2, 2)
    asked = Request("replayed", 1, 0, 0, Recipe({}, {}, (), 1, 2, terms), torch.ones(3))
    channel, _ = open_channel(site.address, site.folder / "replayed.json", 20.0)
    try:
        channel.post([Letter(new_id(), site.nodes[0], wrap(asked.to_bytes(), 1 << 16).letter)], 30.0, 20.0)
        assert client.post(PULL, content=body, headers=headers).content
        assert client.post(PULL, content=body, headers=headers).content == b""
        with httpx.Client(base_url=f"https://{site.gateway}", verify=site.owners[1].tls(), timeout=20) as thief:
            assert thief.post(PULL, content=body, headers=headers).status_code == 401
    finally:
        channel.finish()


@pytest.mark.parametrize("age", [-3600, 3600])
def test_an_old_request_is_refused(site: Site, client: httpx.Client, age: int) -> None:
    """Its signature is right, its time is not."""
    headers = signed(site.owners[0], datetime.now(UTC) + timedelta(seconds=age))
    assert client.post(PULL, content=pull(site, 0), headers=headers).status_code == 401


def test_a_changed_time_breaks_the_signature(site: Site, client: httpx.Client) -> None:
    headers = signed(site.owners[0]) | {"flwr-timestamp": datetime.now(UTC).isoformat()}
    assert client.post(PULL, content=pull(site, 0), headers=headers).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_no_other_method_passes(site: Site, method: str) -> None:
    status = answered(site, f"{method} {PULL} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
    assert status in (400, 404)


def test_without_a_certificate_there_is_no_connection(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.authority.path))
    with (
        httpx.Client(base_url=f"https://{site.gateway}", verify=context) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.post(PULL, content=b"", headers=signed(site.owners[0]))


def test_a_certificate_of_another_authority_is_refused(site: Site, tmp_path: Path) -> None:
    stranger = type(site.authority)(tmp_path, "authority")
    context = ssl.create_default_context(cafile=str(site.authority.path))
    context.load_cert_chain(*stranger.issue("owner-0", server=False))
    with (
        httpx.Client(base_url=f"https://{site.gateway}", verify=context) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.post(PULL, content=b"", headers=signed(site.owners[0]))


def test_a_servers_certificate_is_no_clients(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.authority.path))
    context.load_cert_chain(*site.authority.issue("not-a-client", server=True))
    with (
        httpx.Client(base_url=f"https://{site.gateway}", verify=context) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.post(PULL, content=b"", headers=signed(site.owners[0]))


def test_the_certificate_is_bound_to_the_node_key(site: Site, client: httpx.Client) -> None:
    """Owner 0's certificate with owner 1's node key, as if it had been stolen; then two keys at once."""
    response = client.post(PULL, content=pull(site, 1), headers=signed(site.owners[1]))
    assert response.status_code == 401
    both = [*signed(site.owners[0]).items(), ("flwr-public-key", b64encode(site.owners[1].public).decode())]
    assert client.post(PULL, content=pull(site, 0), headers=both).status_code == 401
    for key in ("", "no base64!", b64encode(b"no key").decode()):
        headers = signed(site.owners[0]) | {"flwr-public-key": key}
        assert client.post(PULL, content=pull(site, 0), headers=headers).status_code == 401


def test_a_revoked_certificate_is_refused_on_an_open_connection(site: Site, client: httpx.Client) -> None:
    def status() -> int:
        return client.post(PULL, content=pull(site, 0), headers=signed(site.owners[0])).status_code

    assert status() == 200
    bound = dict(site.bound)
    site.bound.clear()
    try:
        assert status() == 401
    finally:
        site.bound.update(bound)
    assert status() == 200


@pytest.mark.parametrize(("path", "size"), [(PULL, 5000), (PUSH, (2 << 20) + 1)])
def test_a_body_is_bounded(site: Site, client: httpx.Client, path: str, size: int) -> None:
    """With a length, and without one."""
    body: list[Any] = [b"\0" * size, (b"\0" * 1000 for _ in range(size // 1000 + 1))]
    for content in body:
        try:
            assert client.post(path, content=content, headers=signed(site.owners[0])).status_code == 413
        except httpx.TransportError:  # refused before all of it was sent
            continue


def test_a_slow_body_is_cut_off(site: Site) -> None:
    """The body stops half way; the gateway answers and closes after its limit, 2 s here."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(site.owners[0]).items())
    started = time.monotonic()
    assert answered(site, f"POST {PULL} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n{headers}\r\nab".encode()) == 408
    assert time.monotonic() - started > 1.5


def test_a_slow_header_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not enough: from the first byte of a request to the last of its header there is one limit."""
    monkeypatch.setattr(doors, "_SILENCE", 0.5)
    started, cut = time.monotonic(), False
    with connected(site) as wire:
        wire.settimeout(0.05)
        while not cut and time.monotonic() - started < 10:
            try:
                wire.sendall(b"P")
                cut = wire.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                cut = True
    assert cut
    assert time.monotonic() - started < 5


def test_one_owners_slow_and_many_connections_do_not_disturb_another(site: Site) -> None:
    """Owner 1 takes every connection that it can get, each with a body that does not come; owner 0 is served meanwhile."""
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(site.owners[1]).items())
    start = f"POST {PULL} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n{head}\r\nab".encode()
    with ExitStack() as stack:
        greedy = []
        for _ in range(doors._EACH + 6):
            wire = stack.enter_context(connected(site, 1))
            with suppress(OSError):
                wire.sendall(start)
            greedy.append(wire)
        with httpx.Client(base_url=f"https://{site.gateway}", verify=site.owners[0].tls(), timeout=20) as client:
            began = time.monotonic()
            assert client.post(PULL, content=pull(site, 0), headers=signed(site.owners[0])).status_code == 200
            assert time.monotonic() - began < 1.5
        closed = 0
        for wire in greedy:
            wire.settimeout(0.02)
            try:
                closed += wire.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                closed += 1
        assert closed >= 6


def message(src: int, dst: int, reply_to: str) -> message_pb2.Message:
    metadata = message_pb2.Metadata(
        run_id=1, message_id="0" * 64, src_node_id=src, dst_node_id=dst, reply_to_message_id=reply_to,
        ttl=60.0, message_type="train", created_at=time.time(),
    )  # fmt: skip
    return message_pb2.Message(metadata=metadata, content=recorddict_pb2.RecordDict())


def push(site: Site, *messages: message_pb2.Message, objects: tuple[str, ...] = ()) -> bytes:
    children = [message_pb2.ObjectTree(object_id=each) for each in objects]
    trees = [message_pb2.ObjectTree(object_id="0" * 64, children=children) for _ in messages]
    node = node_pb2.Node(node_id=site.nodes[0])
    request = fleet_pb2.PushMessagesRequest(node=node, messages_list=messages, message_object_trees=trees)
    return request.SerializeToString()


def test_an_owner_cannot_speak_for_others(site: Site, client: httpx.Client) -> None:
    """Flower itself would take each of these: an instruction to another owner, and an answer in its name."""
    me, other, server = site.nodes[0], site.nodes[1], 1
    bodies = [
        push(site, message(server, other, "")),
        push(site, message(me, other, "")),
        push(site, message(me, other, "1" * 64)),
        push(site, message(other, server, "1" * 64)),
        push(site, message(me, server, "")),
        push(site, message(me, server, "1" * 64), message(me, server, "2" * 64)),
        push(site),
        push(site, message(me, server, "1" * 64), objects=("2" * 64,)),
        b"\xff\xff",
    ]
    for body in bodies:
        assert client.post(PUSH, content=body, headers=signed(site.owners[0])).status_code == 400


def test_an_answer_needs_the_secret_id(site: Site) -> None:
    """Who does not hold the request's id cannot answer it, and the id shows in no log."""
    terms = Terms({"use": "digits"}, "1", "add-remove", {"use": "everyone"}, 2, 2)
    request = Request("guess", 1, 0, 1, Recipe({}, {}, (), 1, 2, terms), torch.ones(3))
    channel, new = open_channel(site.address, site.folder / "guess.json", 20.0)
    try:
        assert new
        letter = Letter(new_id(), site.nodes[1], wrap(request.to_bytes(), 1 << 16).letter)
        assert letter.id not in repr(letter)
        with closing(site.node(0)) as stranger, closing(site.node(1)) as node:
            assert channel.post([letter], 30.0, 20.0) == {letter.id}
            delivery = node.receive(10.0)
            assert delivery is not None
            assert delivery.frame == request.to_bytes()
            assert delivery.ticket.message == letter.id
            assert delivery.ticket.message not in repr(delivery)
            stranger.send(delivery.ticket, b"even with the id, the answer is another node's")
            stranger.send(replace(delivery.ticket, message="0" * 64), b"nor does a guess help")
            assert channel.collect([letter.id], 5.0) == []
            node.send(delivery.ticket, b"the answer")
            (arrival,) = channel.collect([letter.id], 5.0)
            assert opened(arrival.letter, 1000) == ((), b"the answer")
    finally:
        channel.finish()


PIECE = hashlib.shake_128(b"a piece").digest(3000)
NAME = hashlib.sha256(PIECE).hexdigest()


@pytest.fixture
def store(site: Site) -> Iterator[Pieces]:
    """The coordinator's side of the gateway's pieces, in a run that takes replies of two pieces."""
    site.pieces.admit(2 * parcel.PIECE)
    yield site.pieces
    site.pieces.close()


def key(owner: Owner) -> dict[str, str]:
    return {"flwr-public-key": b64encode(owner.public).decode()}


def left(store: Pieces, owner: Owner) -> set[str]:
    folder = store.root / "in" / sender(owner.public)
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_published_piece_is_fetched_by_name(site: Site, store: Pieces, client: httpx.Client) -> None:
    piece = os.urandom(parcel.PIECE)
    store.publish({(name := hashlib.sha256(piece).hexdigest()): memoryview(piece)})
    found = client.get(PIECES + name, headers=key(site.owners[0]))
    assert (found.status_code, found.content) == (200, piece)
    store.clear()
    assert client.get(PIECES + name, headers=key(site.owners[0])).status_code == 404


def test_a_piece_that_is_left_is_its_owners_and_nobody_fetches_it(
    site: Site, store: Pieces, client: httpx.Client
) -> None:
    """What an owner leaves is for the coordinator: neither another owner nor itself gets it back."""
    assert client.post(PIECES + NAME, content=PIECE, headers=key(site.owners[0])).status_code == 204
    assert left(store, site.owners[0]) == {NAME}
    assert left(store, site.owners[1]) == set()
    assert client.get(PIECES + NAME, headers=key(site.owners[0])).status_code == 404
    with httpx.Client(base_url=f"https://{site.gateway}", verify=site.owners[1].tls(), timeout=20) as other:
        assert other.get(PIECES + NAME, headers=key(site.owners[1])).status_code == 404


def test_a_piece_under_another_name_is_refused(site: Site, store: Pieces, client: httpx.Client) -> None:
    for content in (PIECE + b"x", PIECE[:-1], b""):
        assert client.post(PIECES + NAME, content=content, headers=key(site.owners[0])).status_code == 400
    assert client.post(PIECES + hashlib.sha256().hexdigest(), headers=key(site.owners[0])).status_code == 400
    assert left(store, site.owners[0]) == set()


def test_pieces_need_the_certificate_of_the_key(site: Site, store: Pieces, client: httpx.Client) -> None:
    store.publish({NAME: memoryview(PIECE)})
    for headers in (key(site.owners[1]), {}, {"flwr-public-key": "no base64!"}):
        assert client.get(PIECES + NAME, headers=headers).status_code == 401
        assert client.post(PIECES + NAME, content=PIECE, headers=headers).status_code == 401
    assert left(store, site.owners[1]) == set()


@pytest.mark.parametrize(
    "path",
    [
        PIECES,
        PIECES[:-1],
        PIECES + NAME[:-1],
        PIECES + NAME + "0",
        PIECES + NAME + "/",
        PIECES + NAME.upper().replace("0", "A") + "%00",
        PIECES + "A" * 64,
        PIECES + NAME + "%0a",
        PIECES + NAME + "?x",
        PIECES + "%30" * 64,
        PIECES + "../room",
        PIECES + "..%2froom",
        PIECES + "../" * 21 + "x",
        PIECES + "/" + NAME,
        "/tacit/v1/../v1/pieces/" + NAME,
        "/TACIT/v1/pieces/" + NAME,
        "/tacit/v2/pieces/" + NAME,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_piece_has_one_path(site: Site, store: Pieces, path: str, method: str) -> None:
    """Raw bytes on the wire, with a piece of that very name there to be had."""
    store.publish({NAME: memoryview(PIECE)})
    headers = "".join(f"{name}: {value}\r\n" for name, value in key(site.owners[0]).items())
    assert answered(site, f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{headers}\r\n".encode()) == 404


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_piece_has_no_other_method(site: Site, store: Pieces, method: str) -> None:
    store.publish({NAME: memoryview(PIECE)})
    headers = "".join(f"{name}: {value}\r\n" for name, value in key(site.owners[0]).items())
    request = f"{method} {PIECES}{NAME} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{headers}\r\n"
    assert answered(site, request.encode()) == 404


def test_a_piece_is_bounded(site: Site, store: Pieces, client: httpx.Client) -> None:
    """With a length, and without one; whether a run takes pieces or none does."""
    size = parcel.PIECE + 1
    for _ in range(2):
        for content in (bytes(size), (bytes(1000) for _ in range(size // 1000 + 1))):
            with suppress(httpx.TransportError):  # refused before all of it was sent
                assert client.post(PIECES + NAME, content=content, headers=key(site.owners[0])).status_code == 413
            assert left(store, site.owners[0]) == set()
        store.close()


def test_a_slow_piece_is_cut_off(site: Site, store: Pieces) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in key(site.owners[0]).items())
    started = time.monotonic()
    request = f"POST {PIECES}{NAME} HTTP/1.1\r\nhost: x\r\ncontent-length: 3000\r\n{head}\r\nab"
    assert answered(site, request.encode()) == 408
    assert time.monotonic() - started > 1.5
    assert left(store, site.owners[0]) == set()


def test_who_does_not_take_a_piece_is_let_go(site: Site, store: Pieces) -> None:
    """More than fits into the buffers of a connection, asked for and not read; the connection ends after 2 s here."""
    piece = os.urandom(parcel.PIECE)
    store.publish({(name := hashlib.sha256(piece).hexdigest()): memoryview(piece)})
    head = "".join(f"{header}: {value}\r\n" for header, value in key(site.owners[0]).items())
    with connected(site) as wire:
        wire.sendall((f"GET {PIECES}{name} HTTP/1.1\r\nhost: x\r\n{head}\r\n" * 4).encode())
        time.sleep(3.0)
        found = 0
        with suppress(OSError):
            while chunk := wire.recv(1 << 16):
                found += len(chunk)
    assert found < 4 * parcel.PIECE


def test_an_owner_fills_no_more_than_its_room(site: Site, store: Pieces, client: httpx.Client) -> None:
    """Room for two pieces and two more; what comes beyond pushes out the oldest of its own."""
    names = []
    for number in range(7):
        piece = b"%d" % number
        names.append(hashlib.sha256(piece).hexdigest())
        assert client.post(PIECES + names[-1], content=piece, headers=key(site.owners[0])).status_code == 204
        assert left(store, site.owners[0]) <= set(names[-5:])
    assert len(left(store, site.owners[0])) == 4
    assert names[-1] in left(store, site.owners[0])


def test_without_a_run_no_piece_is_taken(site: Site, client: httpx.Client) -> None:
    assert client.post(PIECES + NAME, content=PIECE, headers=key(site.owners[0])).status_code == 409
    assert left(site.pieces, site.owners[0]) == set()


def test_a_letter_that_names_anothers_piece_is_no_reply(site: Site, store: Pieces) -> None:
    """Owner 1 knows the name of what owner 0 left: its letter is one whose piece is not there."""
    with closing(site.node(0)) as node, closing(site.node(1)) as thief:
        node._wire.upload(bytes.fromhex(NAME), memoryview(PIECE))
        letter = parcel.wrap(PIECE, 0).letter
        assert bytes(store.frame(letter, sender(site.owners[0].public), 10_000)) == PIECE
        assert thief.id != node.id
        with pytest.raises(CodecError, match="did not leave here"):
            store.frame(letter, sender(site.owners[1].public), 10_000)


def test_an_owner_takes_no_other_bytes_under_a_name(site: Site, store: Pieces) -> None:
    """What a coordinator hands out is what its letter named, or dropped."""
    with closing(site.node(0)) as node:
        for other in (PIECE + b"x", PIECE[:-1], b""):
            store.publish({NAME: memoryview(other)})
            with pytest.raises(CodecError, match="not the piece"):
                node._wire.piece(bytes.fromhex(NAME))
        store.publish({NAME: memoryview(PIECE)})
        assert node._wire.piece(bytes.fromhex(NAME)) == PIECE
        store.clear()
        with pytest.raises(GoneError):
            node._wire.piece(bytes.fromhex(NAME))


def test_a_held_poll_ends_with_the_mail(site: Site) -> None:
    """A poll that may be held for 20 s returns as soon as the bell rings, not before."""
    headers = signed(site.owners[0]) | {"tacit-hold": "20"}
    body = pull(site, 0)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with connected(site) as wire:
        wire.sendall(f"POST {PULL} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body)
        wire.settimeout(1.0)
        with pytest.raises(TimeoutError):
            wire.recv(1)
        Bell(site.folder / "bell").ring([site.nodes[0]])
        wire.settimeout(15.0)
        assert wire.recv(100).startswith(b"HTTP/1.1 200")


def connected(site: Site, owner: int = 0) -> ssl.SSLSocket:
    host, port = site.gateway.split(":")
    return site.owners[owner].tls().wrap_socket(socket.create_connection((host, int(port)), 15), server_hostname=host)


def answered(site: Site, request: bytes) -> int:
    """The status of the answer to raw bytes."""
    with connected(site) as wire:
        wire.sendall(request)
        return int(wire.recv(1000).split()[1])
