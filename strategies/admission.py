"""Admission: what an owner sends to enrol, and what it gets. Values and JSON text; no private key is in either.

The owner makes three keys and proves that it holds each one:
- for TLS, P-256: by the signing request itself;
- for Flower's node authentication, P-384, and for the roster, Ed25519: by a signature over

    "tacit enrolment v1\\0" | SHA-256(secret) | SHA-256(TLS key) | SHA-256(node key) | signing key

so that a proof made for one invitation or one set of keys says nothing of another.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID
from pydantic import Field, ValidationError

from ..config import Frame

PATH = "/tacit/v1/enrol"
AUTHORITY_PATH = "/tacit/v1/authority"
ROSTER_PATH = "/tacit/v1/roster"
RENEWAL_PATH = "/tacit/v1/renewal"
LARGEST = 16 << 10  # bytes of an application
_TAG = b"tacit enrolment v1\0"
_ROSTER_TAG = b"tacit roster request v1\0"
_RENEWAL_TAG = b"tacit renewal request v1\0"


class AdmissionError(Exception):
    """An application or an admission that is not what it has to be."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """The keys of an owner that holds an invitation; made at the owner, proved to be there."""

    secret: bytes = field(repr=False)
    tls_key: ec.EllipticCurvePublicKey
    node_key: bytes
    signing_key: bytes

    def digest(self) -> bytes:
        """SHA-256 over the keys: the same applicant may ask again, nobody else."""
        return hashlib.sha256(_transcript(self.secret, self.tls_key, self.node_key, self.signing_key)).digest()


class _Application(Frame):
    secret: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    request: str
    node_key: str
    node_proof: str
    signing_key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    signing_proof: str


class Admission(Frame):
    """What the coordinator answers: the owner's certificate, whom to trust, where to connect, and who else takes part."""

    name: str
    number: int
    certificate: str
    authority: str
    coordinator_key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    gateway: str
    enrolment: str
    roster: str


class _SignedRequest(Frame):
    name: str = Field(max_length=64)
    time: int
    signature: str = Field(max_length=128)


def application(
    secret: bytes, tls: ec.EllipticCurvePrivateKey, node: ec.EllipticCurvePrivateKey, signing: Ed25519PrivateKey
) -> str:
    """The JSON text that an owner sends."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "owner")])  # the coordinator decides on the name
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(tls, hashes.SHA256())
    node_key, signing_key = public_pem(node.public_key()), signing.public_key().public_bytes_raw()
    transcript = _transcript(secret, tls.public_key(), node_key, signing_key)
    return _Application(
        secret=secret.hex(),
        request=request.public_bytes(serialization.Encoding.PEM).decode(),
        node_key=node_key.decode(),
        node_proof=_text(node.sign(transcript, ec.ECDSA(hashes.SHA256()))),
        signing_key=signing_key.hex(),
        signing_proof=_text(signing.sign(transcript)),
    ).model_dump_json()


def applicant(text: bytes) -> Applicant:
    """The applicant behind a text, its proofs checked; raises `AdmissionError`, which never repeats the text."""
    try:
        form = _Application.model_validate_json(text, strict=True)
        secret, signing_key = bytes.fromhex(form.secret), bytes.fromhex(form.signing_key)
        request = x509.load_pem_x509_csr(form.request.encode())
        tls, node = request.public_key(), serialization.load_pem_public_key(form.node_key.encode())
        if not isinstance(tls, ec.EllipticCurvePublicKey) or not isinstance(tls.curve, ec.SECP256R1):
            raise AdmissionError(
                "the signing request is not for a P-256 key; use the same version of tacit as the server"
            )
        if not isinstance(node, ec.EllipticCurvePublicKey) or not isinstance(node.curve, ec.SECP384R1):
            raise AdmissionError("the node key is no P-384 key; use the same version of tacit as the server")
        node_key = public_pem(node)
        # Parsers take a point in hybrid form too: a second text for the same key, where one key has one text.
        if "".join(form.node_key.split()) != "".join(node_key.decode().split()):
            raise ValueError("the node key is not in its one encoding")
        # And a signature that says of its last bits that they are not its own: the byte before it counts them.
        if not request.public_bytes(serialization.Encoding.DER).endswith(b"\0" + request.signature):
            raise ValueError("the signing request is not in its one encoding")
        transcript = _transcript(secret, tls, node_key, signing_key)
        node.verify(base64.b64decode(form.node_proof, validate=True), transcript, ec.ECDSA(hashes.SHA256()))
        Ed25519PublicKey.from_public_bytes(signing_key).verify(
            base64.b64decode(form.signing_proof, validate=True), transcript
        )
        proved = request.is_signature_valid
    except (ValidationError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, ValueError, TypeError):
        # The cause is left out: a parser's error quotes what it read.
        raise AdmissionError(
            "the application is malformed or a proof is wrong; enrol with `tacit client enroll`"
        ) from None
    if not proved:
        raise AdmissionError("the signing request is not signed by its own key; enrol with `tacit client enroll`")
    return Applicant(secret, tls, node_key, signing_key)


def roster_request(name: str, key: Ed25519PrivateKey, now: float) -> str:
    """What an enrolled owner sends to see the roster: its name and the time (whole seconds), signed."""
    return _signed_request(_ROSTER_TAG, name, key, now)


def renewal_request(name: str, key: Ed25519PrivateKey, now: float) -> str:
    """What an enrolled owner sends for a new certificate of the TLS key that it has: as for the roster, by another tag."""
    return _signed_request(_RENEWAL_TAG, name, key, now)


def _signed_request(tag: bytes, name: str, key: Ed25519PrivateKey, now: float) -> str:
    time = int(now)
    return _SignedRequest(name=name, time=time, signature=_text(key.sign(_asking(tag, name, time)))).model_dump_json()


def asked_by(text: bytes) -> tuple[str, int, bytes]:
    """Name, time and signature of a request for the roster or a renewal; raises `AdmissionError`."""
    try:
        form = _SignedRequest.model_validate_json(text, strict=True)
        return form.name, form.time, base64.b64decode(form.signature, validate=True)
    except (ValidationError, ValueError):
        raise AdmissionError(
            "this is no request of an enrolled owner; use the same version of tacit as the server"
        ) from None


def is_asked_by(key: bytes, name: str, time: int, signature: bytes) -> bool:
    """Whether the holder of the Ed25519 `key` made a request for the roster."""
    return _is_signed(_asking(_ROSTER_TAG, name, time), key, signature)


def is_renewal_of(key: bytes, name: str, time: int, signature: bytes) -> bool:
    """Whether the holder of the Ed25519 `key` made a request for a renewal."""
    return _is_signed(_asking(_RENEWAL_TAG, name, time), key, signature)


def _is_signed(text: bytes, key: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as Flower's node authentication writes it; the same key has the same bytes."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _transcript(secret: bytes, tls: ec.EllipticCurvePublicKey, node_key: bytes, signing_key: bytes) -> bytes:
    parts = (secret, public_pem(tls), node_key)
    return _TAG + b"".join(hashlib.sha256(part).digest() for part in parts) + signing_key


def _asking(tag: bytes, name: str, time: int) -> bytes:
    return tag + name.encode() + b"\0" + str(time).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
