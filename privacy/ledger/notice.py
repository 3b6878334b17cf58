"""Notice: a ledger's anchor as somebody else keeps it, who is not told what asset it is of.

A local anchor and its ledger may be restored from one old copy together; a notice that was sent away before is still ahead of
both then (PRIVACY.md 22). It is signed by the ledger's key, so whoever keeps it can withhold it or show an older one, which is
no help, but make none: a newer one than the ledger's is proof that the ledger came that far.

**Order.** By (`renewals`, `number`). `renewals` counts the lines in which somebody said that the anchor was lost and made anew
(`Anchored`): after the loss of a ledger, whoever goes on with an older copy says so there, and notices from before count no
longer. With n the notice, r and h the ledger's renewals and last line:

| found                                   | then                                      |
|-----------------------------------------|-------------------------------------------|
| n.renewals < r                          | nothing: somebody vouched for it since    |
| n.renewals > r, or equal and n.number > h | `RollbackError`: an older copy            |
| equal, another digest at n.number       | `RollbackError`: another ledger           |
| equal, the same digest                  | the notice held                           |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import RollbackError, asking
from .field import EntryError, is_count, need, need_digest, need_time

LONGEST = 1024  # bytes of its text
_TAG = b"tacit ledger notice 1\0"


@dataclass(frozen=True, slots=True)
class Notice:
    """The ledger that is called `asset` here had line `number` with this digest, its anchor made anew `renewals` times before.

    `asset` is 32 bytes that tell the keeper nothing; they, digest and signature (Ed25519 over a tag and the rest) are
    hexadecimal. The signature is empty until `signed`.
    """

    asset: str
    renewals: int
    number: int
    digest: str
    time: int
    signature: str = ""

    def __post_init__(self) -> None:
        need_digest(self.asset, "asset")
        need(is_count(self.renewals), "renewals", self.renewals, "a count")
        need(is_count(self.number), "number", self.number, "the number of a line")
        need_digest(self.digest, "digest")
        need_time(self.time)
        holds = isinstance(self.signature, str) and len(self.signature) in (0, 128)
        need(holds and not set(self.signature) - set("0123456789abcdef"), "signature", self.signature, "hexadecimal")

    @property
    def place(self) -> tuple[int, int]:
        """What notices of one ledger are ordered by."""
        return self.renewals, self.number

    def text(self) -> str:
        """Canonical JSON: its only form."""
        row = {
            "asset": self.asset, "renewals": self.renewals, "number": self.number, "digest": self.digest,
            "time": self.time, "signature": self.signature,
        }  # fmt: skip
        return json.dumps(row, sort_keys=True, separators=(",", ":"))

    def signed(self, key: Ed25519PrivateKey) -> Notice:
        """It, signed."""
        return replace(self, signature=key.sign(_statement(self)).hex())

    def signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether the holder of `key` has signed it."""
        try:
            key.verify(bytes.fromhex(self.signature), _statement(self))
        except InvalidSignature:
            return False
        return True


def notice_from(text: str) -> Notice:
    """The notice that `text` is, its signature unchecked; raises `EntryError` for anything else."""
    if len(text) > LONGEST:
        raise EntryError(f"{len(text)} characters; a notice has at most {LONGEST}")
    try:
        found = Notice(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise EntryError(f"not a notice ({type(error).__name__})") from error
    if found.text() != text:
        raise EntryError("not a notice in its one form")
    return found


def held(
    ledger: Path, where: str, notice: Notice, renewals: int, last: int, digest: Callable[[int], bytes | None]
) -> bool:
    """Whether `notice` says anything of a ledger that ends with line `last`; raises `RollbackError` where it contradicts it.

    `where` says who kept it, `digest` gives that of a line. The table above.
    """
    if notice.renewals < renewals:
        return False
    named = f"{where} held: it names line {notice.number}"
    way = (
        f"restore the newest copy with its -wal file; if that is lost, `tacit ledger anchor` says so in the ledger; "
        f"{asking(ledger)}"
    )
    if notice.place > (renewals, last):
        raise RollbackError(f"{ledger}: an older copy: it ends with line {last}, and {named}; {way}")
    found = digest(notice.number)
    if found is None or found.hex() != notice.digest:
        raise RollbackError(f"{ledger}: not the ledger that is known elsewhere, and {named} with another digest; {way}")
    return True


def _statement(notice: Notice) -> bytes:
    return _TAG + replace(notice, signature="").text().encode()
