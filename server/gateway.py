"""Gateway: the only public port of a coordinator. A proxy that lets owners' nodes reach Flower's Fleet calls, and no other.

    owner ── mutual TLS ──► gateway ── TLS on loopback ──► SuperLink

Only the exact paths of `FLEET` pass, by POST, with a bounded body that comes in time; the path and the headers that go on are
written here, never copied from a request. Beside them the gateway itself hands out and takes in the pieces of large frames
(`Pieces`), behind the same checks of certificate and key and the same limits of size and time. A connection without a
certificate of the federation's authority ends in the handshake; `admit` binds each certificate to its node key, and is asked on
every request, so that a revocation counts at once. A node's poll for messages may be kept open until there is one (`Mail`),
which saves almost all polls.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..strategies.parcel import PIECE, PIECES
from .mail import Mail
from .pieces import Pieces, sender

log = logging.getLogger(__name__)

_KEY_HEADER = "flwr-public-key"
_PULL, _PUSH = "/v1/fleet/pull-messages", "/v1/fleet/push-messages"
FLEET: dict[str, int] = {
    "/v1/fleet/activate-node": 1 << 14,
    "/v1/fleet/deactivate-node": 1 << 12,
    "/v1/fleet/send-node-heartbeat": 1 << 12,
    "/v1/fleet/confirm-message-received": 1 << 12,
    _PULL: 1 << 12,
    _PUSH: 2 << 20,
}
"""The paths that pass, and the largest body of each in bytes."""
_PIECES = re.compile(re.escape(PIECES) + "([0-9a-f]{64})")
_CHUNK = 1 << 18

Admit: TypeAlias = Callable[[bytes, bytes], bool]
"""Whether the holder of a certificate (DER) may act with a node key (PEM)."""
Forged: TypeAlias = Callable[[str, bytes], str]
"""Why the body of a call must not pass; empty where it may."""

_FORWARDED = ("content-type", "accept", _KEY_HEADER, "flwr-timestamp", "flwr-signature")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts that bound what one client can hold."""

    body: float = 60.0
    upstream: float = 60.0
    hold: float = 20.0
    connections: int = 1000
    each: int = 16  # requests of one node at once


