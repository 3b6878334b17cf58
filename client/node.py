"""Node: this process as a long-lived member of a federation. What goes wrong on the way is retried for as long as it can help.

A node that was killed goes on with the id that it had written down. It polls soon after a message and ever more rarely while
there is none; where the gateway keeps a poll open until there is mail, it asks about once in `hold` seconds.
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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from ..strategies.codec import CodecError
from ..strategies.parcel import joined, opened, wrap
from .flower import GoneError, Ticket, Wire

log = logging.getLogger(__name__)

_WHOLE = 1 << 20  # a reply up to this size needs no pieces
_PARALLEL = 2
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_TELL = 60.0
_APART = 0.5  # seconds between two heartbeats at least
_UNSURE = 5  # refusals of a signature that may be the clock's: over some seconds
_Answer = TypeVar("_Answer")


class NodeError(Exception):
    """This node cannot take part in the federation."""


class NotEnrolledError(NodeError):
    """The coordinator does not know this node's key, or no longer."""


class ClosedError(NodeError):
    """The node was closed while it was waiting."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that arrived. The same one may arrive again, with another ticket, where its reply was lost."""

    ticket: Ticket
    frame: bytes = field(repr=False)


@dataclass(slots=True)
class Pause:
    """Waiting times that double from `least` to `most` seconds, with jitter."""

    least: float
    most: float
    current: float = 0.0

    def next(self) -> float:
        """The next one."""
        self.current = min(self.most, max(self.least, self.current * 2))
        return self.current * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        """Begin anew."""
        self.current = 0.0


