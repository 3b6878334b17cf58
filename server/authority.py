"""Authority: the federation's own certificate authority. It certifies the coordinator's ports and the owners' TLS keys.

| certificate | subject            | may be used as  | valid      |
|-------------|--------------------|-----------------|------------|
| authority   | the federation     | authority       | 20 years   |
| server      | the server's names | TLS server only | 825 days, made anew when 60 are left |
| owner       | the owner's name   | TLS client only | 825 days; its agent renews it when 90 are left |

ECDSA over P-256 with SHA-256 throughout (RFC 5280, RFC 8446). An owner's certificate cannot pass for the coordinator's nor
the other way round. Which owner a certificate belongs to, and whether it still counts, stands in the registry, which is asked
on every request: there is no revocation list to distribute, because the gateway is the only one to accept these certificates.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..strategies import keyfile
from .home import ServerHome, ServerSettings

LIFE = timedelta(days=825)
_AUTHORITY_LIFE = timedelta(days=365 * 20 + 5)
_RENEW = timedelta(days=60)
_SKEW = timedelta(hours=1)  # an owner's clock may be that far behind
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class AuthorityError(Exception):
    """The authority's key and certificate do not belong together, or are not there."""


def pin_of(certificate: bytes) -> bytes:
    """SHA-256 of a certificate (PEM): `[32]` bytes. Raises `ValueError`."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority of one federation."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    @property
    def pin(self) -> bytes:
        """SHA-256 of the certificate: `[32]` bytes, what owners know it by."""
        return self.certificate.fingerprint(hashes.SHA256())

    def pem(self) -> bytes:
        """The certificate, as handed to everybody."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def for_owner(self, name: str, key: ec.EllipticCurvePublicKey, now: float) -> x509.Certificate:
        """The certificate of an owner's TLS key."""
        made = self._builder(name, key, now).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        return made.sign(self.key, hashes.SHA256())

    def for_server(self, names: Sequence[str], key: ec.EllipticCurvePublicKey, now: float) -> x509.Certificate:
        """The certificate of a server with these names and addresses."""
        made = self._builder("tacit server", key, now).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in dict.fromkeys(names)])
        return made.add_extension(alternatives, critical=False).sign(self.key, hashes.SHA256())

    def _builder(self, name: str, key: ec.EllipticCurvePublicKey, now: float) -> x509.CertificateBuilder:
        made = _builder(name, self.certificate.subject, key, now, LIFE)
        usage = _usage(signs_certificates=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
        )


def found(home: ServerHome, now: float) -> Authority:
    """A new authority in a new home; raises `FileExistsError` where there is one."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A random part in the name keeps two federations apart in logs and in a client's list of authorities.
    serial = x509.random_serial_number()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tacit federation {serial % (1 << 32):08x}")])
    certificate = (
        _builder("", subject, key.public_key(), now, _AUTHORITY_LIFE)
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Authority(key, certificate)
    keyfile.folder(home.authority.parent)
    keyfile.create(home.authority_key, keyfile.to_pem(key))
    keyfile.create(home.authority, made.pem())
    return made


def load(home: ServerHome) -> Authority:
    """The authority of a home; raises `KeyFileError` or `AuthorityError`."""
    key = keyfile.ec_key(home.checked().authority_key)
    certificate = _certificate(home.authority)
    if certificate is None or certificate.public_key() != key.public_key():
        raise AuthorityError(
            f"{home.authority}: not the certificate of {home.authority_key}; restore both from a backup"
        )
    return Authority(key, certificate)


def certify_servers(home: ServerHome, authority: Authority, settings: ServerSettings, now: float) -> list[Path]:
    """Make keys and certificates of gateway and SuperLink where they are missing, expire soon, or have other names.

    Returns the certificates that were made. To be called before each start.
    """
    public = (settings.host, *settings.names, *LOOPBACK)
    wanted = (
        (home.gateway_key, home.gateway_certificate, public),
        (home.superlink_key, home.superlink_certificate, LOOPBACK),
    )
    made = []
    keyfile.folder(home.gateway_key.parent)
    for key_file, certificate_file, names in wanted:
        if not key_file.exists():
            keyfile.create(key_file, keyfile.to_pem(ec.generate_private_key(ec.SECP256R1())))
        key = keyfile.ec_key(key_file).public_key()
        if not _still_good(_certificate(certificate_file), authority, key, names, now):
            certificate = authority.for_server(names, key, now)
            keyfile.replace(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
            made.append(certificate_file)
    return made


def _still_good(
    certificate: x509.Certificate | None, authority: Authority, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: float
) -> bool:  # fmt: skip
    if certificate is None or certificate.public_key() != key or certificate.issuer != authority.certificate.subject:
        return False
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    missing = [name for name in names if _alternative(name) not in held]
    return not missing and certificate.not_valid_after_utc - datetime.fromtimestamp(now, UTC) > _RENEW


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError, x509.InvalidVersion):
        return None


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, life: timedelta
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    made = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _SKEW)
        .not_valid_after(at + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    return made.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])) if name else made


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