class Gateway:
    """The proxy as an ASGI application."""

    def __init__(
        self, upstream: str, tls: ssl.SSLContext, admit: Admit, forged: Forged, mail: Mail, pieces: Pieces,
        limits: Limits,
    ) -> None:  # fmt: skip
        """A gateway to the SuperLink at `upstream` (host:port), whose certificate `tls` trusts."""
        self._upstream, self._admit, self._forged, self._mail = f"https://{upstream}", admit, forged, mail
        self._pieces, self._limits = pieces, limits
        self._busy: Counter[bytes] = Counter()
        self._client = httpx.AsyncClient(
            verify=tls, timeout=limits.upstream, follow_redirects=False, trust_env=False,
            limits=httpx.Limits(max_connections=limits.connections, keepalive_expiry=2.0),
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except (TimeoutError, ClientDisconnect):
            response = _refusal(408, "the body did not come in time")
        except httpx.HTTPError as error:
            log.warning("the SuperLink does not answer: %s", error or type(error).__name__)
            response = _refusal(503, "the coordinator is not ready")
        # Who does not take its answer in time holds it no longer; the connection ends.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.body):
                await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope.get("raw_path", b"").decode("latin-1")
        piece = _PIECES.fullmatch(path)
        known = request.method in ("GET", "POST") if piece else request.method == "POST" and path in FLEET
        if not known or request.scope.get("query_string"):
            return _refusal(404, "no such call")
        keys = request.headers.getlist(_KEY_HEADER)
        certificate = request.scope.get("extensions", {}).get("tls", {}).get("certificate", b"")
        try:
            key = b64decode(keys[0], validate=True) if len(keys) == 1 else b""
        except (Base64Error, ValueError):
            key = b""
        if not key or not self._admit(certificate, key):
            return _refusal(401, "this certificate does not belong to that node key")
        if self._busy[key] >= self._limits.each:
            return _refusal(429, "too many requests at once")
        self._busy[key] += 1
        try:
            if piece is None:
                return await self._through(request, key, path, FLEET[path])
            if request.method == "GET":
                return self._published(piece[1])
            return await self._left(request, sender(key), piece[1])
        finally:
            self._busy[key] -= 1

    async def _through(self, request: Request, key: bytes, path: str, largest: int) -> Response:
        """Read the body, look at it, and pass it on."""
        async with asyncio.timeout(self._limits.body):
            body = await _body(request, largest)
        if body is None:
            return _refusal(413, f"at most {largest} bytes")
        reason = self._forged(path, body)
        if reason:
            log.warning("a request that was refused: %s", reason)
            return _refusal(400, reason)
        hold = _seconds(request, self._limits.hold) if path == _PULL else 0.0
        response = await (self._poll(request, key, body, hold) if hold else self._pass(request, path, body))
        if response.is_closed:
            return Response(response.content, response.status_code, _kept(response))
        return StreamingResponse(_stream(response), response.status_code, _kept(response))

    def _published(self, name: str) -> Response:
        """A piece that the coordinator published."""
        file = self._pieces.published(name)
        if file is None:
            return _refusal(404, "no such piece")
        return _File(file)

    async def _left(self, request: Request, who: str, name: str) -> Response:
        """Take a piece that `who` leaves here."""
        try:
            upload = self._pieces.upload(who, name)
            async with asyncio.timeout(self._limits.body):
                if upload is None:
                    whole = await _body(request, PIECE) is not None
                    return _refusal(409, "no run takes pieces") if whole else _refusal(413, f"at most {PIECE} bytes")
                try:
                    async for chunk in request.stream():
                        if not upload.write(chunk):
                            return _refusal(413, f"at most {PIECE} bytes")
                    return Response(None, 204) if upload.finish() else _refusal(400, "not the piece of that name")
                finally:
                    upload.close()
        except TimeoutError:
            raise
        except OSError as error:
            log.error("a piece could not be kept: %s; make room on the disk", error)
            return _refusal(507, "no room for the piece")

    async def _poll(self, request: Request, key: bytes, body: bytes, hold: float) -> httpx.Response:
        """The response to a poll that may be held until there is mail. Nothing is fetched for a client that went away."""
        if self._mail.expected(key):
            response = await self._ask(request, key, body)
            if response.status_code != 200 or response.content:
                return response
        if not await self._held(request, hold):
            raise ClientDisconnect
        return await self._ask(request, key, body)

    async def _ask(self, request: Request, key: bytes, body: bytes) -> httpx.Response:
        """The SuperLink's response to a poll, read."""
        rings = self._mail.rings
        response = await self._pass(request, _PULL, body)
        await response.aread()
        if response.status_code == 200:
            self._mail.asked(key, rings, bool(response.content))
        return response

    async def _pass(self, request: Request, path: str, body: bytes) -> httpx.Response:
        """The SuperLink's response to this request, its body unread."""
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        onward = self._client.build_request("POST", self._upstream + path, content=body, headers=headers)
        return await self._client.send(onward, stream=True)

    async def _held(self, request: Request, seconds: float) -> bool:
        """Wait for mail; False when the client went away meanwhile, so that no message is fetched for nobody."""
        waiting = asyncio.ensure_future(self._mail.wait(seconds))
        leaving = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done()
        finally:
            for task in (waiting, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._client.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body(request: Request, largest: int) -> bytes | None:
    """The body, or None where it exceeds `largest` bytes."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > largest:
            return None
    return bytes(found)


async def _stream(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    finally:
        await response.aclose()


class _File(StreamingResponse):
    """A file as an answer, closed whatever becomes of it."""

    def __init__(self, file: BinaryIO) -> None:
        size = str(os.fstat(file.fileno()).st_size)
        super().__init__(_read(file), 200, {"content-length": size}, "application/octet-stream")
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


async def _read(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _kept(response: httpx.Response) -> dict[str, str]:
    return {name: response.headers[name] for name in ("content-type", "content-length") if name in response.headers}


def _seconds(request: Request, most: float) -> float:
    """For how long this client lets its poll be held."""
    try:
        return max(0.0, min(most, float(request.headers.get("tacit-hold", "0"))))
    except ValueError:
        return 0.0


def _refusal(status: int, reason: str) -> Response:
    return Response(reason, status, {"connection": "close"} if status in (408, 413, 507) else None, "text/plain")
