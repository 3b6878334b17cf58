"""Anchoring: what an owner sends to have its ledger's anchor kept by the coordinator, and what it gets. Values and JSON text.

One call asks and tells: it names the ledger by 32 bytes that tell nothing, shows the newest notice (or none, to ask only), and
is answered with the newest that was kept before. The owner's key signs

    "tacit anchor request v1\\0" | name | 0 | time | 0 | asset | SHA-256(notice)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from ..config import Frame
from ..privacy.ledger.field import EntryError
from ..privacy.ledger.notice import LONGEST, Notice, notice_from
from .admission import AdmissionError

PATH = "/tacit/v1/anchor"
_TAG = b"tacit anchor request v1\0"


class _Form(Frame):
    name: str = Field(max_length=64)
    time: int
    asset: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    notice: Annotated[str, Field(max_length=LONGEST)]
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]


class _Kept(Frame):
    notice: Annotated[str, Field(max_length=LONGEST)]


@dataclass(frozen=True, slots=True)
class Call:
    """Owner `name` shows `notice` of its ledger `asset` at `time` (whole seconds), or only asks."""

    name: str
    time: int
    asset: str
    notice: Notice | None
    signature: bytes

    def made_by(self, key: bytes) -> bool:
        """Whether the holder of the Ed25519 `key` made the call, and signed the notice in it."""
        public = Ed25519PublicKey.from_public_bytes(key)
        shown = "" if self.notice is None else self.notice.text()
        try:
            public.verify(self.signature, _transcript(self.name, self.time, self.asset, shown))
        except InvalidSignature:
            return False
        return self.notice is None or self.notice.signed_by(public)


def request(name: str, key: Ed25519PrivateKey, now: float, asset: str, notice: Notice | None) -> str:
    """The JSON text of a call."""
    time, shown = int(now), "" if notice is None else notice.text()
    signature = key.sign(_transcript(name, time, asset, shown)).hex()
    return _Form(name=name, time=time, asset=asset, notice=shown, signature=signature).model_dump_json()


def call_in(text: bytes) -> Call:
    """The call that a text is, nothing verified; raises `AdmissionError`."""
    try:
        form = _Form.model_validate_json(text, strict=True)
        notice = notice_from(form.notice) if form.notice else None
    except (ValidationError, EntryError):
        raise AdmissionError("this is no anchor of an owner; use the same version of tacit as the server") from None
    if notice is not None and notice.asset != form.asset:
        raise AdmissionError(
            "the anchor is of another ledger than the call; use the same version of tacit as the server"
        )
    return Call(form.name, form.time, form.asset, notice, bytes.fromhex(form.signature))


def answer(kept: Notice | None) -> str:
    """The JSON text of an answer."""
    return _Kept(notice="" if kept is None else kept.text()).model_dump_json()


def kept_in(text: bytes, asset: str, key: Ed25519PublicKey) -> Notice | None:
    """The notice of `asset` in an answer, or None where there is none.

    Raises `AdmissionError` for what is no answer, and for a notice that `key` has not signed or that is of another ledger.
    """
    try:
        shown = _Kept.model_validate_json(text, strict=True).notice
        notice = notice_from(shown) if shown else None
    except (ValidationError, EntryError):
        raise AdmissionError("the answer is no anchor; is the coordinator's version of tacit the same?") from None
    if notice is not None and (notice.asset != asset or not notice.signed_by(key)):
        raise AdmissionError("the answer is no anchor that this owner made of this ledger; tell the operator")
    return notice


def _transcript(name: str, time: int, asset: str, notice: str) -> bytes:
    return (
        _TAG + name.encode() + b"\0" + str(time).encode() + b"\0" + asset.encode()
        + hashlib.sha256(notice.encode()).digest()
    )  # fmt: skip
