"""The authority: real handshakes say who may pass for whom."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tacit.server import authority
from tacit.server.authority import Authority, AuthorityError, certify_servers
from tacit.server.home import ServerHome, ServerSettings
from tacit.strategies import keyfile
from tacit.strategies.keyfile import KeyFileError

NOW = time.time()
SETTINGS = ServerSettings(host="fl.example.org", names=("10.1.2.3",))
DAY = 86400.0


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    made = ServerHome(tmp_path / "server")
    keyfile.folder(made.root)
    made.settings_file.write_text("")
    return made


@pytest.fixture
def issuer(home: ServerHome) -> Authority:
    made = authority.found(home, NOW)
    certify_servers(home, made, SETTINGS, NOW)
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes:
    """What the client shows in a real handshake; raises `ssl.SSLError` where either side refuses."""
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)
    shown: list[bytes | ssl.SSLError] = []

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as accepted:
                accepted.sendall(b"!")
                shown.append(accepted.getpeercert(binary_form=True) or b"")
        except ssl.SSLError as error:
            shown.append(error)
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as connected:
            if connected.recv(1) != b"!":  # in TLS 1.3 a refused client learns it here
                raise ssl.SSLError("the server closed")
    finally:
        here.close()
        thread.join()
    if isinstance(shown[0], ssl.SSLError):
        raise shown[0]
    return shown[0]


def serving(home: ServerHome, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(home.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def connecting(
    home: ServerHome, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(home.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "c.key").write_bytes(keyfile.to_pem(key))
    context.load_cert_chain(folder / "c.pem", folder / "c.key")
    return context


@pytest.mark.parametrize("name", ["fl.example.org", "10.1.2.3", "localhost", "127.0.0.1", "::1"])
def test_an_owner_and_the_gateway_accept_each_other(home, issuer, tmp_path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issuer.for_owner("ward-3", key.public_key(), NOW)
    server = serving(home, home.gateway_certificate, home.gateway_key)
    shown = handshake(server, connecting(home, tmp_path, certificate, key), name)
    assert shown == certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(("name", "file"), [("evil.example.org", "gateway"), ("fl.example.org", "superlink")])
def test_a_server_passes_for_its_own_names_only(home, issuer, tmp_path, name: str, file: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    client = connecting(home, tmp_path, issuer.for_owner("a", key.public_key(), NOW), key)
    server = serving(home, home.root / "keys" / f"{file}.pem", home.root / "keys" / f"{file}.key")
    with pytest.raises(ssl.SSLError, match=r"(?i)mismatch|not valid for"):
        handshake(server, client, name)


def test_an_owner_cannot_pass_for_the_server(home, issuer, tmp_path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issuer.for_owner("fl.example.org", key.public_key(), NOW)
    client = connecting(home, tmp_path, certificate, key)
    with pytest.raises(ssl.SSLError, match=r"(?i)purpose"):
        handshake(serving(home, tmp_path / "c.pem", tmp_path / "c.key"), client, "fl.example.org")


def test_a_server_certificate_is_no_owners(home, issuer, tmp_path) -> None:
    server = serving(home, home.gateway_certificate, home.gateway_key)
    certificate = x509.load_pem_x509_certificate(home.superlink_certificate.read_bytes())
    client = connecting(home, tmp_path, certificate, keyfile.ec_key(home.superlink_key))
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "localhost")


def test_a_certificate_of_another_authority_or_none_is_refused(home, issuer, tmp_path) -> None:
    foreign = ServerHome(tmp_path / "foreign")
    keyfile.folder(foreign.root)
    # The worst case: another authority that calls itself the same.
    other = replace(authority.found(foreign, NOW), certificate=issuer.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    server = serving(home, home.gateway_certificate, home.gateway_key)
    with pytest.raises(ssl.SSLError):
        handshake(server, connecting(home, tmp_path, other.for_owner("a", key.public_key(), NOW), key), "localhost")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(home.authority)
    with pytest.raises(ssl.SSLError):
        handshake(server, bare, "localhost")


def test_an_owner_cannot_issue_certificates(home, issuer, tmp_path) -> None:
    key, inner = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    owner = issuer.for_owner("a", key.public_key(), NOW)
    forged = Authority(key, owner).for_owner("b", inner.public_key(), NOW)
    client = connecting(home, tmp_path, forged, inner)
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (forged, owner))
    (tmp_path / "c.pem").write_bytes(chain)
    client.load_cert_chain(tmp_path / "c.pem", tmp_path / "c.key")
    with pytest.raises(ssl.SSLError):
        handshake(serving(home, home.gateway_certificate, home.gateway_key), client, "localhost")


@pytest.mark.parametrize("at", [NOW - 900 * DAY, NOW + 2 * DAY], ids=["expired", "not yet valid"])
def test_an_owners_certificate_counts_in_its_time_only(home, issuer, tmp_path, at: float) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    client = connecting(home, tmp_path, issuer.for_owner("a", key.public_key(), at), key)
    with pytest.raises(ssl.SSLError):
        handshake(serving(home, home.gateway_certificate, home.gateway_key), client, "localhost")


def test_server_certificates_are_made_anew_only_when_they_have_to_be(home, issuer) -> None:
    def again(settings: ServerSettings = SETTINGS, now: float = NOW) -> list[str]:
        return [made.stem for made in certify_servers(home, issuer, settings, now)]

    key = home.gateway_key.read_bytes()
    assert again() == []
    assert again(now=NOW + 700 * DAY) == []
    assert again(now=NOW + 770 * DAY) == ["gateway", "superlink"]
    assert again(ServerSettings(host="new.example.org")) == ["gateway"]
    home.superlink_certificate.write_text("damaged")
    assert again(ServerSettings(host="new.example.org")) == ["superlink"]
    assert home.gateway_key.read_bytes() == key


def test_the_authority_comes_back_and_shows_no_key(home, issuer) -> None:
    found = authority.load(home)
    assert found.pin == issuer.pin
    assert "key" not in repr(found).lower().replace("tacit", "")


def test_a_certificate_of_another_key_is_refused(home, issuer, tmp_path) -> None:
    foreign = ServerHome(tmp_path / "foreign")
    keyfile.folder(foreign.root)
    authority.found(foreign, NOW)
    home.authority.write_bytes(foreign.authority.read_bytes())
    with pytest.raises(AuthorityError, match="restore both"):
        authority.load(home)


def test_an_open_key_file_is_refused(home, issuer) -> None:
    home.authority_key.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        authority.load(home)


def test_there_is_one_authority(home, issuer) -> None:
    with pytest.raises(FileExistsError):
        authority.found(home, NOW)
