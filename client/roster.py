"""Roster, the owner's side: which of the other owners count, because this owner's administrator checked them.

An approval holds for one name with one key: whoever comes back with another key has to be checked anew. Approvals are signed
with this owner's own key, so that an edited file is refused. Of the rosters that the coordinator signs, none older than
one seen before is taken, nor two different ones of the same version (PRIVACY.md 17).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from pydantic import Field, ValidationError

from ..config import Frame
from ..strategies import keyfile
from ..strategies.roster import Entry, Roster, RosterError, same_fingerprint, verify
from .home import ClientHome
from .identity import Identity

_TAG = b"tacit approvals v1\0"


class ApprovalError(Exception):
    """An approval that cannot be given, or approvals that this owner did not sign."""


class Standing(StrEnum):
    """What an entry of the roster is to this owner."""

    own = "own"
    approved = "approved"
    unapproved = "unapproved"
    changed = "changed"  # approved with another key


@dataclass(frozen=True, slots=True)
class Approvals:
    """What was approved: the key of each name."""

    keys: dict[str, bytes]

    def standing(self, entry: Entry, own: Entry) -> Standing:
        """What `entry` is to the owner `own`."""
        if entry == own:
            return Standing.own
        known = self.keys.get(entry.name)
        if known is None:
            return Standing.unapproved
        return Standing.approved if known == entry.key else Standing.changed


class _Body(Frame):
    format: Literal[1]
    owner: str
    keys: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


class _Signed(Frame):
    approvals: str
    signature: str


def approved(roster: Roster, approvals: Approvals, own: Entry) -> frozenset[Entry]:
    """The entries that count for the owner `own`: itself, and those checked under their present key."""
    counting = (Standing.own, Standing.approved)
    return frozenset(entry for entry in roster.entries if approvals.standing(entry, own) in counting)


def current(identity: Identity) -> Roster:
    """The roster that is kept; raises `KeyFileError`, `RosterError`."""
    return _verified(identity, keyfile.read(identity.home.roster).decode(errors="replace"))


def take(identity: Identity, signed: str) -> Roster:
    """Keep a roster that came from the coordinator. Raises `RosterError` for one that is older, contradicts, or omits us."""
    new, kept = _verified(identity, signed), current(identity)
    follow(kept, new)
    if new.version > kept.version:
        keyfile.replace(identity.home.roster, signed.encode())
    return new


def follow(kept: Roster, new: Roster) -> None:
    """Raise `RosterError` unless `new` may come after `kept`."""
    if new.version < kept.version:
        raise RosterError(
            f"the coordinator sent roster {new.version}, and {kept.version} was seen before; do not go on, and ask the operator"
        )
    if new.version == kept.version and new != kept:
        raise RosterError(
            f"the coordinator signed two different rosters {new.version}: it may tell owners different things; do not go on"
        )


def approvals(identity: Identity) -> Approvals:
    """The approvals that are kept. Raises `ApprovalError` where this owner did not sign them."""
    path = identity.home.approvals
    if not path.exists():
        return Approvals({})
    try:
        outer = _Signed.model_validate_json(keyfile.read(path), strict=True)
        signature = base64.b64decode(outer.signature, validate=True)
        identity.keys.signing.public_key().verify(signature, _TAG + outer.approvals.encode())
        body = _Body.model_validate_json(outer.approvals, strict=True)
    except (ValidationError, InvalidSignature, ValueError):
        raise ApprovalError(f"{path}: not as this owner signed it; restore it, or remove it and approve anew") from None
    if body.owner != identity.name:
        raise ApprovalError(f"{path}: the approvals of {body.owner!r}; remove it and approve anew")
    return Approvals({name: bytes.fromhex(key) for name, key in body.keys.items()})


def approve(identity: Identity, name: str, fingerprint: str) -> Entry:
    """Let the owner `name` count from now on. Raises `ApprovalError` unless `fingerprint` is the whole of its own."""
    entry = current(identity).named(name)
    if entry is None:
        raise ApprovalError(f"{name!r} is not in the roster; `tacit client roster update` fetches the newest")
    if not same_fingerprint(fingerprint, entry):
        raise ApprovalError(
            f"{fingerprint!r} is not the fingerprint that the roster has for {name!r}, and nothing was approved. If it is what "
            f"{name} read out to you, the coordinator shows you another key: tell both of them"
        )
    if entry != identity.entry:
        _keep(identity, {**approvals(identity).keys, name: entry.key})
    return entry


def revoke(identity: Identity, name: str) -> None:
    """Let the owner `name` no longer count. Raises `ApprovalError` where it did not."""
    keys = approvals(identity).keys
    if name not in keys:
        raise ApprovalError(f"{name!r} is not approved; `tacit client roster show` lists who is")
    _keep(identity, {other: key for other, key in keys.items() if other != name})


def _keep(identity: Identity, keys: dict[str, bytes]) -> None:
    body = {"format": 1, "owner": identity.name, "keys": {name: keys[name].hex() for name in sorted(keys)}}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    signature = base64.b64encode(identity.keys.signing.sign(_TAG + text.encode())).decode()
    home: ClientHome = identity.home
    keyfile.replace(home.approvals, json.dumps({"approvals": text, "signature": signature}).encode())


def _verified(identity: Identity, signed: str) -> Roster:
    found = verify(signed, identity.coordinator_key, identity.pin)
    own = found.named(identity.name)
    if own is not None and own != identity.entry:
        raise RosterError("the roster has another key for this owner itself; do not go on, and ask the operator")
    return found
