"""Identities: they load only where keys, certificate and authority belong together."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tacit.client.enrolment import ImpostorError, accept
from tacit.client.home import ClientHome, HomeError
from tacit.client.identity import IdentityError, load, make_keys
from tacit.server.enrolment import Office, office
from tacit.server.founding import found
from tacit.server.registry import Registry
from tacit.strategies import admission, keyfile, roster
from tacit.strategies.admission import Admission
from tacit.strategies.keyfile import KeyFileError
from tacit.strategies.token import Token

DAY = 86400.0


@pytest.fixture
def opened(tmp_path: Path):
    home = found(tmp_path / "server", "localhost", "127.0.0.1:1", "127.0.0.1:2", time.time()).home
    with Registry(home.registry) as registry:
        yield office(home, registry)


def admitted(opened: Office, home: ClientHome) -> tuple[Token, Admission]:
    token, keys = opened.invite(home.root.name, 60.0), make_keys(home)
    return token, opened.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())


def enrolled(opened: Office, home: ClientHome) -> ClientHome:
    token, answer = admitted(opened, home)
    accept(answer, opened.authority.pem().decode(), token, home, time.time())
    return home


@pytest.fixture
def home(opened: Office, tmp_path: Path) -> ClientHome:
    return enrolled(opened, ClientHome(tmp_path / "a"))


def test_keys_are_made_once(tmp_path: Path) -> None:
    home = ClientHome(tmp_path / "a")
    first = make_keys(home)
    home.node_key.unlink()  # as if a crash had come before it
    second = make_keys(home)
    assert first.tls.private_numbers() == second.tls.private_numbers()
    assert first.node.private_numbers() != second.node.private_numbers()
    assert first.node.curve.name == "secp384r1"


def test_an_identity_loads(home: ClientHome) -> None:
    found_identity = load(home, time.time())
    assert (found_identity.name, found_identity.entry.name) == ("a", "a")
    assert found_identity.tls().get_ca_certs()


def test_nobody_enrolled(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="client enroll TOKEN"):
        load(ClientHome(tmp_path), time.time())


@pytest.mark.parametrize("name", ["tls.key", "node.key", "signing.key"])
def test_an_open_key_is_refused(home: ClientHome, name: str) -> None:
    (home.keys / name).chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(home, time.time())


def test_the_certificate_of_another_owner_is_refused(opened: Office, home: ClientHome, tmp_path: Path) -> None:
    other = enrolled(opened, ClientHome(tmp_path / "b"))
    keyfile.replace(home.certificate, other.certificate.read_bytes())
    with pytest.raises(IdentityError, match="another"):
        load(home, time.time())


def test_another_authority_is_refused(home: ClientHome, tmp_path: Path) -> None:
    other = found(tmp_path / "2", "localhost", "127.0.0.1:1", "127.0.0.1:2", time.time()).home
    keyfile.replace(home.authority, other.authority.read_bytes())
    with pytest.raises(IdentityError, match="not issued by"):
        load(home, time.time())


@pytest.mark.parametrize("later", [-2 * DAY, 900 * DAY])
def test_a_certificate_out_of_its_time_is_refused_with_both_times(home: ClientHome, later: float) -> None:
    with pytest.raises(IdentityError, match="clock"):
        load(home, time.time() + later)


def test_a_damaged_record_is_refused(home: ClientHome) -> None:
    keyfile.replace(home.coordinator, b"{")
    with pytest.raises(IdentityError, match="damaged"):
        load(home, time.time())


def test_an_admission_is_taken_whole_or_not_at_all(opened: Office, tmp_path: Path) -> None:
    other = enrolled(opened, ClientHome(tmp_path / "b"))
    home = ClientHome(tmp_path / "a")
    token, answer = admitted(opened, home)
    authority = opened.authority.pem().decode()
    stranger = replace(load(other, time.time()).entry, name="a", number=answer.number)
    forged = roster.sign(roster.Roster(token.pin, 9, (stranger,)), opened.signing_key)
    for change in (
        {"name": "c"},
        {"number": 7},
        {"certificate": other.certificate.read_text()},
        {"coordinator_key": "00" * 32},
        {"roster": "{}"},
        {"roster": forged},
        {"roster": roster.sign(roster.Roster(token.pin, 9, ()), opened.signing_key)},
        {"roster": roster.sign(roster.Roster(bytes(32), 9, ()), opened.signing_key)},
    ):
        with pytest.raises((ImpostorError, IdentityError)):
            accept(answer.model_copy(update=change), authority, token, home, time.time())
        assert sorted(each.name for each in home.root.iterdir()) == ["keys"]
    assert accept(answer, authority, token, home, time.time()).name == "a"
