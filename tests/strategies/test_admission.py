"""Applications: only who holds all three keys and the secret makes one, and no private key is in it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.admission import (
    LARGEST,
    AdmissionError,
    applicant,
    application,
    asked_by,
    is_asked_by,
    public_pem,
    roster_request,
)
from tacit.strategies.keyfile import to_pem

SECRET = bytes(range(32))
TLS, NODE = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
SIGNING = Ed25519PrivateKey.generate()
TEXT = application(SECRET, TLS, NODE, SIGNING)
OTHERS = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    Ed25519PrivateKey.generate(),
)
OTHER: dict[str, Any] = json.loads(application(bytes(32), *OTHERS))


def test_an_application_comes_back() -> None:
    found = applicant(TEXT.encode())
    assert (found.secret, found.signing_key) == (SECRET, SIGNING.public_key().public_bytes_raw())
    assert found.tls_key == TLS.public_key()
    assert found.node_key == public_pem(NODE.public_key())
    assert len(TEXT) < LARGEST


def test_the_digest_is_that_of_the_keys_not_of_the_signatures() -> None:
    again = application(SECRET, TLS, NODE, SIGNING)
    assert again != TEXT  # ECDSA draws a number for each signature
    assert applicant(again.encode()).digest() == applicant(TEXT.encode()).digest()
    others = application(SECRET, TLS, NODE, Ed25519PrivateKey.generate())
    assert applicant(others.encode()).digest() != applicant(TEXT.encode()).digest()


def test_no_private_key_is_in_it() -> None:
    private = [to_pem(TLS), to_pem(NODE), to_pem(SIGNING)]
    lines = [line for pem in private for line in pem.decode().splitlines() if "-----" not in line]
    assert "PRIVATE" not in TEXT
    assert not [line for line in lines if line in TEXT]
    assert SIGNING.private_bytes_raw().hex() not in TEXT


@pytest.mark.parametrize("part", sorted(OTHER))
def test_no_part_can_come_from_another_application(part: str) -> None:
    mixed = {**json.loads(TEXT), part: OTHER[part]}
    with pytest.raises(AdmissionError):
        applicant(json.dumps(mixed).encode())


@pytest.mark.parametrize(
    ("tls", "node"),
    [(ec.SECP384R1(), ec.SECP384R1()), (ec.SECP256R1(), ec.SECP256R1()), (ec.SECP256R1(), ec.SECP521R1())],
    ids=["tls", "node", "larger node"],
)
def test_other_kinds_of_key_are_refused(tls: ec.EllipticCurve, node: ec.EllipticCurve) -> None:
    text = application(SECRET, ec.generate_private_key(tls), ec.generate_private_key(node), SIGNING)
    with pytest.raises(AdmissionError, match="same version"):
        applicant(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(AdmissionError):
        applicant(text)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(at: int, change: int) -> None:
    changed = bytearray(TEXT.encode())
    changed[at % len(changed)] ^= change
    try:
        found = applicant(bytes(changed))
    except AdmissionError:
        return
    assert found.digest() == applicant(TEXT.encode()).digest()


@given(st.sampled_from(["request", "node_key"]), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_below_the_text_is_refused(part: str, at: int, change: int) -> None:
    form = json.loads(TEXT)
    first, *lines, last = form[part].strip().splitlines()
    raw = bytearray(base64.b64decode("".join(lines)))
    raw[at % len(raw)] ^= change
    form[part] = f"{first}\n{base64.b64encode(raw).decode()}\n{last}\n"
    with pytest.raises(AdmissionError):
        applicant(json.dumps(form).encode())


def test_a_signing_request_has_one_encoding() -> None:
    """Where a signature ends with a bit 0 that bit may be said to be unused, and the signature stays valid."""
    for _ in range(100):
        form = json.loads(application(SECRET, TLS, NODE, SIGNING))
        first, *lines, last = form["request"].strip().splitlines()
        raw = bytearray(base64.b64decode("".join(lines)))
        if raw[-1] % 2 == 0:
            break
    assert raw[-1] % 2 == 0
    signature = x509.load_pem_x509_csr(form["request"].encode()).signature
    raw[-len(signature) - 1] = 1
    form["request"] = f"{first}\n{base64.b64encode(raw).decode()}\n{last}\n"
    assert x509.load_pem_x509_csr(form["request"].encode()).is_signature_valid
    with pytest.raises(AdmissionError):
        applicant(json.dumps(form).encode())


def test_an_unknown_key_is_refused_and_the_secret_not_repeated() -> None:
    with pytest.raises(AdmissionError) as found:
        applicant(json.dumps({**json.loads(TEXT), "name": "me"}).encode())
    assert SECRET.hex() not in str(found.value)
    assert found.value.__cause__ is None


def test_who_asks_for_the_roster() -> None:
    name, time, signature = asked_by(roster_request("a", SIGNING, 1000.7).encode())
    key = SIGNING.public_key().public_bytes_raw()
    assert (name, time) == ("a", 1000)
    assert is_asked_by(key, name, time, signature)
    assert not is_asked_by(key, "b", time, signature)
    assert not is_asked_by(key, name, 1001, signature)
    assert not is_asked_by(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), name, time, signature)


def test_a_key_has_one_encoding() -> None:
    """The hybrid form of a point (first byte 6 or 7 for 4) is parsed as the same key; it is refused all the same."""
    form = json.loads(TEXT)
    first, *lines, last = form["node_key"].strip().splitlines()
    raw = bytearray(base64.b64decode("".join(lines)))
    at = len(raw) - 97  # an uncompressed P-384 point closes the key
    assert raw[at] == 4
    raw[at] = 6 + raw[-1] % 2
    form["node_key"] = f"{first}\n{base64.b64encode(raw).decode()}\n{last}\n"
    with pytest.raises(AdmissionError):
        applicant(json.dumps(form).encode())