class Node:
    """One node. `receive` and `send` may be called from several threads, `close` from any."""

    def __init__(
        self, address: str, tls: ssl.SSLContext, key: EllipticCurvePrivateKey, state: Path,
        *, patience: float = float("inf"), heartbeat: float = 30.0, hold: float = 5.0, idle: float = 3.0,
        largest: int = 4 << 30, stopping: threading.Event | None = None,
    ) -> None:  # fmt: skip
        """Join at the gateway `address` (host:port). `tls` holds the client certificate and the only trusted authority.

        `state` is the file of the node's id. `patience`: seconds after which an unreachable coordinator is an error;
        `heartbeat`: seconds between signs of life (the coordinator misses a node after two); `hold`: seconds for which
        the gateway may keep a poll open; `idle`: the longest pause between polls; `largest`: bytes of a request; once
        `stopping` is set, nothing is waited for any more.
        Raises `NotEnrolledError`, `ClosedError` where it is told to stop, or `NodeError` when `patience` is over.
        """
        self._state, self._patience, self._heartbeat, self._largest = state, patience, heartbeat, largest
        self._due = threading.Event()  # a heartbeat, sooner than its time
        self._moves = 0  # how often the coordinator's clock turned out to be another one
        self._wire = Wire(address, tls, key, hold, self._moved)
        self._stopping = threading.Event() if stopping is None else stopping
        self._closed = False
        self._pause = Pause(0.1, idle)
        try:
            self.id = self._join()
        except BaseException:
            self._wire.close()
            raise
        self._beating = threading.Thread(target=self._beat, name="tacit-heartbeat", daemon=True)
        self._beating.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, timeout: float) -> Delivery | None:
        """The next request, or None when none came within `timeout` seconds or the node was closed.

        Raises `NotEnrolledError` once the node is revoked. Whatever else the coordinator answers is logged and outlived.
        """
        until = time.monotonic() + timeout
        with contextlib.suppress(ClosedError):
            while True:
                asked = time.monotonic()
                delivery = self._poll()
                if delivery is not None:
                    self._pause.reset()
                    return delivery
                now = time.monotonic()
                wait = max(0.0, self._pause.next() - (now - asked))
                self._wait(max(0.0, min(wait, until - now)))
                if now + wait >= until:
                    return None
        return None

    def send(self, ticket: Ticket, frame: bytes) -> bool:
        """Send the reply to `ticket`; sending the same bytes again is harmless. False where it can no longer arrive.

        True does not mean that the coordinator still waits for it: a late reply is dropped at the other end.
        """
        parcel = wrap(frame, _WHOLE)
        bodies = dict(zip(parcel.names, parcel.pieces, strict=True))
        id = hashlib.sha256(ticket.message.encode() + hashlib.sha256(parcel.letter).digest()).hexdigest()
        self._pause.reset()
        try:
            self._upload(bodies)
            self._call(lambda: self._wire.push(self.id, ticket, id, parcel.letter))
        except httpx.HTTPStatusError as error:
            log.info("%s; the reply is dropped", _over(error))
            return False
        return True

    def close(self) -> None:
        """Leave the federation; a poll that is under way ends within the gateway's hold."""
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        self._due.set()
        with contextlib.suppress(httpx.HTTPError, ValueError):
            self._wire.deactivate(self.id)
        self._beating.join(timeout=10.0)
        self._wire.close()

    def _join(self) -> int:
        """Go on with the saved id where the coordinator still knows it; otherwise become active by the key.

        A heartbeat makes a known node active whatever it was, so a killed node needs no deactivation first.
        """
        saved = self._saved()
        if saved is not None:
            with contextlib.suppress(NotEnrolledError):
                if self._call(lambda: self._wire.beat(saved, self._heartbeat)):
                    return saved
        until = time.monotonic() + min(self._patience, 2 * self._heartbeat + 5)
        while True:
            try:
                node = self._call(lambda: self._wire.activate(self._heartbeat))
                break
            except httpx.HTTPStatusError as error:
                # 412: the key is unknown, or its node is still active and its id was lost here: that one expires.
                if error.response.status_code != httpx.codes.PRECONDITION_FAILED or time.monotonic() > until:
                    raise _unknown(error) from error
            self._wait(1.0)
        self._save(node)
        return node

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
        try:
            found = self._call(lambda: self._wire.pull(self.id))
            return Delivery(found[0], self._frame(found[1])) if found is not None else None
        except (CodecError, GoneError) as error:
            log.warning("a request that cannot be read is dropped: %s", error)
        except httpx.HTTPStatusError as error:
            log.info("%s; nothing was received", _over(error))
        return None

    def _frame(self, letter: bytes) -> bytes:
        names, head = opened(letter, self._largest)
        if not names:
            return head
        with ThreadPoolExecutor(_PARALLEL) as workers:
            return joined(head, list(workers.map(lambda name: self._call(lambda: self._wire.piece(name)), names)))

    def _upload(self, bodies: Mapping[bytes, memoryview]) -> None:
        """Leave every piece of a reply at the coordinator."""
        if not bodies:
            return
        with ThreadPoolExecutor(_PARALLEL) as workers:
            list(workers.map(lambda named: self._call(lambda: self._wire.upload(*named)), bodies.items()))

    def _call(self, call: Callable[[], _Answer]) -> _Answer:
        """The answer, however long that takes; raises what cannot be helped by waiting."""
        pause, since, told, refused, moves = Pause(0.1, 5.0), time.monotonic(), 0.0, 0, self._moves
        while True:
            try:
                return call()
            except CodecError:
                raise
            except (httpx.TransportError, ValueError) as error:
                problem: Exception = error
            except httpx.HTTPStatusError as error:
                # The first refusals may be the clock's, which the connection corrects by the date in them; where it is the
                # coordinator's that jumped, that date may be a second old. A signature by another time counts anew.
                refused = refused if moves == self._moves else 0
                moves = self._moves
                unsigned = error.response.status_code == httpx.codes.UNAUTHORIZED
                refused += unsigned
                if refused > _UNSURE:
                    raise _unknown(error) from error
                if not unsigned and error.response.status_code not in _RETRY:
                    raise
                problem = error
            now = time.monotonic()
            if now - since > self._patience:
                raise NodeError(
                    f"the coordinator did not answer for {now - since:.0f} s ({problem or type(problem).__name__}); "
                    f"check its address, this machine's network and certificate"
                ) from problem
            if now - told > _TELL:
                log.warning("the coordinator does not answer (%s); trying on", problem or type(problem).__name__)
                told = now
            self._wait(pause.next())

    def _moved(self) -> None:
        self._moves += 1
        self._due.set()

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise ClosedError("the node was closed")

    def _beat(self) -> None:
        while not self._stopping.wait(_APART):
            # To a coordinator whose clock jumped ahead, every node was last heard of long ago, and it sends none anything.
            self._due.wait(self._heartbeat * random.uniform(0.6, 0.8))
            self._due.clear()
            if self._stopping.is_set():
                return
            try:
                if not self._call(lambda: self._wire.beat(self.id, self._heartbeat)):
                    log.error("the coordinator removed this node; enrol again")
            except ClosedError:
                return
            except (httpx.HTTPError, NodeError) as error:
                log.warning("no heartbeat: %s", error)


def _over(error: httpx.HTTPStatusError) -> str:
    status = error.response.status_code
    return "the run is over" if status == httpx.codes.FORBIDDEN else f"the coordinator answers with HTTP {status}"


def _unknown(error: httpx.HTTPStatusError) -> NotEnrolledError:
    return NotEnrolledError(
        f"the coordinator does not know this node's key (HTTP {error.response.status_code}); enrol again, or ask the "
        f"operator whether it was revoked"
    )
