"""The office without a network: what it admits is what the owner gets, and refusals are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.server.authority import LIFE
from tacit.server.enrolment import Office, Throttle, office
from tacit.server.founding import found
from tacit.server.registry import EnrolledError, Owner, Registry
from tacit.strategies import admission, roster

NOW = 1_800_000_000.0


@pytest.fixture
def opened(tmp_path: Path):
    home = found(tmp_path / "server", "fl.example.org", "0.0.0.0:1", "0.0.0.0:2", NOW).home
    with Registry(home.registry) as registry:
        yield replace(office(home, registry), clock=lambda: NOW)


def form(secret: bytes) -> bytes:
    keys = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    return admission.application(secret, *keys, Ed25519PrivateKey.generate()).encode()


def test_the_name_is_the_coordinators_choice(opened: Office) -> None:
    token = opened.invite("ward-3", 60.0)
    admitted = opened.admit(form(token.secret))
    certificate = x509.load_pem_x509_certificate(admitted.certificate.encode())
    assert admitted.name == "ward-3"
    assert certificate.subject.rfc4514_string() == "CN=ward-3"
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < LIFE * 1.01
    assert (admitted.gateway, admitted.enrolment) == ("fl.example.org:1", "fl.example.org:2")


def test_everybody_who_is_told_is_told_who_was_admitted(opened: Office) -> None:
    told: list[Owner] = []
    token = opened.invite("ward-3", 60.0)
    replace(opened, enrolled=told.append).admit(form(token.secret))
    assert told == [opened.registry.owner("ward-3")]
    with pytest.raises(EnrolledError):
        opened.invite("ward-3", 60.0)


def test_the_roster_is_signed_by_the_coordinators_key(opened: Office) -> None:
    token = opened.invite("ward-3", 60.0)
    admitted = opened.admit(form(token.secret))
    key = opened.signing_key.public_key()
    assert admitted.coordinator_key == key.public_bytes_raw().hex()
    found_roster = roster.verify(admitted.roster, key, opened.authority.pin)
    assert [entry.name for entry in found_roster.entries] == ["ward-3"]


def test_a_throttle_opens_again_and_forgets_those_it_cannot_hold() -> None:
    throttle = Throttle(most=2, window=10.0)
    for at in (0.0, 5.0):
        assert throttle.open("a", at)
        throttle.refused("a", at)
    assert not throttle.open("a", 9.9)
    assert throttle.open("b", 9.9)
    assert throttle.open("a", 10.0)
    for number in range(20_000):
        throttle.refused(str(number), 11.0)
    assert len(throttle._refused) == 10_000
