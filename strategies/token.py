"""Token: an invitation as text, for one owner to enrol with one coordinator, once.

    "tacit1-" + base64url( 32 bytes pin | 32 bytes secret | address in UTF-8 | first 4 bytes of SHA-256 of all before )

The pin is the SHA-256 hash of the coordinator's authority certificate: whoever holds the token knows whom to trust. The
secret is what makes the coordinator trust the holder; the coordinator keeps only its hash. The checksum catches a token
that was copied incompletely; it protects nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field

_PREFIX = "tacit1-"
_SIZE = 32
_CHECK = 4
_LONGEST = 1024
_TAG = b"tacit invitation v1\0"
_ADDRESS = re.compile(r"(?:(?P<name>[\w.-]+)|\[(?P<v6>[0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]):(?P<port>\d{1,5})", re.ASCII)


class TokenError(ValueError):
    """The text is no token, or not all of one."""


class AddressError(ValueError):
    """The text is no address host:port."""


@dataclass(frozen=True, slots=True)
class Token:
    """An invitation: where to enrol (host:port), whom to trust there, and the secret to show."""

    address: str
    pin: bytes
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """The token as it is handed over. Secret until it was used."""
        body = self.pin + self.secret + self.address.encode()
        return _PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def invite(address: str, pin: bytes) -> Token:
    """A new token with a secret from the operating system."""
    endpoint(address)
    return Token(address, pin, secrets.token_bytes(_SIZE))


def parse(text: str) -> Token:
    """The token that `text` is; raises `TokenError`, which never repeats the text."""
    text = "".join(text.split())
    if not text.startswith(_PREFIX) or len(text) > _LONGEST:
        raise TokenError(f"this is no token: one begins with {_PREFIX!r}; ask the coordinator for one")
    encoded = text.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        body, check = raw[:-_CHECK], raw[-_CHECK:]
        address = body[2 * _SIZE :].decode()
        whole = len(body) > 2 * _SIZE and check == _check(body)
        endpoint(address)
    except ValueError:  # no base64, no UTF-8, no address
        whole = False
    if not whole:
        raise TokenError("the token is not whole; copy all of it, or ask the coordinator for a new one")
    return Token(address, body[:_SIZE], body[_SIZE : 2 * _SIZE])


def hashed(secret: bytes) -> bytes:
    """What the coordinator keeps of a secret: `[32]` bytes. The secret has 256 random bits, so no salt is needed."""
    return hashlib.sha256(_TAG + secret).digest()


def endpoint(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; raises `AddressError`."""
    found = _ADDRESS.fullmatch(address)
    number = int(found["port"]) if found else 0
    if found is None or not 0 < number < 1 << 16:
        raise AddressError(f"{address!r} is no address; write host:port, for example fl.example.org:8443")
    return found["name"] or found["v6"], number


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
