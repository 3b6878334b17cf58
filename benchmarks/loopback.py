"""Tacit on loopback: SuperLink on a database in a file, gateway with mutual TLS, agents that echo, a coordinator.

Every program is a process of its own. Agents are `Node`s, as in `tacit client`, without policy, ledger and training; several
may share a process, since each process holds everything imported once more. The coordinator is the server's `Exchange`.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import multiprocessing
import os
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from processes import ended, free_port, peak, spent, wait_for

# As the supervisor starts the coordinator: large blocks go back to the system when they are freed.
COORDINATOR = {"MALLOC_MMAP_THRESHOLD_": "1048576"}


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each round; peak memory in MB and processor seconds a round, by program."""

    seconds: list[float]
    peaks: dict[str, float]
    spent: dict[str, float]


@dataclass(frozen=True, slots=True)
class Loopback:
    """A running deployment; `pids` names its programs."""

    owners: int
    pids: dict[str, int]
    coordinator: Connection

    def run(self, megabytes: float, phases: int, rounds: int, *, warm: int = 2) -> Measured:
        """That many rounds of `phases` exchanges, the model both ways in each, after some that do not count."""
        self._rounds(megabytes, phases, warm)
        before = {program: spent(pid) for program, pid in self.pids.items()}
        seconds = self._rounds(megabytes, phases, rounds)
        return Measured(
            seconds,
            {program: peak(pid) for program, pid in self.pids.items()},
            {program: (spent(pid) - before[program]) / rounds for program, pid in self.pids.items()},
        )

    def _rounds(self, megabytes: float, phases: int, rounds: int) -> list[float]:
        self.coordinator.send((megabytes, phases, rounds))
        told: list[float] = self.coordinator.recv()
        return told


@contextmanager
def loopback(owners: int, processes: int = 2) -> Iterator[Loopback]:
    """A deployment with that many owners, in `processes` processes; all of them have ended afterwards."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
    from tacit.server.flower import Address, Nodes
    from tacit.server.superlink import Settings

    context, port = multiprocessing.get_context("spawn"), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _certificates(folder, ["superlink", "gateway", *(f"owner-{owner}" for owner in range(owners))])
        files = (folder / "superlink.crt", folder / "superlink.key", folder / "authority.crt")
        settings = Settings(folder / "superlink", free_port(), *files)
        tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
        secret = settings.secret()
        with (folder / "log").open("wb") as log:
            superlink = subprocess.Popen(
                settings.command(), env=settings.environment(), stdout=log, stderr=log, start_new_session=True
            )
        children: list[Any] = []
        pipes: list[Connection] = []
        try:
            wait_for(settings.port)
            nodes = {}
            with closing(Nodes(Address(settings.where, tls, secret))) as registry:
                for owner in range(owners):
                    key: Any = load_pem_private_key((folder / f"owner-{owner}.node").read_bytes(), None)
                    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                    nodes[owner] = registry.admit(public)
            children.append(context.Process(target=_gateway, args=(folder, settings.where, port)))
            children[0].start()
            wait_for(port)
            for first in range(min(processes, owners)):
                ours, theirs = context.Pipe()
                share = list(range(first, owners, processes))
                pipes.append(ours)
                children.append(context.Process(target=_agents, args=(folder, f"127.0.0.1:{port}", share, theirs)))
                children[-1].start()
            ours, theirs = context.Pipe()
            pipes.append(ours)
            children.append(context.Process(target=_coordinator, args=(folder, settings.where, secret, nodes, theirs)))
            os.environ.update(COORDINATOR)
            try:
                children[-1].start()
            finally:
                for variable in COORDINATOR:
                    del os.environ[variable]
            for pipe in pipes:
                if pipe.recv() != "ready":
                    raise RuntimeError("a process did not start")
            pids = {"superlink": superlink.pid, "gateway": children[0].pid, "agents": children[1].pid}
            yield Loopback(owners, pids | {"coordinator": children[-1].pid}, pipes[-1])
        finally:
            for pipe, child in zip(reversed(pipes), reversed(children), strict=False):
                with contextlib.suppress(OSError):  # it has ended, or it never began to listen
                    pipe.send(None)
                child.join(30)
            for child in children:
                if child.is_alive():
                    child.terminate()
                child.join()
            ended([superlink])


def _coordinator(folder: Path, where: str, secret: bytes, nodes: dict[int, int], control: Connection) -> None:
    """The coordinator's process: rounds as they are asked for; each reply is added up as it comes, as a coordinator does."""
    import torch
    from tacit.server.exchange import Exchange
    from tacit.server.flower import Address
    from tacit.server.mail import Bell
    from tacit.server.pieces import Pieces
    from tacit.strategies.messages import Recipe, Request
    from tacit.strategies.terms import Terms

    torch.set_num_threads(1)
    tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
    ring = Bell(folder / "bell").ring
    exchange = Exchange(Address(where, tls, secret), folder / "exchange", nodes, Pieces(folder / "pieces"), ring=ring)
    terms = Terms({"use": "echo"}, "1", "add-remove", {}, len(nodes), 1)
    recipe, number = Recipe({}, {}, (), 1, len(nodes), terms), 0
    control.send("ready")
    while (asked := control.recv()) is not None:
        megabytes, phases, rounds = asked
        weights = torch.randn(max(1, int(megabytes * 250_000)))
        taken = []
        for _ in range(rounds):
            number += 1
            started = time.perf_counter()
            for phase in range(phases):
                total, answered = torch.zeros_like(weights), 0
                requests = [Request("bench", number, phase, owner, recipe, weights) for owner in nodes]
                for reply in exchange.replies(requests, 600.0):
                    assert reply.total is not None
                    total += reply.total
                    answered += 1
                    del reply
                assert answered == len(nodes)
            taken.append(time.perf_counter() - started)
            weights = total.div_(len(nodes))
            del total
        control.send(taken)
    exchange.finish()


