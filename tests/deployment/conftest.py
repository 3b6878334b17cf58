"""A real SuperLink behind the real gateway on loopback, and agents that echo; whole federations to be disturbed."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tacit.client.node import Delivery, Node
from tacit.config import Config, parse
from tacit.server import control
from tacit.server.child import Child
from tacit.server.door import Door, server
from tacit.server.exchange import Exchange
from tacit.server.flower import Address, Nodes, forged
from tacit.server.gateway import Gateway, Limits
from tacit.server.home import settings
from tacit.server.logfile import tail
from tacit.server.mail import Bell, Mail, listen
from tacit.server.pieces import Pieces
from tacit.server.runs import Runs
from tacit.server.strays import Record, StrayError
from tacit.server.superlink import Settings
from tacit.server.supervisor import Pace, Supervisor
from tacit.simulation.permission import asset_text, policy_text
from tacit.simulation.site import Site as FederationSite
from tacit.simulation.site import acquaint, enrol_owner, found_server, server_child
from tacit.strategies.control import ControlError
from tacit.strategies.federation import build
from tacit.tasks.source import Population


class Authority:
    """A certificate authority in a folder, for one test session."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / f"{name}.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        extensions = [x509.BasicConstraints(ca=True, path_length=0)]
        self._certificate = self._signed(self._name, self._key, extensions)
        self.path.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, server: bool) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.ExtendedKeyUsage([purpose]),
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        ]
        certificate, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(_name(name), key, extensions).public_bytes(Encoding.PEM))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, secret

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            self._name, name, key.public_key(), x509.random_serial_number(),
            now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1),
        )  # fmt: skip
        for extension in [*extensions, x509.SubjectKeyIdentifier.from_public_key(key.public_key())]:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


class SuperLink:
    """A SuperLink process that can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = self.settings
        settings.secret()
        with (settings.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                settings.command(), env=settings.environment(), cwd=settings.folder, stdout=log, stderr=log
            )
        until = time.monotonic() + 60
        with closing(socket.socket()) as probe:
            while probe.connect_ex(("127.0.0.1", settings.port)):
                assert self._process.poll() is None, (settings.folder / "log").read_text()[-2000:]
                assert time.monotonic() < until
                time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@dataclass
class Owner:
    """An owner's identity, as enrolment would leave it."""

    index: int
    certificate: Path
    secret: Path
    key: ec.EllipticCurvePrivateKey
    state: Path
    authority: Path

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.secret)
        return context


@dataclass
class Site:
    """A coordinator's machine."""

    folder: Path
    authority: Authority
    superlink: SuperLink
    address: Address
    gateway: str
    owners: list[Owner]
    nodes: dict[int, int]
    bound: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def pieces(self) -> Pieces:
        return Pieces(self.folder / "pieces")

    def exchange(self, name: str, resend: float = 30.0) -> Exchange:
        return Exchange(
            self.address,
            self.folder / name,
            self.nodes,
            self.pieces,
            resend=resend,
            ring=Bell(self.folder / "bell").ring,
        )

    def node(self, owner: int, **settings: float) -> Node:
        who = self.owners[owner]
        return Node(self.gateway, who.tls(), who.key, who.state, **{"patience": 40.0, "hold": 1.0, **settings})

    @contextmanager
    def agents(self, handle: Callable[[Node, Delivery], None], owners: tuple[int, ...] = (0, 1)) -> Iterator[None]:
        """Agents that pass what they receive to `handle`."""
        stop, faults = threading.Event(), list[BaseException]()
        ready = threading.Barrier(len(owners) + 1)

        def run(owner: int) -> None:
            try:
                with self.node(owner) as node:
                    ready.wait(30)
                    while not stop.is_set():
                        delivery = node.receive(0.5)
                        if delivery is not None:
                            handle(node, delivery)
            except BaseException as fault:
                faults.append(fault)
                ready.abort()
                raise

        threads = [threading.Thread(target=run, args=(owner,)) for owner in owners]
        for thread in threads:
            thread.start()
        try:
            ready.wait(30)
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        assert not faults


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with two enrolled owners, for all tests of a file."""
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder / "pki", "authority")
    settings = Settings(folder / "superlink", free_port(), *authority.issue("superlink", server=True), authority.path)
    superlink = SuperLink(settings)
    superlink.start()
    tls = ssl.create_default_context(cafile=str(authority.path))
    address = Address(settings.where, tls, settings.secret())
    owners = [
        Owner(
            index, *authority.issue(f"owner-{index}", server=False), ec.generate_private_key(ec.SECP384R1()),
            folder / f"node-{index}.json", authority.path,
        )
        for index in range(2)
    ]  # fmt: skip
    bound = {_der(owner.certificate): owner.public for owner in owners}
    try:
        with closing(Nodes(address)) as registry:
            nodes = {owner.index: registry.admit(owner.public) for owner in owners}
        door = Door("127.0.0.1", free_port(), *authority.issue("gateway", server=True), authority.path)
        limits = Limits(body=2.0)
        with served(folder, address, bound, door, limits):
            where = f"{door.host}:{door.port}"
            yield Site(folder, authority, superlink, address, where, owners, nodes, bound)
    finally:
        superlink.kill()


@contextmanager
def served(
    folder: Path, address: Address, bound: dict[bytes, bytes], door: Door, limits: Limits
) -> Iterator[uvicorn.Server]:
    """The gateway in a thread of this process, on a real port."""
    mail = Mail()
    gateway = Gateway(
        address.where, address.tls, lambda certificate, key: bound.get(certificate) == key, forged, mail,
        Pieces(folder / "pieces"), limits,
    )  # fmt: skip
    running = server(gateway, door, limits.connections)

    async def serve() -> None:
        with listen(mail, folder / "bell"):
            await running.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        until = time.monotonic() + 20
        while not running.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield running
    finally:
        running.should_exit = True
        thread.join(20)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


_AGENT = '''\
"""An owner's agent that writes down, before each reply leaves, what leaves; where a file says so, it dies or waits then."""
import hashlib, logging, os, signal, sys, time
from pathlib import Path
from tacit.client import agent, node
from tacit.strategies.messages import reply_from

