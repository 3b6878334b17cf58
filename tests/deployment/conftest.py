"""A real SuperLink behind the real gateway on loopback, and agents that echo."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tacit.client.node import Delivery, Node
from tacit.server.door import Door, server
from tacit.server.exchange import Exchange
from tacit.server.flower import Address, Nodes, forged
from tacit.server.gateway import Gateway, Limits
from tacit.server.mail import Bell, Mail, listen
from tacit.server.superlink import Settings


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

    def exchange(self, name: str, resend: float = 30.0) -> Exchange:
        return Exchange(
            self.address, self.folder / name, self.nodes, resend=resend, ring=Bell(self.folder / "bell").ring
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
        address.where, address.tls, lambda certificate, key: bound.get(certificate) == key, forged, mail, limits
    )
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
