"""Identity: who an owner is, and whom it takes for its coordinator. Keys are made here and never leave.

| key     | kind    | says who this owner is to                                             |
|---------|---------|-----------------------------------------------------------------------|
| TLS     | P-256   | the gateway, with the authority's certificate                         |
| node    | P-384   | Flower's SuperLink (its node authentication)                          |
| signing | Ed25519 | the other owners, through the roster                                  |
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID
from pydantic import Field, ValidationError

from ..config import Frame
from ..strategies import keyfile
from ..strategies.roster import Entry
from .home import ClientHome


class IdentityError(Exception):
    """Keys, certificate and authority do not belong together, or no longer count."""


class Coordinator(Frame):
    """`coordinator.json`: what enrolment fixed. `gateway` and `enrolment` are addresses host:port."""

    name: str
    number: int
    gateway: str
    enrolment: str
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Keys:
    """The private keys of an owner."""

    tls: ec.EllipticCurvePrivateKey = field(repr=False)
    node: ec.EllipticCurvePrivateKey = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled owner."""

    home: ClientHome
    coordinator: Coordinator
    pin: bytes
    expires: datetime
    keys: Keys = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in the federation."""
        return self.coordinator.name

    @property
    def entry(self) -> Entry:
        """As it has to stand in the roster."""
        return Entry(self.coordinator.number, self.name, self.keys.signing.public_key().public_bytes_raw())

    @property
    def coordinator_key(self) -> Ed25519PublicKey:
        """What the coordinator signs rosters with."""
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.coordinator.key))

    def tls(self) -> ssl.SSLContext:
        """For connections to the gateway: TLS 1.3, this owner's certificate, the federation's authority and no other."""
        context = trusting(self.home.authority.read_text())
        context.load_cert_chain(self.home.certificate, self.home.tls_key)
        return context


def trusting(authority: str) -> ssl.SSLContext:
    """A client's context that trusts one authority (PEM) and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def make_keys(home: ClientHome) -> Keys:
    """The keys of a home, made where they are not there yet. Raises `KeyFileError`."""
    keyfile.folder(home.root)
    keyfile.folder(home.keys)
    for path, make in (
        (home.tls_key, lambda: ec.generate_private_key(ec.SECP256R1())),
        (home.node_key, lambda: ec.generate_private_key(ec.SECP384R1())),
        (home.signing_key, Ed25519PrivateKey.generate),
    ):
        if not path.exists():
            keyfile.replace(path, keyfile.to_pem(make()))
    return load_keys(home)


def load_keys(home: ClientHome) -> Keys:
    """The keys of a home; raises `KeyFileError`."""
    return Keys(keyfile.ec_key(home.tls_key), keyfile.ec_key(home.node_key), keyfile.ed25519_key(home.signing_key))


def load(home: ClientHome, now: float) -> Identity:
    """The identity in a home; raises `HomeError`, `KeyFileError`, `IdentityError`."""
    keys, coordinator = load_keys(home.checked()), recorded(home)
    certificate, authority = keyfile.read(home.certificate), keyfile.read(home.authority)
    issued, issuer = certified(certificate, authority, coordinator.name, keys, now)
    return Identity(home, coordinator, issuer.fingerprint(hashes.SHA256()), issued.not_valid_after_utc, keys)


def recorded(home: ClientHome) -> Coordinator:
    """What enrolment fixed; raises `KeyFileError`, `IdentityError`."""
    try:
        return Coordinator.model_validate_json(keyfile.read(home.coordinator), strict=True)
    except ValidationError:
        raise IdentityError(f"{home.coordinator}: damaged; restore it from a backup, or ask the operator") from None


def pinned(home: ClientHome) -> bytes:
    """The hash of the authority's certificate; raises `KeyFileError`, `IdentityError`."""
    try:
        return x509.load_pem_x509_certificate(keyfile.read(home.authority)).fingerprint(hashes.SHA256())
    except (ValueError, x509.InvalidVersion):
        raise IdentityError(f"{home.authority}: damaged; restore it from a backup, or ask the operator") from None


def certified(
    certificate: bytes, authority: bytes, name: str, keys: Keys, now: float
) -> tuple[x509.Certificate, x509.Certificate]:
    """Certificate and authority (PEM), where the authority issued it to `name` for this TLS key; or `IdentityError`."""
    try:
        issued, issuer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(authority)
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion):
        raise IdentityError(
            "the certificate was not issued by the federation's authority; restore it from a backup, or enrol with --again"
        ) from None
    subject = [part.value for part in issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if issued.public_key() != keys.tls.public_key() or subject != [name]:
        raise IdentityError(
            "the certificate is another key's or another owner's; restore it from a backup, or enrol with --again"
        )
    at = datetime.fromtimestamp(now, UTC)
    if not issued.not_valid_before_utc <= at < issued.not_valid_after_utc:
        raise IdentityError(
            f"the certificate is valid from {issued.not_valid_before_utc:%Y-%m-%d} to {issued.not_valid_after_utc:%Y-%m-%d}, "
            f"and now it is {at:%Y-%m-%d %H:%M}; check this machine's clock, or ask the "
            f"operator for a token and type `tacit client enroll TOKEN --again`"
        )
    return issued, issuer
