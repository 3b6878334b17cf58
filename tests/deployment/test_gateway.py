"""What the gateway lets through, from outside, over real TLS to a real SuperLink; and what it does not."""

from __future__ import annotations

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
from tacit.server import door as doors
from tacit.server.flower import Letter, new_id, open_channel
from tacit.server.mail import Bell
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.parcel import wrap
from tacit.strategies.terms import Terms

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Owner, Site

PULL, PUSH, OBJECT = "/v1/fleet/pull-messages", "/v1/fleet/push-messages", "/v1/fleet/push-object"


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
        channel.post([Letter(new_id(), site.nodes[0], wrap(asked.to_bytes(), 1 << 16))], 30.0, 20.0)
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


@pytest.mark.parametrize(("path", "size"), [(PULL, 5000), (PUSH, (2 << 20) + 1), (OBJECT, (6 << 20) + 1)])
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


def push(site: Site, *messages: message_pb2.Message) -> bytes:
    trees = [message_pb2.ObjectTree(object_id="0" * 64) for _ in messages]
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
        letter = Letter(new_id(), site.nodes[1], wrap(request.to_bytes(), 1 << 16))
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
            assert channel.frame(arrival, channel.last(arrival, 1000, 5.0), 5.0) == b"the answer"
    finally:
        channel.finish()


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
