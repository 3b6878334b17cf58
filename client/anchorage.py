"""Anchorage: this owner's coordinator as the other place where its ledgers are anchored (PRIVACY.md 22).

Whoever restores an owner's whole machine restores ledgers and local anchors together; the coordinator still knows how far the
ledgers were. It is asked before the first request, and told at most once a minute, and at the end, beside the rounds and never
on their way. What it says counts only where this owner has signed it. So a coordinator can withhold what it
knows, which is no help, but stop nobody whose ledger is the newest. The other way round, `keeping` holds the coordinator's.

It learns of each ledger: how many lines it has and when they came, and 32 bytes in place of its name:

    HMAC-SHA256(k, name), k = HKDF-SHA256(signing key, "tacit anchor name v1")
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..privacy.ledger.creation import Clock
from ..privacy.ledger.errors import LedgerError, RollbackError
from ..privacy.ledger.notice import Notice
from ..privacy.ledger.store import Store
from ..strategies.admission import AdmissionError
from ..strategies.anchoring import kept_in
from ..strategies.heading import heads_in
from ..strategies.shown import shown
from .enrolment import EnrolmentError, anchored, headed
from .identity import Identity
from .keeping import Keeping

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for one answer
_WAIT = 10.0  # seconds that start and end wait for all of them
_EVERY = 60.0  # seconds between two looks whether there are new lines
_WHERE = "the coordinator's anchor"
_UNASKED = "the local anchor held; the coordinator was not asked yet"


def alias(key: Ed25519PrivateKey, asset: str) -> str:
    """What the coordinator knows the ledger of `asset` by."""
    secret = HKDF(SHA256(), 32, None, b"tacit anchor name v1").derive(key.private_bytes_raw())
    return hmac.new(secret, asset.encode(), hashlib.sha256).hexdigest()


class Anchorage:
    """The coordinator's copies of the anchors of `stores` (by asset). Its calls are one thread's at a time."""

    def __init__(self, identity: Identity, stores: Mapping[str, Store], clock: Clock = time.time) -> None:
        self._identity, self._stores, self._clock = identity, dict(stores), clock
        self._aliases = {name: alias(identity.keys.signing, name) for name in self._stores}
        self._told: dict[str, tuple[int, bytes]] = {}
        self._compared: set[str] = set()
        self._standing = dict.fromkeys(self._stores, _UNASKED)
        self._fault: RollbackError | None = None
        self._keeping = Keeping(identity.home.coordinator_anchor, identity.coordinator_key)
        self._coordinator = "not asked yet"

    @property
    def standing(self) -> Mapping[str, str]:
        """Which anchor held, by asset; JSON for the owner's administrator."""
        return dict(self._standing)

    @property
    def coordinator(self) -> str:
        """What the coordinator's own ledger was found to be."""
        return self._coordinator

    def check(self) -> None:
        """Raise the `RollbackError` that came up since the start, if any."""
        if self._fault is not None:
            raise self._fault

    def compare(self) -> None:
        """Hold every ledger against what the coordinator keeps. Raises `RollbackError` where that is ahead.

        Where the coordinator is away, local anchors have to do, and that is logged; `tell` asks again.
        """
        self._each(self._compare)
        self._hold_coordinator()

    def tell(self) -> None:
        """Tell the coordinator of every ledger that went on, each once it was compared. Raises as `compare`."""
        self._each(self._tell)
        self._hold_coordinator()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Compare, then tell beside whatever goes on, and at its end. Raises as `compare`, before it begins.

        A coordinator that answers by the drop delays start and end by no more than `_WAIT` each.
        """
        compared, ended = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._work, args=(compared, ended), name="tacit-anchorage", daemon=True)
        thread.start()
        try:
            compared.wait(_WAIT)
            self.check()
            yield
        finally:
            ended.set()
            thread.join(_WAIT)

    def _work(self, compared: threading.Event, ended: threading.Event) -> None:
        """Compare, tell every minute, and once more when `ended`; a rollback is left for `check`."""
        try:
            self.compare()
            compared.set()
            self.tell()
            while not ended.wait(_EVERY):
                self.tell()
            self.tell()
        except RollbackError as error:
            log.error("%s", error)
            self._fault = error
        finally:
            compared.set()

    def _each(self, call: Callable[[str], None]) -> None:
        """`call` with every asset; after the first one without an answer the others are left for the next time."""
        for name in self._stores:
            try:
                call(name)
            except RollbackError:
                raise
            except (EnrolmentError, LedgerError, OSError) as error:
                self._note(name, f"the local anchor held; the coordinator has no answer ({shown(str(error))})")
                return

    def _hold_coordinator(self) -> None:
        """Hold the coordinator's ledger against what it showed before. Raises `RollbackError` where it is behind."""
        try:
            answer = headed(self._identity, self._keeping.kept(), self._clock(), _PATIENCE)
            self._coordinator = self._keeping.take(heads_in(answer, self._identity.coordinator_key))
        except (AdmissionError, EnrolmentError, OSError) as error:
            self._coordinator = f"not known: {shown(str(error))}"
            log.info("the coordinator's ledger: %s", self._coordinator)

    def _compare(self, name: str) -> None:
        self._hold(name, None)
        self._compared.add(name)

    def _tell(self, name: str) -> None:
        store = self._stores[name]
        if self._told.get(name) == store.head:
            return
        if name not in self._compared:
            self._compare(name)  # before it is told more, and forgets what it knew
        notice = store.notice(self._aliases[name])
        self._hold(name, notice)
        self._told[name] = notice.number, bytes.fromhex(notice.digest)

    def _hold(self, name: str, notice: Notice | None) -> None:
        """Show `notice`, or only ask, and hold the ledger against the answer."""
        answer = anchored(self._identity, self._aliases[name], notice, self._clock(), _PATIENCE)
        try:
            kept = kept_in(answer, self._aliases[name], self._identity.keys.signing.public_key())
        except AdmissionError as error:
            self._note(name, f"the local anchor held; what the coordinator shows does not count ({error})")
            return
        if kept is None:
            self._note(
                name, "the local anchor held; the coordinator knew of none", logging.INFO
            )  # the first time, as ever
        elif self._stores[name].confirm(_WHERE, kept):
            self._standing[name] = f"{_WHERE} held, with the local one: line {kept.number}"
        else:
            self._note(name, "the local anchor held; it was made anew since the coordinator's")

    def _note(self, name: str, standing: str, level: int = logging.WARNING) -> None:
        """Log what `standing` says, once."""
        if self._standing[name] != standing:
            log.log(level, "asset %s: %s", name, standing)
            self._standing[name] = standing
