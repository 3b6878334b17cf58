"""Metrics: what the operator's Prometheus may scrape, on loopback and with a token.

Counts of a secretly drawn cohort and the ledger's ε are the operator's alone (PRIVACY.md 1), and any user of a machine can
reach its loopback: so each scrape carries the token of a file that only the operator can read.
"""

from __future__ import annotations

import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class MetricsError(ValueError):
    """Metrics cannot be served as asked."""


class Restarts:
    """The supervisor's own numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._restarts = Counter(
            "tacit_restarts", "Ends of a child that was to run on.", ("child",), registry=self.registry
        )

    def restarted(self, child: str) -> None:
        """A child ended and is started again."""
        self._restarts.labels(child).inc()

    def text(self) -> bytes:
        """What is scraped."""
        return generate_latest(self.registry)


class Metrics:
    """The coordinator's numbers, which begin anew with its process; each has its own registry, so nothing is counted twice."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rounds = Counter("tacit_rounds", "Rounds by outcome.", ("outcome",), registry=self.registry)
        self._survivors = Gauge("tacit_survivors", "Owners in the last round's sum.", registry=self.registry)
        self._refusals = Counter("tacit_refusals", "Owners' refusals by code.", ("code",), registry=self.registry)
        self._phases = Histogram(
            "tacit_phase_seconds",
            "Seconds of one phase of a round.",
            ("phase",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._bytes = Counter("tacit_bytes", "Bytes of frames by direction.", ("direction",), registry=self.registry)
        self._agents = Gauge(
            "tacit_agents_connected", "Owners' agents that gave a sign of life.", registry=self.registry
        )
        self._replies = Counter("tacit_replies", "Owners' replies by status.", ("status",), registry=self.registry)
        self._epsilon = Gauge("tacit_ledger_epsilon", "ε charged so far, by run.", ("run",), registry=self.registry)

    def text(self) -> bytes:
        """What is scraped."""
        return generate_latest(self.registry)

    def round_ended(self, outcome: str, survivors: int) -> None:
        """A round ended: `opened`, or below its quorum `failed` or `refused`; `survivors` owners were in its sum."""
        self._rounds.labels(outcome).inc()
        self._survivors.set(survivors)

    def replied(self, status: str) -> None:
        """An owner answered: `ok`, `refused` or `failed`."""
        self._replies.labels(status).inc()

    def refused(self, code: str) -> None:
        """An owner refused, with the code of a typed refusal."""
        self._refusals.labels(code).inc()

    def phase_took(self, phase: str, seconds: float) -> None:
        """A phase of a round took `seconds`."""
        self._phases.labels(phase).observe(seconds)

    def carried(self, direction: Literal["sent", "received"], count: int) -> None:
        """`count` bytes of requests went to owners, or of replies came from them."""
        self._bytes.labels(direction).inc(count)

    def agents(self, count: int) -> None:
        """`count` agents are connected now."""
        self._agents.set(count)

    def spending(self, run: str, epsilon: Callable[[], float]) -> None:
        """The ledger of `run` stands at `epsilon()`, which is asked at each scrape and must not raise."""
        self._epsilon.labels(run).set_function(epsilon)


class MetricsServer:
    """Serves `text()` at http://`host`:`port`/metrics to who bears the token, until closed. Port 0: any free one."""

    def __init__(self, text: Callable[[], bytes], host: str, port: int, token: Path) -> None:
        """Raises `MetricsError` off loopback, `OSError` where the port is taken. The file `token` is made where it lacks."""
        if not ip_address(host).is_loopback:
            raise MetricsError(
                f"metrics address {host}: not on loopback; give 127.0.0.1 and let a local agent forward it"
            )
        app = _guarded(text, f"Bearer {bearer(token)}")
        self._server: WSGIServer = make_server(host, port, app, handler_class=_Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="tacit-metrics", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def bearer(path: Path) -> str:
    """The token in the file `path` (mode 0600), made on first use; for Prometheus' `credentials_file`."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        found = path.read_text(encoding="ascii").strip()
        if len(found) < 32:
            raise MetricsError(f"{path}: no token in it; remove the file, it is made again at the next start") from None
        return found
    with os.fdopen(handle, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # a scraper that says nothing must not hold the only thread

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""


def _guarded(text: Callable[[], bytes], expected: str) -> WSGIApplication:
    def guarded(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        given = str(environment.get("HTTP_AUTHORIZATION", ""))
        if not hmac.compare_digest(given.encode(), expected.encode()):
            start("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
            return [b"a token is needed\n"]
        start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [text()]

    return guarded
