"""Vault: the ledger of one asset as its owner's own programs open it: signed, anchored, and never made anew by mistake."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..privacy.ledger.creation import Clock, create
from ..privacy.ledger.store import Store
from ..strategies import keyfile
from .home import ClientHome
from .identity import recorded

SUFFIX, ANCHOR = ".sqlite", ".anchor"


def ledger_file(ledgers: Path, asset: str) -> Path:
    """Where the ledger of `asset` lies in the folder `ledgers`."""
    return ledgers / f"{asset}{SUFFIX}"


def assets_in(ledgers: Path) -> tuple[str, ...]:
    """The assets that have a ledger in the folder `ledgers`, by name."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in ledgers.glob(f"*{SUFFIX}")))


def anchor_file(home: ClientHome, folder: str | None, asset: str) -> Path:
    """Where the anchor of `asset` lies: in `folder` (relative to the home), or in the home's own."""
    place = home.anchors if folder is None else home.root / folder
    return place / f"{asset}{ANCHOR}"


def open_vault(home: ClientHome, folder: str | None, asset: str, clock: Clock = time.time) -> Store:
    """The ledger of `asset` in `home`, its anchor in `folder`. Made where the asset was never used.

    Raises `LedgerError`: also where there are replies, but the ledger that paid for them is gone. Raises `KeyFileError`.
    """
    ledger, anchor = ledger_file(home.ledgers, asset), anchor_file(home, folder, asset)
    keyfile.folder(home.ledgers)
    if not ledger.exists() and not (home.replies / asset).exists():
        create(ledger, asset, clock, _key_or_new(home), anchor)
    key = keyfile.ed25519_key(home.signing_key)
    server = recorded(home).key if home.coordinator.exists() else ""
    return Store(ledger, asset, clock, key=key, anchor=anchor, server=server)


def _key_or_new(home: ClientHome) -> Ed25519PrivateKey:
    """The owner's signing key. A node of stock Flower never enrolled: it has one made before its first ledger."""
    if not home.signing_key.exists() and not home.coordinator.exists() and not any(home.ledgers.iterdir()):
        keyfile.folder(home.keys)
        keyfile.create(home.signing_key, keyfile.to_pem(Ed25519PrivateKey.generate()))
    return keyfile.ed25519_key(home.signing_key)
