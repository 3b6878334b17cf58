"""Enrolment, the owner's side: from a token to an identity. Whom to trust comes from the token, never from the network.

1. Ask for the authority's certificate over a connection that trusts nobody, and send nothing on it; its hash must be the pin.
2. Over a connection that trusts this authority only: send secret, public keys and proofs; take certificate and roster.
3. Check all of it before anything is kept. `coordinator.json` is written last.

Keys are made and kept before step 1, so an enrolment that was cut off goes on with the same command.
"""

from __future__ import annotations

import http.client
import json
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from ..privacy.ledger.notice import Notice
from ..strategies import admission, anchoring, heading, keyfile, roster
from ..strategies.admission import Admission
from ..strategies.token import Token, endpoint
from .home import ClientHome, HomeError
from .identity import Coordinator, Identity, Keys, certified, load, load_keys, make_keys, pinned, recorded, trusting
from .roster import follow

_PATIENCE = 15.0
_LARGEST = 16 << 20


class EnrolmentError(Exception):
    """Enrolment did not happen; what it made so far is kept, and the same command goes on with it."""


class UnreachableError(EnrolmentError):
    """Nobody answers at the coordinator's address."""


class ImpostorError(EnrolmentError):
    """Who answers is not the coordinator that made the token."""


class RejectedError(EnrolmentError):
    """The coordinator said no; `code` is its reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def enrol(token: Token, home: ClientHome, now: float) -> Identity:
    """Enrol the owner in `home` (made if need be). Raises `EnrolmentError`, `HomeError`, `KeyFileError`."""
    if home.coordinator.exists():
        raise HomeError(
            f"{home.root}: an owner is enrolled here; nothing was changed. For a new certificate use --again, for another "
            f"owner another folder with --dir"
        )
    keys = make_keys(home)
    admitted, authority = _admitted(token, keys)
    return accept(admitted, authority, token, home, now)


def renew(token: Token, home: ClientHome, now: float) -> Identity:
    """Have the owner in `home` certified again, with the keys that are there; ledgers, approvals and number stay.

    Keys that were lost or moved away are made anew. Raises `EnrolmentError`, `HomeError`, `KeyFileError`, `RosterError`.
    """
    known = recorded(home.checked())
    if pinned(home) != token.pin:
        raise ImpostorError(f"{home.root}: the token is another federation's; nothing was sent. Ask the operator")
    keys = make_keys(home)
    admitted, authority = _admitted(token, keys)
    if admitted.name != known.name or admitted.coordinator_key != known.key:
        raise ImpostorError(
            f"the answer is for {admitted.name!r}, or of another coordinator, and {home.root} is "
            f"{known.name!r}'s; ask the operator"
        )
    kept = keyfile.read(home.roster).decode(errors="replace")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(known.key))
    follow(roster.verify(kept, key, token.pin), roster.verify(admitted.roster, key, token.pin))
    return accept(admitted, authority, token, home, now)


def accept(admitted: Admission, authority: str, token: Token, home: ClientHome, now: float) -> Identity:
    """Keep an admission that is what it has to be; raises `ImpostorError` or `IdentityError` and keeps nothing otherwise."""
    _check(admitted, authority, token, load_keys(home), now)
    coordinator = Coordinator(
        name=admitted.name, number=admitted.number, gateway=admitted.gateway, enrolment=admitted.enrolment,
        key=admitted.coordinator_key,
    )  # fmt: skip
    keyfile.replace(home.authority, authority.encode())
    keyfile.replace(home.certificate, admitted.certificate.encode())
    keyfile.replace(home.roster, admitted.roster.encode())
    keyfile.replace(home.coordinator, coordinator.model_dump_json(indent=1).encode())
    return load(home, now)


def _admitted(token: Token, keys: Keys) -> tuple[Admission, str]:
    """What the coordinator answers to an application, unchecked, and its authority's certificate (PEM)."""
    authority = _pinned(token)
    answer = _ask(
        token.address, trusting(authority), admission.PATH,
        admission.application(token.secret, keys.tls, keys.node, keys.signing),
    )  # fmt: skip
    try:
        return Admission.model_validate_json(answer, strict=True), authority
    except ValidationError:
        raise ImpostorError(
            f"{token.address} answers no admission; is the coordinator's version of tacit the same?"
        ) from None


