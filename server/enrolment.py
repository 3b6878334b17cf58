"""Enrolment: where owners become known. A small ASGI application on a port of its own, whose server the owners pin.

| call                      | asks for                       | who may                                    |
|---------------------------|--------------------------------|--------------------------------------------|
| GET /tacit/v1/authority   | the authority's certificate    | everybody: its hash stands in the token    |
| POST /tacit/v1/enrol      | a certificate for its own keys | the holder of an invitation, once          |
| POST /tacit/v1/roster     | the signed roster              | an enrolled owner, by its signing key      |
| POST /tacit/v1/renewal    | a new certificate for its key  | an enrolled owner, by its signing key      |
| POST /tacit/v1/anchor     | its ledger's anchor to be kept | an enrolled owner, by its signing key      |
| POST /tacit/v1/head       | how far this ledger here came  | an enrolled owner, by its signing key      |

Bodies are bounded in size and time; an address that is refused too often has to wait. Answers are JSON; a refusal is
`{"error": {"code", "message"}}`. No secret is logged.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..strategies import admission, anchoring, heading, keyfile, roster
from ..strategies.admission import Admission, AdmissionError
from ..strategies.token import Token, endpoint, invite
from . import anchors
from .authority import Authority, load
from .door import Connection, Server, modern
from .heads import Desk
from .home import ServerHome, ServerSettings, settings
from .registry import Owner, RefusedTokenError, Registry, UnknownOwnerError

log = logging.getLogger(__name__)

Clock = Callable[[], float]
_FRESH = 300.0  # seconds by which an owner's clock may differ when it asks for the roster
_STRANGER = "no enrolled owner asks like this; enrol first, or ask the operator whether it was revoked"
_HTTP = {"too-large": 413, "too-slow": 408, "too-often": 429, "malformed": 400, "not-found": 404}


class ProvenError(AdmissionError):
    """An owner that proved who it is is told no. It guesses nothing, so no address is held responsible: others may share it."""

    code = "not-now"


class _Refused(Exception):
    """The answer is no; `code` says why to programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts refusals of each address: after `most` within `window` seconds it has to wait. Remembers 10,000 addresses."""

    most: int = 20
    window: float = 60.0
    _refused: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict, repr=False)

    def open(self, address: str, now: float) -> bool:
        """Whether an address may ask."""
        times = self._refused.get(address, deque())
        while times and times[0] <= now - self.window:
            times.popleft()
        return len(times) < self.most

    def refused(self, address: str, now: float) -> None:
        """An address was refused."""
        self._refused.setdefault(address, deque(maxlen=self.most)).append(now)
        self._refused.move_to_end(address)
        if len(self._refused) > 10_000:
            self._refused.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Office:
    """What enrolment is done with. `enrolled` is told of each owner that was admitted, from the event loop."""

    authority: Authority
    signing_key: Ed25519PrivateKey = field(repr=False)
    registry: Registry
    settings: ServerSettings
    clock: Clock = time.time
    enrolled: Callable[[Owner], None] = lambda _: None
    ledger: Desk | None = None

    def invite(self, name: str, valid: float) -> Token:
        """A new invitation for `name`, valid for so many seconds. Raises `EnrolledError`, `OwnerNameError`."""
        token = invite(self.settings.enrolment_office, self.authority.pin)
        self.registry.invite(name, token.secret, self.clock() + valid)
        return token

    def invite_again(self, name: str, valid: float) -> Token:
        """An invitation for an owner that is enrolled, to get a new certificate. Raises `UnknownOwnerError`."""
        token = invite(self.settings.enrolment_office, self.authority.pin)
        self.registry.invite_again(name, token.secret, self.clock() + valid)
        return token

    def admit(self, text: bytes) -> Admission:
        """The answer to an application. Raises `AdmissionError`, `RefusedTokenError`."""
        applicant, now = admission.applicant(text), self.clock()

        def certify(name: str) -> x509.Certificate:
            return self.authority.for_owner(name, applicant.tls_key, now)

        owner = self.registry.enrol(applicant, now, certify)
        certificate = x509.load_der_x509_certificate(owner.certificate)
        self.enrolled(owner)
        return Admission(
            name=owner.name,
            number=owner.number,
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            authority=self.authority.pem().decode(),
            coordinator_key=self.signing_key.public_key().public_bytes_raw().hex(),
            gateway=self.settings.gateway,
            enrolment=self.settings.enrolment_office,
            roster=self.roster(),
        )

    def roster(self) -> str:
        """The roster as it is now, signed."""
        return roster.sign(self.registry.roster(self.authority.pin), self.signing_key)

    def roster_for(self, text: bytes) -> str:
        """The answer to a request for the roster. Raises `AdmissionError`."""
        self._asking(text, admission.is_asked_by)
        return self.roster()

    def renewal_for(self, text: bytes) -> str:
        """The answer to a request for a renewal: a certificate (PEM) of the same name and key. Raises `AdmissionError`."""
        owner, now = self._asking(text, admission.is_renewal_of), self.clock()

        def certify(known: x509.Certificate) -> x509.Certificate:
            key = known.public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise AdmissionError("the certificate that is known is for no P-256 key; enrol again")
            return self.authority.for_owner(owner.name, key, now)

        try:
            renewed = self.registry.recertify(owner.name, certify)
        except UnknownOwnerError:  # revoked a moment ago
            raise AdmissionError(_STRANGER) from None
        certificate = x509.load_der_x509_certificate(renewed.certificate)
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def anchor_for(self, text: bytes) -> str:
        """The answer to an anchor: the newest that was kept before it. Raises `AdmissionError`."""
        call = anchoring.call_in(text)
        owner = self._known(call.name, call.time, call.made_by)
        if call.notice is None:
            return anchoring.answer(anchors.kept(self.registry, owner, call.asset))
        return anchoring.answer(anchors.keep(self.registry, owner, call.notice, self.clock()))

    def head_for(self, text: bytes) -> str:
        """The answer to a question how far the coordinator's own ledger came. Raises `AdmissionError`."""
        call = heading.call_in(text)
        self._known(call.name, call.time, call.made_by)
        if self.ledger is None:
            return heading.answer(heading.Heads(None, None))
        try:
            return heading.answer(self.ledger.heads(call.notice, self.clock()))
        except (sqlite3.Error, OSError) as error:
            log.error("the ledger cannot be shown to owners: %s", error)
            raise AdmissionError("the ledger cannot be read now; its operator finds the cause in the log") from error

    def _asking(self, text: bytes, made_by: Callable[[bytes, str, int, bytes], bool]) -> Owner:
        """The enrolled owner that signed a request of now. Raises `AdmissionError`."""
        name, at, signature = admission.asked_by(text)
        return self._known(name, at, lambda key: made_by(key, name, at, signature))

    def _known(self, name: str, at: int, made_by: Callable[[bytes], bool]) -> Owner:
        """The enrolled owner `name`, whose key made a request of now. Raises `AdmissionError`."""
        try:
            owner = self.registry.owner(name)
        except UnknownOwnerError:
            raise AdmissionError(_STRANGER) from None
        if not made_by(owner.signing_key):
            raise AdmissionError(_STRANGER)
        if owner.revoked is not None:
            raise ProvenError(_STRANGER)
        if abs(self.clock() - at) > _FRESH:
            raise ProvenError(f"the request is {self.clock() - at:.0f} s old; correct the clock of the owner's machine")
        return owner


