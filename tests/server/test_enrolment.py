"""The office without a network: what it admits is what the owner gets, and refusals are counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.server.authority import LIFE
from tacit.server.enrolment import Enrolment, Office, Throttle, office
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


def posted(enrolment: Enrolment, path: str, body: str) -> tuple[int, str]:
    """Status and answer of one request from one address."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": [], "query_string": b"",
        "client": ("10.0.0.7", 4),
    }  # fmt: skip
    asyncio.run(enrolment(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


def test_an_owner_that_was_revoked_locks_nobody_out_who_shares_its_address(opened: Office) -> None:
    """Its agent comes back again and again; who only pretends to be it is counted."""
    keys = {name: Ed25519PrivateKey.generate() for name in ("ward-3", "ward-4")}
    for name, key in keys.items():
        pair = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
        opened.admit(admission.application(opened.invite(name, 60.0).secret, *pair, key).encode())
    opened.registry.revoke("ward-3", NOW)
    enrolment = Enrolment(opened, Throttle(most=3))
    for late in (0.0, 0.0, 0.0, 10_000.0, 10_000.0):  # revoked, or with a clock that goes wrong
        name = "ward-4" if late else "ward-3"
        asked = admission.roster_request(name, keys[name], NOW + late)
        assert posted(enrolment, admission.ROSTER_PATH, asked)[0] == 403
    assert posted(enrolment, admission.ROSTER_PATH, admission.roster_request("ward-4", keys["ward-4"], NOW))[0] == 200
    for _ in range(3):
        forged = admission.roster_request("ward-3", keys["ward-4"], NOW)
        assert posted(enrolment, admission.ROSTER_PATH, forged)[0] == 400
    assert posted(enrolment, admission.ROSTER_PATH, admission.roster_request("ward-4", keys["ward-4"], NOW))[0] == 429
