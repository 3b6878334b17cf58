"""Keeping: this owner as the other place where its coordinator's ledger is anchored (PRIVACY.md 22).

Beside its own anchors the agent asks how far the coordinator's ledger came, and keeps the newest answer. A coordinator that
was restored as a whole is then behind what it showed before: the agent works for it no more, and says whose anchor held. What
it once showed is shown to it again, so that it finds out itself.

| the coordinator shows                                 | then                                                  |
|-------------------------------------------------------|-------------------------------------------------------|
| a newer line, and the kept one as it was              | the newer one is kept                                 |
| an older line, none at all, or the kept one otherwise | `RollbackError`: an older ledger, or another          |
| that its anchor was made anew since                   | logged, and kept from there: its operator says so     |
| nothing, or nothing that it signed, or no answer      | nothing: it is asked again                            |
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ..privacy.ledger.errors import RollbackError
from ..privacy.ledger.field import EntryError
from ..privacy.ledger.notice import Notice, notice_from
from ..strategies import keyfile
from ..strategies.heading import Heads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept, in the file `path`, of a coordinator that signs with `key`."""

    path: Path
    key: Ed25519PublicKey

    def kept(self) -> Notice | None:
        """The newest that was shown; None before. A file that is damaged is as if there were none, and logged."""
        try:
            found = notice_from(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, EntryError, UnicodeDecodeError) as error:
            log.warning("%s: no anchor of the coordinator (%s); it begins anew", self.path, type(error).__name__)
            return None
        return found if found.signed_by(self.key) else None

    def take(self, heads: Heads) -> str:
        """Hold what the coordinator shows against what is kept, and keep it; in words, which anchor held.

        Raises `RollbackError`, `OSError`.
        """
        kept, newest = self.kept(), heads.newest
        if kept is None:
            if newest is None:
                return "the coordinator shows no ledger yet"
            self._keep(newest)
            return f"first seen at line {newest.number}"
        if newest is None:
            raise RollbackError(_behind("it shows no ledger any more", kept))
        if newest.renewals > kept.renewals:
            log.warning(
                "the coordinator's operator had the anchor of its ledger made anew, at or before line %d", newest.number
            )
            self._keep(newest)
            return f"made anew by its operator; from line {newest.number} on"
        if newest.place < kept.place:
            raise RollbackError(_behind(f"it ends with line {newest.number}", kept))
        if heads.same is None or (heads.same.number, heads.same.digest) != (kept.number, kept.digest):
            raise RollbackError(_behind(f"it has another line {kept.number}", kept))
        if newest.place > kept.place:
            self._keep(newest)
        return f"this owner's anchor held: line {kept.number}"

    def _keep(self, notice: Notice) -> None:
        keyfile.replace(self.path, notice.text().encode())


def _behind(what: str, kept: Notice) -> str:
    return (
        f"the coordinator's ledger is an older copy, or another: {what}, and this owner's anchor held: it names line "
        f"{kept.number}; nothing is done for it. Its operator restores the newest ledger (`tacit ledger verify --dir` on its "
        f"folder shows what is there), or says that it is lost: `tacit ledger anchor server`"
    )