def office(home: ServerHome, registry: Registry) -> Office:
    """The enrolment office of a home. Raises `HomeError`, `ConfigError`, `KeyFileError`, `AuthorityError`."""
    found = settings(home)
    key = keyfile.ed25519_key(home.signing_key)
    return Office(load(home), key, registry, found, ledger=Desk(home.ledger, home.shown, key))


class Enrolment:
    """The office as an ASGI application."""

    def __init__(self, office: Office, throttle: Throttle | None = None, patience: float = 10.0) -> None:
        """`patience`: seconds that a body may take."""
        self._office, self._throttle, self._patience = office, throttle or Throttle(), patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        address, now = request.client.host if request.client else "", self._office.clock()
        try:
            if not self._throttle.open(address, now):
                raise _Refused("too-often", "too many refusals for this address; wait a minute")
            response = await self._answer(request)
        except (_Refused, RefusedTokenError, AdmissionError) as error:
            code = getattr(error, "code", "malformed")
            if code != "too-often":
                log.warning("%s was refused: %s", address, code)
            if code != "too-often" and not isinstance(error, ProvenError):
                self._throttle.refused(address, now)
            response = _refusal(code, str(error))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        call = (request.method, request.scope.get("raw_path", b"").decode("latin-1"))
        if call == ("GET", admission.AUTHORITY_PATH):
            return Response(self._office.authority.pem(), media_type="application/x-pem-file")
        if call == ("POST", admission.PATH):
            admitted = self._office.admit(await self._body(request))
            log.info("owner %s is enrolled", admitted.name)
            return Response(admitted.model_dump_json(), media_type="application/json")
        if call == ("POST", admission.ROSTER_PATH):
            return Response(self._office.roster_for(await self._body(request)), media_type="application/json")
        if call == ("POST", admission.RENEWAL_PATH):
            return Response(self._office.renewal_for(await self._body(request)), media_type="application/x-pem-file")
        if call == ("POST", anchoring.PATH):
            return Response(self._office.anchor_for(await self._body(request)), media_type="application/json")
        if call == ("POST", heading.PATH):
            return Response(self._office.head_for(await self._body(request)), media_type="application/json")
        raise _Refused("not-found", "no such call")

    async def _body(self, request: Request) -> bytes:
        found = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                async for chunk in request.stream():
                    found += chunk
                    if len(found) > admission.LARGEST:
                        raise _Refused("too-large", f"at most {admission.LARGEST} bytes")
        except (TimeoutError, ClientDisconnect):
            raise _Refused("too-slow", "the body did not come in time") from None
        return bytes(found)


def server(enrolment: Enrolment, home: ServerHome, where: ServerSettings) -> Server:
    """The server of enrolment, not yet running (`run()`, or `serve()` in a loop)."""
    host, port = endpoint(where.enrolment)
    config = uvicorn.Config(
        enrolment, host=host, port=port, http=Connection, ws="none", lifespan="off",
        ssl_certfile=str(home.gateway_certificate), ssl_keyfile=str(home.gateway_key), ssl_context_factory=modern,
        access_log=False, log_config=None, server_header=False, proxy_headers=False, timeout_keep_alive=5,
        limit_concurrency=100, timeout_graceful_shutdown=3,
    )  # fmt: skip
    return Server(config)


def _refusal(code: str, message: str) -> Response:
    status = _HTTP.get(code, 403)
    headers = {"connection": "close"} if status in (408, 413) else None
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)
