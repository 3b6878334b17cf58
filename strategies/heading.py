"""Heading: how owners keep the anchor of their coordinator's ledger: what they send, and what they get. Values and JSON text.

A coordinator restored as a whole brings its ledger and its local anchor back together. What it once showed its owners lies
with them. An owner shows the newest notice that it keeps (or none) and is answered with two of the coordinator's: its newest
line, and the line of that number as it is there now. The owner's key signs

    "tacit head request v1\\0" | name | 0 | time | 0 | SHA-256(notice)
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

PATH = "/tacit/v1/head"
ASSET = hashlib.sha256(b"tacit ledger of the coordinator\0").hexdigest()  # what notices of it name
_TAG = b"tacit head request v1\0"


class _Form(Frame):
    name: str = Field(max_length=64)
    time: int
    notice: Annotated[str, Field(max_length=LONGEST)]
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]


class _Answer(Frame):
    newest: Annotated[str, Field(max_length=LONGEST)]
    same: Annotated[str, Field(max_length=LONGEST)]


@dataclass(frozen=True, slots=True)
class Call:
    """Owner `name` shows the `notice` that it keeps, at `time` (whole seconds)."""

    name: str
    time: int
    notice: Notice | None
    signature: bytes

    def made_by(self, key: bytes) -> bool:
        """Whether the holder of the Ed25519 `key` made the call."""
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(
                self.signature, _transcript(self.name, self.time, _text(self.notice))
            )
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Heads:
    """The newest line of the coordinator's ledger, and the one that has the number of the notice that was shown."""

    newest: Notice | None
    same: Notice | None


def request(name: str, key: Ed25519PrivateKey, now: float, notice: Notice | None) -> str:
    """The JSON text of a call."""
    time, text = int(now), _text(notice)
    signature = key.sign(_transcript(name, time, text)).hex()
    return _Form(name=name, time=time, notice=text, signature=signature).model_dump_json()


def call_in(text: bytes) -> Call:
    """The call that a text is, nothing verified; raises `AdmissionError`."""
    try:
        form = _Form.model_validate_json(text, strict=True)
        notice = notice_from(form.notice) if form.notice else None
    except (ValidationError, EntryError):
        raise AdmissionError("this shows no anchor; use the same version of tacit as the server") from None
    return Call(form.name, form.time, notice, bytes.fromhex(form.signature))


def answer(heads: Heads) -> str:
    """The JSON text of an answer."""
    return _Answer(newest=_text(heads.newest), same=_text(heads.same)).model_dump_json()


def heads_in(text: bytes, key: Ed25519PublicKey) -> Heads:
    """What a coordinator with this key answered. Raises `AdmissionError` for what is no answer, or not signed by it."""
    try:
        form = _Answer.model_validate_json(text, strict=True)
        newest, same = (notice_from(each) if each else None for each in (form.newest, form.same))
    except (ValidationError, EntryError):
        raise AdmissionError("the answer shows no ledger; is the coordinator's version of tacit the same?") from None
    for each in (newest, same):
        if each is not None and (each.asset != ASSET or not each.signed_by(key)):
            raise AdmissionError("the answer shows no ledger that the coordinator has signed; tell its operator")
    return Heads(newest, same)


def _text(notice: Notice | None) -> str:
    return "" if notice is None else notice.text()


def _transcript(name: str, time: int, notice: str) -> bytes:
    return _TAG + name.encode() + b"\0" + str(time).encode() + b"\0" + hashlib.sha256(notice.encode()).digest()