def _gateway(folder: Path, upstream: str, port: int) -> None:
    """The gateway's process."""
    import asyncio

    from tacit.server.door import Door, server
    from tacit.server.flower import forged
    from tacit.server.gateway import Gateway, Limits
    from tacit.server.mail import Mail, listen
    from tacit.server.pieces import Pieces

    mail, limits = Mail(), Limits()
    tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
    app = Gateway(
        upstream, tls, lambda certificate, _: bool(certificate), forged, mail, Pieces(folder / "pieces"), limits
    )
    files = (folder / "gateway.crt", folder / "gateway.key", folder / "authority.crt")
    running = server(app, Door("127.0.0.1", port, *files), limits.connections)

    async def serve() -> None:
        with listen(mail, folder / "bell"):
            await running.serve()

    asyncio.run(serve())


def _agents(folder: Path, address: str, owners: list[int], control: Connection) -> None:
    """A process of agents that move each number by one plus their own number's thousandth, until told to stop."""
    import torch
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from tacit.client.node import Node
    from tacit.strategies.messages import Reply, request_from

    torch.set_num_threads(1)
    stop, ready = threading.Event(), threading.Barrier(len(owners) + 1)

    def handled(frame: bytes) -> bytes:
        asked = request_from(frame)
        moved = asked.weights.add_(1 + asked.owner / 1000)  # no two owners send the same bytes
        return Reply(asked.run, asked.round, asked.attempt, (asked.owner,), "ok", moved).to_bytes()

    def run(owner: int) -> None:
        tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
        tls.load_cert_chain(folder / f"owner-{owner}.crt", folder / f"owner-{owner}.key")
        key: Any = load_pem_private_key((folder / f"owner-{owner}.node").read_bytes(), None)
        with Node(address, tls, key, folder / f"owner-{owner}.json") as node:
            ready.wait()
            while not stop.is_set():
                delivery = node.receive(1.0)
                if delivery is None:
                    continue
                ticket, reply = delivery.ticket, handled(delivery.frame)
                del delivery
                node.send(ticket, reply)
                del reply

    threads = [threading.Thread(target=run, args=(owner,), daemon=True) for owner in owners]
    for thread in threads:
        thread.start()
    ready.wait()
    control.send("ready")
    control.recv()
    stop.set()
    for thread in threads:
        thread.join()


def _certificates(folder: Path, names: list[str]) -> None:
    """An authority and, for each name, a certificate of either use for 127.0.0.1, and a node key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    root = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    for name in ("authority", *names):
        key = root if name == "authority" else ec.generate_private_key(ec.SECP256R1())
        subject = issuer if name == "authority" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
            .add_extension(alternative, critical=False)
            .sign(root, hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(secret)
    for name in names:
        node_key = ec.generate_private_key(ec.SECP384R1())
        secret = node_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.node").write_bytes(secret)
