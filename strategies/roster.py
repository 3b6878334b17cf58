"""Roster: who the owners of a federation are, by the keys that they sign with; signed by the coordinator.

    signature = Ed25519(coordinator, "tacit roster v1\\0" | text)        text = canonical JSON of the roster

The coordinator vouches for nothing by signing but that it said this: a false roster can be shown to have been its own. What
makes an entry count is that the administrator of another owner compared its fingerprint over another channel
(PRIVACY.md 17; `client.roster`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from ..config import Frame

NAME = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_TAG = b"tacit roster v1\0"
_FINGERPRINT_TAG = b"tacit owner v1\0"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
_LETTERS, _GROUP = 24, 4  # 120 bits: finding a second key with the same fingerprint is out of reach


class RosterError(Exception):
    """A roster that the coordinator did not sign, or that contradicts itself or what was known before."""


class OwnerNameError(ValueError):
    """A name that no owner can have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An owner: its number, its name, and the Ed25519 public key (`[32]` bytes) that it signs with."""

    number: int
    name: str
    key: bytes

    @property
    def fingerprint(self) -> str:
        """What two people read to each other: 120 bits of a hash over name and key, six groups of four letters."""
        digest = hashlib.sha256(_FINGERPRINT_TAG + self.name.encode() + b"\0" + self.key).digest()
        number = int.from_bytes(digest[: _LETTERS * 5 // 8])
        letters = "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_LETTERS)))
        return "-".join(letters[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))


@dataclass(frozen=True, slots=True)
class Roster:
    """All owners of the federation of `authority` (the hash of its certificate). Each change has a higher `version`."""

    authority: bytes
    version: int
    entries: tuple[Entry, ...]

    def named(self, name: str) -> Entry | None:
        """The owner called `name`."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def text(self) -> str:
        """Canonical JSON."""
        owners = [{"number": each.number, "name": each.name, "key": each.key.hex()} for each in self.entries]
        body = {"format": 1, "authority": self.authority.hex(), "version": self.version, "owners": owners}
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    def digest(self) -> bytes:
        """SHA-256 over the text: the roster's version as sessions of secure aggregation bind it."""
        return hashlib.sha256(_TAG + self.text().encode()).digest()


class _Owner(Frame):
    number: int = Field(ge=0, lt=1 << 31)
    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Body(Frame):
    format: Literal[1]
    authority: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    version: int = Field(ge=0)
    owners: tuple[_Owner, ...] = Field(max_length=100_000)


class _Signed(Frame):
    roster: str
    signature: str


def sign(roster: Roster, key: Ed25519PrivateKey) -> str:
    """The roster with the coordinator's signature, as JSON text."""
    text = roster.text()
    signature = base64.b64encode(key.sign(_TAG + text.encode())).decode()
    return json.dumps({"roster": text, "signature": signature})


def verify(signed: str, key: Ed25519PublicKey, authority: bytes) -> Roster:
    """The roster in `signed`; raises `RosterError` unless `key` signed it for the federation of `authority`."""
    try:
        outer = _Signed.model_validate_json(signed, strict=True)
        key.verify(base64.b64decode(outer.signature, validate=True), _TAG + outer.roster.encode())
        body = _Body.model_validate_json(outer.roster, strict=True)
    except (ValidationError, InvalidSignature, ValueError):
        raise RosterError("the roster is not signed by the coordinator; do not use it, and ask the operator") from None
    entries = tuple(Entry(each.number, each.name, bytes.fromhex(each.key)) for each in body.owners)
    for values in ([each.name for each in entries], [each.number for each in entries], [each.key for each in entries]):
        if len(set(values)) != len(values):
            raise RosterError("the roster lists an owner, a number or a key twice; do not use it, and ask the operator")
    if body.authority != authority.hex():
        raise RosterError("the roster is that of another federation; do not use it, and ask the operator")
    return Roster(authority, body.version, entries)


def checked_name(name: str) -> str:
    """`name`, where an owner can be called so; raises `OwnerNameError`."""
    if re.fullmatch(NAME, name) is None:
        raise OwnerNameError(
            f"{name!r} is no name for an owner: up to 63 of a-z, 0-9, dot, dash and underscore, from letter or digit to "
            f"letter or digit; for example ward-3"
        )
    return name


def same_fingerprint(typed: str, entry: Entry) -> bool:
    """Whether `typed` is the whole fingerprint of `entry`; case, spaces and dashes do not matter."""
    return _plain(typed) == _plain(entry.fingerprint)


def _plain(fingerprint: str) -> str:
    letters = re.sub(r"[\s-]", "", fingerprint).upper()
    return letters.translate(str.maketrans("OIL", "011"))
