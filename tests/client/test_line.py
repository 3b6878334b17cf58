"""The line to a gateway that means ill: what is asked elsewhere, unpacked, or read without an end is an error instead."""

from __future__ import annotations

import gzip
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
from tacit.client import line as lines
from tacit.client.line import LARGEST, Line, LineError

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def gateway(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every call so; its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            answer(self)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def asked_of(where: str) -> httpx.Response:
    with closing(Line(ssl.create_default_context())) as line:
        return line.send(httpx.Request("POST", f"{where}/v1/fleet/pull-messages", content=b""))


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    def write(to: http.server.BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(content)

    return write


def test_an_answer_is_read() -> None:
    with gateway(answer(401, b"no")) as (where, _):
        found = asked_of(where)
    assert (found.status_code, found.content) == (401, b"no")
    assert "date" in found.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_else_is_asked(status: int) -> None:
    with gateway(answer(200)) as (inside, reached), gateway(answer(status, location=f"{inside}/secret")) as (where, _):
        with pytest.raises(LineError, match="redirects"):
            asked_of(where)
        assert reached == []


def test_nothing_is_unpacked() -> None:
    bomb = gzip.compress(bytes(1 << 20))
    with gateway(answer(200, bomb, content_encoding="gzip")) as (where, _), pytest.raises(LineError, match="unpacked"):
        asked_of(where)


def test_an_endless_answer_is_not_read_on() -> None:
    sent: list[int] = []

    def endless(to: http.server.BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.end_headers()
        try:
            for _ in range(1000):
                sent.append(to.wfile.write(bytes(1 << 20)))
        except OSError:
            return

    with gateway(endless) as (where, _), pytest.raises(LineError, match="more than"):
        asked_of(where)
    assert sum(sent) < 8 * LARGEST


def test_an_answer_in_drops_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_WHOLE", 0.3)
    done = threading.Event()

    def drops(to: http.server.BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.end_headers()
        try:
            while not done.wait(0.05):
                to.wfile.write(b"x")
        except OSError:
            return

    began = time.monotonic()
    try:
        with gateway(drops) as (where, _):
            with pytest.raises(LineError, match="not whole"):
                asked_of(where)
            done.set()
    finally:
        done.set()
    assert time.monotonic() - began < 10
