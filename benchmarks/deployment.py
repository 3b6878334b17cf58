"""Rounds over real processes on loopback: SuperLink on SQLite, gateway with mutual TLS, agents that echo, coordinator.

    python benchmarks/deployment.py                          # no-op and four-phase rounds with 2 and 10 owners
    python benchmarks/deployment.py --owners 2 --megabytes 100 --rounds 5

Prints medians of the seconds of a round, and what each program spent on it. Every program is a process of its own; agents share
a few processes, since each would need its own copy of everything imported.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import multiprocessing
import os
import resource
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

AGENT_PROCESSES = 2


def certificates(folder: Path, names: list[str]) -> None:
    """An authority and, for each name, a certificate of either use for 127.0.0.1."""
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


def gateway(folder: Path, upstream: str, port: int) -> None:
    """The gateway's process."""
    import asyncio

    from tacit.server.door import Door, server
    from tacit.server.flower import forged
    from tacit.server.gateway import Gateway, Limits
    from tacit.server.mail import Mail, listen

    mail, limits = Mail(), Limits()
    tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
    app = Gateway(upstream, tls, lambda certificate, _: bool(certificate), forged, mail, limits)
    files = (folder / "gateway.crt", folder / "gateway.key", folder / "authority.crt")
    running = server(app, Door("127.0.0.1", port, *files), limits.connections)

    async def serve() -> None:
        with listen(mail, folder / "bell"):
            await running.serve()

    asyncio.run(serve())


def agents(folder: Path, address: str, owners: list[int], control: Connection) -> None:
    """A process of agents that echo until told to stop; a request of no weights gets an empty answer."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from tacit.client.node import Node
    from tacit.strategies.messages import Reply, request_from

    stop = threading.Event()

    def run(owner: int) -> None:
        tls = ssl.create_default_context(cafile=str(folder / "authority.crt"))
        tls.load_cert_chain(folder / f"owner-{owner}.crt", folder / f"owner-{owner}.key")
        key: Any = load_pem_private_key((folder / f"owner-{owner}.node").read_bytes(), None)
        with Node(address, tls, key, folder / f"owner-{owner}.json") as node:
            control.send("ready")
            while not stop.is_set():
                delivery = node.receive(1.0)
                if delivery is None:
                    continue
                asked = request_from(delivery.frame)
                reply = Reply(asked.run, asked.round, asked.attempt, (asked.owner,), "ok", asked.weights)
                node.send(delivery.ticket, reply.to_bytes())

    threads = [threading.Thread(target=run, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    control.recv()
    stop.set()
    for thread in threads:
        thread.join()


@contextmanager
def site(folder: Path, owners: int) -> Iterator[tuple[Any, dict[str, int]]]:
    """An `Exchange` with that many owners, and the process ids of what serves it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
    from tacit.server.exchange import Exchange
    from tacit.server.flower import Address, Nodes
    from tacit.server.mail import Bell
    from tacit.server.superlink import Settings

    certificates(folder, ["superlink", "gateway", *(f"owner-{owner}" for owner in range(owners))])
    files = (folder / "superlink.crt", folder / "superlink.key", folder / "authority.crt")
    settings = Settings(folder / "superlink", free_port(), *files)
    address = Address(
        settings.where, ssl.create_default_context(cafile=str(folder / "authority.crt")), settings.secret()
    )
    context, port = multiprocessing.get_context("spawn"), free_port()
    with (folder / "log").open("wb") as log:
        superlink = subprocess.Popen(settings.command(), env=settings.environment(), stdout=log, stderr=log)
    children: list[Any] = []
    pipes: list[Connection] = []
    exchange = None
    try:
        wait_for(settings.port)
        nodes = {}
        with closing(Nodes(address)) as registry:
            for owner in range(owners):
                key: Any = load_pem_private_key((folder / f"owner-{owner}.node").read_bytes(), None)
                public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                nodes[owner] = registry.admit(public)
        children.append(context.Process(target=gateway, args=(folder, settings.where, port)))
        for first in range(min(AGENT_PROCESSES, owners)):
            ours, theirs = context.Pipe()
            share = list(range(first, owners, AGENT_PROCESSES))
            pipes.append(ours)
            children.append(context.Process(target=agents, args=(folder, f"127.0.0.1:{port}", share, theirs)))
        children[0].start()
        wait_for(port)
        for child in children[1:]:
            child.start()
        for first, pipe in enumerate(pipes):
            for _ in range(first, owners, AGENT_PROCESSES):
                pipe.recv()
        exchange = Exchange(address, folder / "exchange", nodes, ring=Bell(folder / "bell").ring)
        programs = {"superlink": superlink.pid, "gateway": children[0].pid, "agents": children[1].pid}
        yield exchange, programs | {"coordinator": os.getpid()}
    finally:
        for pipe in pipes:
            pipe.send("stop")
        for child in children[1:]:
            child.join(20)
        if exchange is not None:
            exchange.finish()
        if children and children[0].pid is not None:
            children[0].terminate()
            children[0].join()
        superlink.terminate()
        superlink.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def spent(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(owners: int, megabytes: float, phases: int, rounds: int) -> None:
    """One line: a round of `phases` exchanges, the model both ways in each."""
    import torch
    from tacit.strategies.messages import Recipe, Request
    from tacit.strategies.terms import Terms

    recipe = Recipe({}, {}, (), 1, owners, Terms({"use": "echo"}, "1", "add-remove", {}, owners, rounds))
    weights = torch.randn(max(1, int(megabytes * 250_000)))
    with tempfile.TemporaryDirectory() as name, site(Path(name), owners) as (exchange, programs):
        taken: list[float] = []
        before: dict[str, float] = {}
        for number in range(-2, rounds):
            if number == 0:
                before = {program: spent(pid) for program, pid in programs.items()}
            started = time.perf_counter()
            for phase in range(phases):
                answered = 0
                requests = [Request("bench", number + 3, phase, owner, recipe, weights) for owner in range(owners)]
                for reply in exchange.replies(requests, 300.0):
                    assert reply.total is not None
                    assert torch.equal(reply.total, weights)
                    answered += 1
                assert answered == owners
            if number >= 0:
                taken.append(time.perf_counter() - started)
        cpu = {program: (spent(pid) - before[program]) / rounds for program, pid in programs.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shares = "  ".join(f"{program} {seconds:.3f}" for program, seconds in cpu.items())
    print(
        f"{owners:3d} owners  {megabytes:6.1f} MB  {phases} phases  median {statistics.median(taken):.3f} s  "
        f"(min {min(taken):.3f}, max {max(taken):.3f})  peak {peak:.0f} MB  processor seconds a round: {shares}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owners", type=lambda text: [int(word) for word in text.split(",")], default=[2, 10])
    parser.add_argument("--megabytes", type=float, default=0.0)
    parser.add_argument("--phases", type=lambda text: [int(word) for word in text.split(",")], default=[1, 4])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    for owners in arguments.owners:
        for phases in arguments.phases:
            measure(owners, arguments.megabytes, phases, arguments.rounds)


if __name__ == "__main__":
    main()