root, seed = Path(sys.argv[1]), int(sys.argv[2])
left = os.open(root.parent / f"{root.name}.left", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
send = node.Node.send

def told(self, ticket, frame):
    reply = reply_from(frame)
    at = root.parent / f"{root.name}.{reply.round}.{reply.step}"
    if reply.status == "ok" and (dies := at.with_suffix(at.suffix + ".dies")).exists():
        dies.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if reply.status == "ok" and (waits := at.with_suffix(at.suffix + ".waits")).exists():
        waits.rename(held := at.with_suffix(at.suffix + ".held"))
        while held.exists():
            time.sleep(0.02)
    if reply.status == "ok":
        os.write(left, f"{hashlib.sha256(frame).hexdigest()}\\n".encode())
    return send(self, ticket, frame)

node.Node.send = told
logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
agent.serve(root, seed)
'''
# The clock that Flower, an agent's connection and everything of Tacit's reads is off by what a file says, from one instant to
# the next. Replacing `datetime` everywhere would break extension modules, so the two modules that ask it for now get another.
_CLOCK = """\
import datetime, importlib.util, mmap, os, struct, sys, time, types

with open(os.environ["TACIT_TEST_CLOCK"], "rb") as file:
    ahead = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
real = time.time
time.time = lambda: real() + struct.unpack("<d", ahead[:8])[0]
off = types.SimpleNamespace(now=lambda tz=None: datetime.datetime.fromtimestamp(time.time(), tz))
true = types.SimpleNamespace(**{**vars(time), "time": real})  # its core reads the true clock: deadlines must be of the same
PLACES = {
    "flwr.supercore.date": ("datetime", types.SimpleNamespace(datetime=off, UTC=datetime.UTC)),
    "tacit.client.flower": ("datetime", off), "grpc._channel": ("time", true),
}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in PLACES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            word, clock = PLACES[name]
            assert word in vars(module), name
            setattr(module, word, clock)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


class Cable:
    """The network between agents and gateway: a TCP proxy that can be cut, also in the middle of a message."""

    def __init__(self, onward: int) -> None:
        self._onward, self._whole = onward, threading.Event()
        self._whole.set()
        self._cutting = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection and let none through."""
        self._whole.clear()
        for each in list(self._open):
            self._break(each)

    def cut_in_a_message(self) -> None:
        """Cut as soon as an agent says more than a few hundred bytes, half of which still arrive."""
        self._cutting.set()

    def mend(self) -> None:
        """Let connections through again."""
        self._cutting.clear()
        self._whole.set()

    @property
    def whole(self) -> bool:
        return self._whole.is_set()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            if not self._whole.is_set():
                raise OSError
            far = socket.create_connection(("127.0.0.1", self._onward), 5.0)
        except OSError:  # the gateway is down, or the cable is cut
            self._break(near)
            return
        far.settimeout(None)
        self._open |= {near, far}
        back = threading.Thread(target=self._copy, args=(far, near, False), daemon=True)
        back.start()
        self._copy(near, far, True)
        back.join()
        self._open -= {near, far}
        near.close()
        far.close()

    def _copy(self, source: socket.socket, sink: socket.socket, out: bool) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 16):
                if out and self._cutting.is_set() and len(content) > 700:
                    self._cutting.clear()
                    sink.sendall(content[: len(content) // 2])
                    self.cut()
                sink.sendall(content)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _break(self, each: socket.socket) -> None:
        with suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            each.close()


class Disk:
    """The disk of one part of a federation, which can be full.

    Where mounting is permitted it is a small disk of its own, and full to the last byte; elsewhere the part's processes may
    write no file beyond its first byte (RLIMIT_FSIZE), which fails the same calls.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", str(folder)], capture_output=True
        )
        self.own = done.returncode == 0

    def fill(self, processes: Iterable[int]) -> None:
        """No room from now on."""
        if not self.own:
            for process in processes:
                with suppress(ProcessLookupError):
                    resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with (self._folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while ballast.write(bytes(size)):
                        pass

    def free(self, processes: Iterable[int]) -> None:
        """There is room again."""
        if self.own:
            (self._folder / "ballast").unlink()
            return
        for process in processes:
            with suppress(ProcessLookupError):
                resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self) -> None:
        """Take the disk away."""
        if self.own:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class Federation:
    """A coordinator and owners' agents as real processes, each kept running as a service manager would.

    The agents reach the gateway over `cable`. `clock` names a part ("server", "owner-0") whose clock can be set.
    """

    def __init__(self, folder: Path, config: Config, owners: int, seed: int, further: str = "") -> None:
        self.site, self.config, self.owners, self.seed = FederationSite(folder / "site"), config, owners, seed
        self._folder, self._further = folder, further
        self.disks = {"server": Disk(folder / "site"), "owner-0": Disk(folder / "owners" / "owner-0")}
        (folder / "site" / "owners").symlink_to(folder / "owners")
        self._supervisors: dict[str, Supervisor] = {}
        self._threads: list[threading.Thread] = []
        self._faults: list[BaseException] = []
        (folder / "python").mkdir(parents=True)
        (folder / "python" / "sitecustomize.py").write_text(_CLOCK)
        (folder / "agent.py").write_text(_AGENT)
        for part in ("server", *(f"owner-{number}" for number in range(owners))):
            (folder / f"{part}.clock").write_bytes(struct.pack("<d", 0.0))

    def __enter__(self) -> Federation:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        site, federation = self.site, build(self.config)
        found_server(site)
        self.metrics = f"http://127.0.0.1:{(port := free_port())}/metrics"
        with site.server.settings_file.open("a") as file:
            file.write(f'metrics = "127.0.0.1:{port}"\n')
        self.cable = Cable(int(settings(site.server).gateway.rpartition(":")[2]))
        self._keep("server", [replace(server_child(site, self.seed, None), environment=self._environment("server"))])
        self.wait(lambda: self._supervisors["server"].ready(), 120)
        policy = policy_text(federation, seeded=True).replace("[policy]\n", f"[policy]\n{self._further}", 1)
        for number in range(self.owners):
            share = Population(number, self.owners, self.seed, federation.partition)
            enrol_owner(site, number, policy + asset_text(self.config, str(share)))
            home = site.owner(number)
            found = json.loads(home.coordinator.read_text())
            home.coordinator.write_text(json.dumps({**found, "gateway": f"127.0.0.1:{self.cable.port}"}))
        if federation.pipeline.final.masked:
            acquaint(site, self.owners)
        self._keep("agents", [self._agent(number) for number in range(self.owners)])

    def __exit__(self, *_: object) -> None:
        for name in ("agents", "server"):
            if name in self._supervisors:
                self._supervisors[name].stop()
        for thread in self._threads:
            thread.join(90)
        if hasattr(self, "cable"):
            self.cable.close()
        if kept := os.environ.get("TACIT_TEST_LOGS"):  # a disk of its own is gone with its logs
            for path in [*self.site.root.rglob("*.log"), *self.site.root.rglob("rounds.jsonl")]:
                shutil.copy(path, Path(kept) / "_".join(path.relative_to(self.site.root).parts))
        for disk in self.disks.values():
            disk.close()
        assert not self._faults

    def ask(self, changes: Mapping[str, Any] | None = None) -> str:
        """Ask for a run, as soon as the coordinator can be asked; its name."""
        return str(self.told("run", {"config": parse(self.config.to_toml(), changes).to_toml()})["run"])

    def ended(self, run: str, patience: float = 120.0) -> dict[str, Any]:
        """How the run ended, at its first try."""
        self.wait(lambda: self.told("show", {"run": run})["state"] not in ("waiting", "running"), patience)
        return self.told("show", {"run": run})

    def told(self, method: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the coordinator answers, however long it may be away."""
        until = time.monotonic() + 120
        while True:
            try:
                return control.ask(self.site.server.root, method, request)
            except ControlError:
                assert time.monotonic() < until, self.logs()
                time.sleep(0.1)

    def finished(self, run: str, patience: float = 240.0) -> dict[str, Any]:
        """How the run ended, after it was tried again wherever it failed."""
        until = time.monotonic() + patience
        while (shown := self.told("show", {"run": run}))["state"] not in ("done", "refused"):
            assert time.monotonic() < until, f"{shown}\n{self.logs()}"
            if shown["state"] == "failed":
                self.told("again", {"run": run})
            time.sleep(0.2)
        return shown

    def after(self, run: str, rounds: int) -> None:
        """Wait until the run has had so many rounds."""
        self.wait(lambda: len(Runs(self.site.server.runs).named(run).rows()) >= rounds, 120)

    def rounds(self, run: str) -> list[dict[str, Any]]:
        """The lines of its rounds."""
        return Runs(self.site.server.runs).named(run).rows()

    def process(self, part: str) -> int | None:
        """The process of a part: server, coordinator, gateway, superlink, owner-0, …; None where there is none now."""
        for supervisor in self._supervisors.values():
            for child in supervisor.status():
                if child.name == part:
                    return child.pid
        with suppress(StrayError):
            record = Record.load(self.site.server.root / "children.json")
            return record.children[part].pid if record is not None and part in record.children else None
        return None

    def processes(self, part: str) -> list[int]:
        """All processes of the server, or the one of an owner."""
        parts = ("server", "superlink", "coordinator", "gateway") if part == "server" else (part,)
        return [found for each in parts if (found := self.process(each)) is not None]

    def kill(self, part: str) -> bool:
        """kill -9; False where there is nothing to kill just now."""
        found = self.process(part)
        if found is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(found, signal.SIGKILL)
            return True
        return False

    def when(self, owner: int, round: int, step: int, what: str) -> Path:
        """Let an agent do something just before its answer to a step leaves: it `dies`, or it `waits` while a file is there.

        The path is that of the file once it waits.
        """
        at = self.site.owner(owner).root.parent / f"owner-{owner}.{round}.{step}"
        at.with_name(f"{at.name}.{what}").touch()
        return at.with_name(f"{at.name}.held")

    def scrape(self) -> list[str]:
        """The lines of the metrics."""
        token = self.site.server.metrics_token.read_text().strip()
        request = urllib.request.Request(self.metrics, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20.0) as answer:
            return answer.read().decode().splitlines()

    def set_clock(self, part: str, ahead: float) -> None:
        """Set the clock of a part's processes so many seconds ahead (or, below 0, back) of the true time."""
        # In place: a file that is cut to nothing for an instant kills (SIGBUS) whoever has it mapped and looks then.
        with (self._folder / f"{part}.clock").open("r+b", buffering=0) as clock:
            clock.write(struct.pack("<d", ahead))

    def lines(self, number: int) -> list[tuple[Any, ...]]:
        """The lines of an owner's ledger, read beside the agent."""
        path = self.site.owner(number).ledgers / "share.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as found:
            return found.execute("SELECT number, body, digest FROM entries ORDER BY number").fetchall()

    def left(self, number: int) -> list[str]:
        """The digests of the replies that left an owner, in order."""
        path = self.site.owner(number).root.with_suffix(".left")
        return path.read_text().split() if path.exists() else []

    def wait(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Until `condition` holds."""
        until = time.monotonic() + seconds
        while not condition():
            assert not self._faults, self.logs()
            assert time.monotonic() < until, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        """The end of every log."""
        paths = sorted(self.site.root.rglob("*.log"))
        return "\n".join(f"== {path.name}\n{tail(path, 12)}" for path in paths) + "".join(map(repr, self._faults))

    def _agent(self, number: int) -> Child:
        root, name = self.site.owner(number).root, f"owner-{number}"
        argv = (sys.executable, "-P", str(self._folder / "agent.py"), str(root), str(self.seed))
        return Child(name, argv, environment=self._environment(name), grace=20.0)

    def _environment(self, part: str) -> dict[str, str]:
        path = os.pathsep.join([str(self._folder / "python"), *filter(None, [os.environ.get("PYTHONPATH")])])
        clock = str(self._folder / f"{part}.clock")
        return {**os.environ, "PYTHONPATH": path, "TACIT_TEST_CLOCK": clock, "OMP_NUM_THREADS": "1"}

    def _keep(self, name: str, children: list[Child]) -> None:
        """Keep `children` running in a thread: children end with the thread that started them."""
        made, pace = threading.Event(), Pace(least=0.1, most=1.0, settled=1.0, probe=0.5)

        def run() -> None:
            try:
                with Supervisor(self.site.root / name.replace("server", "kept"), children, pace=pace) as supervisor:
                    self._supervisors[name] = supervisor
                    made.set()
                    supervisor.start()
                    supervisor.watch()
            except BaseException as fault:
                self._faults.append(fault)
                made.set()
                raise

        thread = threading.Thread(target=run, name=f"test-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)
        assert made.wait(30)


@pytest.fixture(scope="module")
def federation_of(tmp_path_factory: pytest.TempPathFactory) -> type[Federation]:
    """What makes a federation of real processes."""
    return Federation
