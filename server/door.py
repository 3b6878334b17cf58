"""Door: where a gateway listens. TLS 1.3, a certificate of either side; silent clients are let go, greedy ones held back.

The application finds the client's certificate (DER) in `scope["extensions"]["tls"]["certificate"]`. Whoever holds more than
its share of connections, by certificate, or by address where it has none, gets no further one: the others find the door open.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger(__name__)

_SILENCE = 10.0  # seconds for a handshake; then to a request's first byte; then to the last of its headers
_EACH = 24  # connections of one client at once; an agent uses about five


class Connection(HttpToolsProtocol):
    """Uvicorn's protocol that also tells the application the client's certificate, and ends slow, silent or greedy clients.

    `held`: how many connections each client has, which the connections of a server share.
    """

    held: Counter[bytes]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Read the certificate of the connection once."""
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        certificate = (session.getpeercert(binary_form=True) if session is not None else None) or b""
        self._who = certificate or str((transport.get_extra_info("peername") or ("",))[0]).encode()
        self.held[self._who] += 1
        inner: ASGIApp = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, "extensions": {"tls": {"certificate": certificate}}}, receive, send)

        self.app = app
        self._late: asyncio.TimerHandle | None = self.loop.call_later(_SILENCE, self._drop)
        if self.held[self._who] > _EACH:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """As uvicorn, with a timer from a request's first byte to its last header."""
        before = self.cycle
        if self._late is None and before.response_complete:
            self._late = self.loop.call_later(_SILENCE, self._drop)
        super().data_received(data)
        if self.cycle is not before:
            self._in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn."""
        self._in_time()
        self.held[self._who] -= 1
        if not self.held[self._who]:
            del self.held[self._who]
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _drop(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn's server of `Connection`s, which gives up a handshake that takes too long; uvicorn itself waits a minute."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; ends the process where the address cannot be had, as uvicorn does."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        config, held = self.config, Counter[bytes]()

        def connection() -> Connection:
            made = Connection(config=config, server_state=self.server_state, app_state=self.lifespan.state)
            made.held = held
            return made

        try:
            listening = await asyncio.get_running_loop().create_server(
                connection, config.host, config.port, ssl=config.ssl, backlog=config.backlog,
                ssl_handshake_timeout=_SILENCE, ssl_shutdown_timeout=_SILENCE,
            )  # fmt: skip
        except OSError as error:
            log.error("%s:%d: %s; stop what listens there, or take another port", config.host, config.port, error)
            await self.lifespan.shutdown()
            sys.exit(1)
        self.servers = [listening]
        self.started = True


@dataclass(frozen=True, slots=True)
class Door:
    """Where a gateway listens and with which PEM files. `authority` issues the owners' certificates."""

    host: str
    port: int
    certificate: Path
    key: Path = field(repr=False)
    authority: Path


def server(app: ASGIApp, door: Door, connections: int) -> Server:
    """The server of `app`, not yet running (`run()`, or `serve()` in a loop), for that many `connections` at once."""
    config = uvicorn.Config(
        app, host=door.host, port=door.port, http=Connection, ws="none", lifespan="on",
        ssl_certfile=str(door.certificate), ssl_keyfile=str(door.key), ssl_ca_certs=str(door.authority),
        ssl_cert_reqs=ssl.CERT_REQUIRED, ssl_context_factory=modern, access_log=False, log_config=None,
        server_header=False, proxy_headers=False, timeout_keep_alive=75, limit_concurrency=connections,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    return Server(config)


def modern(config: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Uvicorn's own context, for TLS 1.3 only."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
