"""Anchor: a signed statement of how far a ledger has come, kept where whoever restores an old ledger does not reach.

A chain cannot show that its last lines are missing. An anchor can: it names the number and digest of a line that the ledger
once had (PRIVACY.md 22). `AnchorFile` keeps the newest on a second local place, best another volume; the same statement may be
given to others, who cannot make one of their own, because it is signed by the ledger's key.

**Between ledger and anchor.** Let h be the ledger's last line on the disk and a the line that the anchor file names.

1. A store that holds the ledger's write lock brings the anchor to h before it writes line h + 1 (`Store`).
2. It grants line h + 1 only when the anchor that names it is on the disk. A failure in between grants nothing.
3. An anchor file only moves forward, under a lock of its own.

By 1 a line is written only where a = h, and nobody else writes then; so whatever is killed, and whenever, h − a is 0 or 1. By 2
and 3 a is at least the line of every charge that was granted. Hence at the next start:

| found                            | means                                                       | then            |
|----------------------------------|-------------------------------------------------------------|-----------------|
| a = h, same digest               | nothing is missing                                          | goes on         |
| a = h − 1, same digest at line a | killed in between: line h counts, though nothing may have been granted | a becomes h |
| a > h, or another digest at a    | an older or another ledger lies there                       | `RollbackError` |
| a < h − 1                        | an older anchor lies there                                  | `RollbackError` |
| no anchor                        | it was removed, or its volume is not there                  | `AnchorError`   |

**In the file.** Two slots of 4,096 bytes; the older one is overwritten and synced, so a write that is cut off leaves the other,
which names line h − 1. A slot that is no signed statement is as if empty; two such are `AnchorError`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import AnchorError, RollbackError, asking
from .field import EntryError, is_count, need, need_digest, need_name, need_time

SLOT = 4096
_TAG = b"tacit ledger anchor 2\0"


@dataclass(frozen=True, slots=True)
class Anchor:
    """Ledger `identity` of `asset` had line `number` with this digest at `time`.

    Digest and signature are hexadecimal; the signature is Ed25519 over a tag and `statement`, or empty in a ledger that nobody
    signs.
    """

    asset: str
    identity: str
    number: int
    digest: str
    time: int
    signature: str = ""

    def __post_init__(self) -> None:
        need_name(self.asset, "asset")
        need_name(self.identity, "identity")
        need(is_count(self.number), "number", self.number, "the number of a line")
        need_digest(self.digest, "digest")
        need_time(self.time)
        holds = isinstance(self.signature, str) and len(self.signature) in (0, 128)
        need(holds and not set(self.signature) - set("0123456789abcdef"), "signature", self.signature, "hexadecimal")

    @property
    def statement(self) -> bytes:
        """What is signed: canonical JSON."""
        row = self.to_json()
        del row["signature"]
        return _canonical(row)

    def to_json(self) -> dict[str, Any]:
        """The anchor as others keep it."""
        return {
            "asset": self.asset, "identity": self.identity, "number": self.number, "digest": self.digest,
            "time": self.time, "signature": self.signature,
        }  # fmt: skip

    def signed_by(self, key: str) -> bool:
        """Whether the key (hexadecimal; empty for nobody) has signed it."""
        if not key or not self.signature:
            return not key and not self.signature
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
                bytes.fromhex(self.signature), _TAG + self.statement
            )
        except (InvalidSignature, ValueError):
            return False
        return True


def anchored(asset: str, identity: str, number: int, digest: bytes, time: int, key: Ed25519PrivateKey | None) -> Anchor:
    """The statement, signed by `key`."""
    bare = Anchor(asset, identity, number, digest.hex(), time)
    if key is None:
        return bare
    return Anchor(asset, identity, number, digest.hex(), time, key.sign(_TAG + bare.statement).hex())


def anchor_from(row: Any) -> Anchor:
    """The anchor that `to_json` wrote, its signature unchecked; raises `EntryError` for anything else."""
    try:
        found = Anchor(
            row["asset"], row["identity"], row["number"], row["digest"], row["time"], row["signature"]
        )  # fmt: skip
    except (LookupError, TypeError) as error:
        raise EntryError(f"not an anchor ({type(error).__name__})") from error
    if row != found.to_json():
        raise EntryError("not an anchor (unknown keys)")
    return found


def agreed(ledger: Path, where: str, anchor: Anchor, last: int, digest: Callable[[int], bytes | None]) -> None:
    """Raise `RollbackError` where a ledger that ends with line `last` has not, or has otherwise, what `anchor` names.

    `where` says whose anchor it is. An anchor that is long behind agrees: whoever keeps it was told of nothing newer.
    """
    names = f"{where}, which names line {anchor.number}"
    if anchor.number > last:
        raise RollbackError(
            f"{ledger}: an older copy: it ends with line {last}, and its anchor held ({names}); restore the newest copy with "
            f"its -wal file; {asking(ledger, where)}"
        )
    found = digest(anchor.number)
    if found is None or found.hex() != anchor.digest:
        raise RollbackError(
            f"{ledger}: not the ledger that its anchor knows ({names}); restore that one; {asking(ledger, where)}"
        )


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """The newest anchor of one ledger, in the file `path`; mode 0600, in a folder that `create` makes (0700)."""

    path: Path

    def create(self, anchor: Anchor) -> None:
        """Put a new file there, whatever was there before; raises `AnchorError`."""
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, _slot(anchor) + bytes(SLOT))
                os.fsync(handle)
            finally:
                os.close(handle)
            beside.replace(self.path)
            _sync(self.path.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise self._failed(error) from error

    def read(self, key: str) -> Anchor | None:
        """The newest anchor there that `key` has signed; None where there is no file. Raises `AnchorError`."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        return self._newest(content, key)[0]

    def move(self, anchor: Anchor, key: str) -> None:
        """Make `anchor` the newest unless the file is as far already; on the disk when this returns.

        Raises `AnchorError` where it cannot be written or is gone, `RollbackError` where it names another line there.
        """
        with self._locked() as handle:
            newest, place = self._newest(os.pread(handle, 2 * SLOT, 0), key)
            if newest.number >= anchor.number:
                if newest.number == anchor.number and newest.digest != anchor.digest:
                    raise RollbackError(
                        f"{self.path}: names another line {anchor.number} than the ledger has; restore both"
                    )
                return
            if os.pwrite(handle, _slot(anchor), SLOT * (1 - place)) != SLOT:
                raise OSError("cut off")
            os.fdatasync(handle)

    def needed(self, ledger: Path, key: str) -> Anchor:
        """The newest anchor there; `AnchorError` where there is no file either."""
        found = self.read(key)
        if found is None:
            raise AnchorError(
                f"{self.path}: no anchor, so nobody knows whether {ledger} is the newest; mount its volume or restore it. "
                f"If it is lost, make sure that the ledger is the newest, and `tacit ledger anchor` makes it anew"
            )
        return found

    def follows(self, ledger: Path, key: str, last: int) -> None:
        """Raise `RollbackError` where the anchor is older than a ledger that ends with line `last` leaves it."""
        found = self.needed(ledger, key)
        if found.number < last - 1:
            raise RollbackError(
                f"{self.path}: an older copy of the anchor: it names line {found.number}, and {ledger} ends with line {last}; "
                f"restore the newest. If it is lost, `tacit ledger anchor` makes it anew; {asking(ledger, str(self.path))}"
            )

    def confirm(self, ledger: Path, key: str, last: int, digest: Callable[[int], bytes | None]) -> None:
        """Raise `AnchorError` or `RollbackError` unless the ledger is as far as the anchor, or one line further.

        `last` is its last line, and `digest` gives that of a line. Only for whoever holds the ledger's lock: both move.
        """
        agreed(ledger, str(self.path), self.needed(ledger, key), last, digest)
        self.follows(ledger, key, last)

    def _newest(self, content: bytes, key: str) -> tuple[Anchor, int]:
        """The newest anchor in the two slots, and which one it is in."""
        found: list[tuple[int, int, Anchor]] = []
        for place in (0, 1):
            with contextlib.suppress(ValueError):  # a write that was cut off; no UTF-8, no JSON, no anchor
                each = anchor_from(json.loads(content[place * SLOT : (place + 1) * SLOT].rstrip(b"\0")))
                if each.signed_by(key):
                    found.append((each.number, place, each))
        if not found:
            raise AnchorError(
                f"{self.path}: holds no anchor that the ledger's key has signed; restore it, or have it made anew with "
                f"`tacit ledger anchor`, which the ledger then shows"
            )
        _, place, newest = max(found, key=lambda each: each[0])
        return newest, place

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> AnchorError:
        return AnchorError(
            f"{self.path}: the anchor cannot be read or written ({error.strerror or error}); nothing is charged without it. "
            f"Mount its volume, free some space, or change its permissions"
        )


def _slot(anchor: Anchor) -> bytes:
    return _canonical(anchor.to_json()).ljust(SLOT, b"\0")


def _canonical(row: dict[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