def renewed(identity: Identity, now: float) -> Identity:
    """The owner with a new certificate for the key that it has, kept in its home. Raises `EnrolmentError`, `IdentityError`.

    Nobody is asked for a token: the signing key says who asks.
    """
    home, address = identity.home, identity.coordinator.enrolment
    context = trusting(home.authority.read_text())
    asked = admission.renewal_request(identity.name, identity.keys.signing, now)
    certificate = _ask(address, context, admission.RENEWAL_PATH, asked)
    certified(certificate, keyfile.read(home.authority), identity.name, identity.keys, now)
    keyfile.replace(home.certificate, certificate)
    return load(home, now)


def newest_roster(identity: Identity, now: float) -> str:
    """The roster as the coordinator signs it now, unchecked. Raises `EnrolmentError`."""
    context = trusting(identity.home.authority.read_text())
    asked = admission.roster_request(identity.name, identity.keys.signing, now)
    return _ask(identity.coordinator.enrolment, context, admission.ROSTER_PATH, asked).decode(errors="replace")


def anchored(identity: Identity, asset: str, notice: Notice | None, now: float, patience: float) -> bytes:
    """Show the coordinator a notice of the ledger `asset`, or only ask: the newest that it kept before, unchecked.

    Raises `EnrolmentError`. `patience`: seconds that it may take to answer.
    """
    context = trusting(identity.home.authority.read_text())
    asked = anchoring.request(identity.name, identity.keys.signing, now, asset, notice)
    return _ask(identity.coordinator.enrolment, context, anchoring.PATH, asked, patience)


def headed(identity: Identity, notice: Notice | None, now: float, patience: float) -> bytes:
    """Show the coordinator the notice of its ledger that is kept here: how far that came, unchecked.

    Raises `EnrolmentError`. `patience`: seconds that it may take to answer.
    """
    context = trusting(identity.home.authority.read_text())
    asked = heading.request(identity.name, identity.keys.signing, now, notice)
    return _ask(identity.coordinator.enrolment, context, heading.PATH, asked, patience)


def _pinned(token: Token) -> str:
    """The authority's certificate (PEM), by its hash. The connection proves nothing, and nothing secret is sent on it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    text = _ask(token.address, context, admission.AUTHORITY_PATH).decode(errors="replace")
    try:
        found = x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA256())
    except (ValueError, x509.InvalidVersion):
        found = b""
    if found != token.pin:
        raise ImpostorError(
            f"{token.address} is not the coordinator that made this token, and nothing was sent to it; ask the operator "
            f"whether the address is right and the token new"
        )
    return text


def _check(admitted: Admission, authority: str, token: Token, keys: Keys, now: float) -> None:
    """Raise `ImpostorError` or `IdentityError` unless an admission is what it has to be."""
    certified(admitted.certificate.encode(), authority.encode(), admitted.name, keys, now)
    for address in (admitted.gateway, admitted.enrolment):
        endpoint(address)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(admitted.coordinator_key))
    try:
        own = roster.verify(admitted.roster, key, token.pin).named(admitted.name)
    except roster.RosterError as error:
        raise ImpostorError(str(error)) from error
    if own is None or own.key != keys.signing.public_key().public_bytes_raw() or own.number != admitted.number:
        raise ImpostorError("the roster does not list this owner with its own key; do not go on, and ask the operator")


def _ask(
    address: str, context: ssl.SSLContext, path: str, body: str | None = None, patience: float = _PATIENCE
) -> bytes:
    """The answer to one call. Raises `EnrolmentError`."""
    host, port = endpoint(address)
    connection = http.client.HTTPSConnection(host, port, timeout=patience, context=context)
    try:
        headers = {"content-type": "application/json"} if body is not None else {}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read(_LARGEST)
    except ssl.SSLError as error:
        raise ImpostorError(
            f"{address} does not show a certificate of the coordinator for this name ({error.reason or error}); ask the "
            f"operator whether `host` in server.toml is the name that owners use"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{address} does not answer ({error or type(error).__name__}); check the network and that the server runs, then "
            f"type the same command again"
        ) from error
    finally:
        connection.close()
    if response.status == http.client.OK:
        return answer
    code, message = _reason(answer)
    raise RejectedError(code, message or f"{address} refused with HTTP {response.status}; ask the operator")


def _reason(answer: bytes) -> tuple[str, str]:
    try:
        found = json.loads(answer)["error"]
        return str(found["code"])[:40], str(found["message"])[:400]
    except (ValueError, KeyError, TypeError):
        return "", ""
