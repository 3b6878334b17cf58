"""Agent: the long-lived process beside an owner's data: request in, policy, charge, training, reply out.

One request at a time, as they come: models draw from torch's one generator. What a request may name is looked up in the
owner's own settings; nothing that arrives is imported or executed. Everything observable follows from requests, policy,
clock and ledger (PRIVACY.md 12); faults of the data are told to the local log alone.

What an algorithm remembers at the owner between the rounds of a run (SCAFFOLD's control variate) is kept in memory: after a
restart it begins at zero, as for an owner that was never asked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ..privacy.ledger.errors import LedgerError
from ..strategies import keyfile
from ..strategies.codec import CodecError
from ..strategies.control import SOCKET, ControlServer
from ..strategies.lock import FolderLock
from ..strategies.messages import Request, reply_from
from ..strategies.notify import ALIVE, READY, STOPPING, notify
from ..strategies.roster import RosterError
from ..strategies.shown import shown
from ..strategies.steps import Asked, Certify, asked_in
from ..strategies.token import endpoint
from .anchorage import Anchorage
from .assets import open_assets
from .company import Company
from .control import methods
from .desk import Desk
from .enrolment import EnrolmentError, renewed
from .home import ClientHome
from .identity import Identity, IdentityError, load
from .node import ClosedError, Delivery, Node
from .refusal import RefusedError
from .roster import current
from .running import Running
from .settings import load_settings
from .spent import spent
from .worker import refusal_of

log = logging.getLogger(__name__)

_POLL = 2.0  # seconds after which the process looks whether it was asked to stop
_LAST = 10  # refusals that `status` shows
_PAUSED = "paused"
_LOOK, _RENEW = 3600.0, 90 * 86_400.0  # seconds between looks at the certificate; what it has left when it is renewed
_NUMBER = 8  # bytes of a request for each number of a model: its weight, and what an algorithm broadcasts beside it
_BESIDE = 2 << 20  # bytes of a request beside the model


class AgentError(RuntimeError):
    """This agent cannot be started like this."""


class Agent:
    """An owner's agent in the folder `home`. `work` belongs to one thread; the rest may be called from any."""

    def __init__(self, home: ClientHome, seed: int | None = None) -> None:
        """Raises `ConfigError`, `IdentityError`, `LedgerError`, `AgentError`.

        `seed` is for tests: every draw then follows from it, nothing is private, and the coordinator must be on loopback.
        """
        self._home, self._seed = home, seed
        self._identity = load(home.checked(), time.time())
        self._tls = self._identity.tls()
        self._looked = -math.inf
        if seed is not None:
            _only_loopback(self._identity)
            torch.set_num_threads(1)  # the bits must not depend on the machine
        settings = load_settings(home.settings_file)
        self._assets = open_assets(settings, home.root)
        self._owner = self._identity.coordinator.number - 1
        circles = Company(self._identity)
        running = Running()
        self._desks = {
            name: Desk(
                home, self._assets, name, self._owner, seed, circles, running, settings.ledger.anchor, self._roster
            )
            for name in self._assets.names
        }
        self.anchorage = Anchorage(self._identity, {name: desk.store for name, desk in self._desks.items()})
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._refused: deque[dict[str, Any]] = deque(maxlen=_LAST)
        self._answered = 0

    @property
    def paused(self) -> bool:
        """Whether requests are left waiting."""
        return self._pause_file.exists()

    def pause(self) -> None:
        """Leave requests waiting, from the next one on, and after a restart too."""
        self._pause_file.touch(mode=0o600)

    def resume(self) -> None:
        """Answer requests again."""
        self._pause_file.unlink(missing_ok=True)
        self._awake.set()

    def stop(self) -> None:
        """End `work` soon; returns at once."""
        self._stopping.set()
        self._awake.set()

    def status(self) -> Mapping[str, Any]:
        """JSON for the owner's administrator."""
        found: dict[str, Any] = {
            "owner": self._identity.name,
            "coordinator": self._identity.coordinator.gateway,
            "certificate_expires": self._identity.expires.isoformat(),
            "assets": {name: spent(self._assets.policy, desk.store.spent()) for name, desk in self._desks.items()},
            "anchors": self.anchorage.standing,
            "coordinator_ledger": self.anchorage.coordinator,
            "answered": self._answered,
            "last_refusals": list(self._refused),
        }
        if self._seed is not None:
            found["epsilon"] = "infinite: every draw follows from a seed"
        return found

    def work(self, node: Node) -> None:
        """Answer what arrives until `stop`. Raises `NodeError` where the coordinator no longer knows this owner,
        `RollbackError` where it knows a newer ledger, and `ClosedError` where a stop comes in the middle of a call.
        """
        while not self._stopping.is_set():
            notify(ALIVE)
            self.anchorage.check()
            self._renew(time.time())
            if self.paused:
                self._awake.wait(_POLL)
                self._awake.clear()
                continue
            delivery = node.receive(_POLL)
            if delivery is not None:
                self._answer(node, delivery)

    def close(self) -> None:
        """Close the ledgers."""
        for desk in self._desks.values():
            desk.store.close()

    def node(self) -> Node:
        """This owner at the coordinator; waits for as long as that is away, or raises `ClosedError` after `stop`."""
        identity = self._identity
        return Node(
            identity.coordinator.gateway, self._tls, identity.keys.node, self._home.node,
            largest=_NUMBER * self._assets.policy.work.numbers + _BESIDE, stopping=self._stopping,
        )  # fmt: skip

    def _renew(self, now: float) -> None:
        """Look every hour whether the certificate ends soon, and have it made anew; connections to come show the new one."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        left = self._identity.expires.timestamp() - now
        if left > _RENEW:
            return
        try:
            self._identity = renewed(self._identity, now)
            self._tls.load_cert_chain(self._home.certificate, self._home.tls_key)
        except (EnrolmentError, IdentityError, keyfile.KeyFileError, OSError) as error:
            log.warning(
                "this agent's certificate ends in %.0f days and was not renewed (%s); it tries on. If that goes on, ask the "
                "operator for a token and type `tacit client enroll TOKEN --again`", left / 86_400, shown(str(error)),
            )  # fmt: skip
            return
        log.info("the certificate was renewed; it ends on %s", f"{self._identity.expires:%Y-%m-%d}")

    def _answer(self, node: Node, delivery: Delivery) -> None:
        try:
            reply = self.handle(delivery.frame)
        except CodecError as error:
            log.warning("something that is no request was dropped: %s", error)
            return
        self._note(reply)
        node.send(delivery.ticket, reply)

    def handle(self, frame: bytes) -> bytes:
        """The reply frame to a request frame; raises `CodecError` for what is no request."""
        asked = asked_in(frame)
        try:
            return self._desk(asked).session.handle(frame)
        except RefusedError as refusal:
            return refusal_of(asked, asked.owner, refusal).to_bytes()

    def _desk(self, asked: Asked) -> Desk:
        """Where a request is answered, or the masked attempt is under way that a step belongs to; raises `RefusedError`."""
        if isinstance(asked, Request):
            return self._desks[self._assets.find(asked.recipe.terms.task).name]
        if isinstance(asked, Certify):
            return self._payer(asked)
        for desk in self._desks.values():
            if desk.session.holds(asked):
                return desk
        raise RefusedError(
            f"no masked attempt {asked.attempt} of round {asked.round} is under way here", "session",
            "ask under a new attempt",
        )  # fmt: skip

    def _payer(self, asked: Certify) -> Desk:
        """The one asset that was charged for a run; raises `RefusedError`."""
        if asked.owner != self._owner:
            raise RefusedError(f"the request is for owner {asked.owner}; this is owner {self._owner}", "address")
        try:
            found = [desk for desk in self._desks.values() if desk.session.charged(asked.run)]
        except LedgerError as error:
            log.error("%s", error)  # it names files of this machine
            raise RefusedError("this owner's ledger cannot be read now", "ledger") from error
        if len(found) != 1:
            raise RefusedError(
                f"{len(found)} assets were charged for run {asked.run}; a statement is on one", "address"
            )
        return found[0]

    def _roster(self) -> str:
        """The digest of the roster that is kept; raises `RefusedError`."""
        try:
            return current(self._identity).digest().hex()
        except (RosterError, keyfile.KeyFileError) as error:
            log.error("%s", error)
            raise RefusedError("this owner's roster cannot be read now", "roster") from error

    def _note(self, frame: bytes) -> None:
        reply = reply_from(frame)
        if reply.status == "ok" and not reply.round:
            log.info("signed what run %s cost", reply.run)
            return
        if reply.status == "ok":
            self._answered += 1
            log.info("run %s, round %d answered", reply.run, reply.round)
            return
        log.warning("run %s, round %d %s (%s): %s", reply.run, reply.round, reply.status, reply.code, reply.reason)
        self._refused.append(
            {"run": reply.run, "round": reply.round, "code": reply.code or reply.status, "reason": reply.reason}
        )

    @property
    def _pause_file(self) -> Path:
        return self._home.root / _PAUSED


def serve(root: Path, seed: int | None = None) -> None:
    """Run the agent of the folder `root` until SIGTERM, SIGINT or its method `stop`; for a main thread.

    Raises what `Agent` raises, `LockError`, `RollbackError` where the coordinator knows a newer ledger, and `NodeError` where
    it does not know this owner.
    """
    os.umask(0o077)
    home = ClientHome(root.absolute()).checked()
    with (
        FolderLock(home.root),
        contextlib.closing(Agent(home, seed)) as agent,
        _stopped_by_signals(agent),
        ControlServer(home.root / SOCKET, methods(agent)) as control,
    ):
        if seed is not None:
            log.warning("started with a seed: nothing that this agent sends is private")
        # A stop ends the wait for a coordinator that is away, and for one that stalls.
        with agent.anchorage.kept(), contextlib.suppress(ClosedError), agent.node() as node:
            control.serving(True)
            notify(READY)
            agent.work(node)
        control.serving(False)
        notify(STOPPING)


@contextlib.contextmanager
def _stopped_by_signals(agent: Agent) -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        # In a thread: the signal may have come while this one holds the lock that `stop` takes.
        threading.Thread(target=agent.stop, name="tacit-stop").start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _only_loopback(identity: Identity) -> None:
    host, _ = endpoint(identity.coordinator.gateway)
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise AgentError(
            f"--insecure-seed with the coordinator at {host}: a seeded agent protects nobody and talks to loopback only; leave "
            f"the seed out"
        )
