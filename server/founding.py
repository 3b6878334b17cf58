"""Founding: how a coordinator's folder comes to be, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..strategies import keyfile
from . import authority, registry
from .home import TEMPLATE, HomeError, ServerHome, as_settings
from .unit import unit


@dataclass(frozen=True, slots=True)
class Founded:
    """A new coordinator, and the hash of its authority's certificate."""

    home: ServerHome
    pin: bytes


def found(root: Path, host: str, address: str, enrolment: str, now: float) -> Founded:
    """Make the folder `root` of a new coordinator: keys, authority, registry, settings, unit file.

    Everything is made beside `root` and moved there at the end. Raises `HomeError` where there is something already.
    """
    root = root.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise HomeError(f"{root}: exists and is not empty; nothing was changed. Choose a new folder")
    text = TEMPLATE.format(host=json.dumps(host), address=json.dumps(address), enrolment=json.dumps(enrolment))
    checked = as_settings({"server": {"host": host, "address": address, "enrolment": enrolment}}, "tacit server init")
    root.parent.mkdir(parents=True, exist_ok=True)
    made = ServerHome(Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent)))  # mode 0700
    try:
        keyfile.create(made.settings_file, text.encode())
        issuer = authority.found(made, now)
        keyfile.folder(made.signing_key.parent)
        keyfile.create(made.signing_key, keyfile.to_pem(Ed25519PrivateKey.generate()))
        authority.certify_servers(made, issuer, checked, now)
        registry.make(made.registry)
        for folder in (made.flower, made.runs, made.logs):
            keyfile.folder(folder)
        keyfile.create(made.unit_file, unit(root).encode())
        made.root.rename(root)
    except BaseException:
        shutil.rmtree(made.root, ignore_errors=True)
        raise
    return Founded(ServerHome(root), issuer.pin)
