"""Key file: what only its owner may read, on disk: mode 0600 in a folder of mode 0700, whole or not there.

Nothing here, and no error of it, shows what a file holds.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(Exception):
    """A key file that is missing, open to others, or no such key."""


def folder(path: Path) -> None:
    """Make the folder `path` (mode 0700) unless it exists; raises `KeyFileError` where others may enter it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _closed(path, 0o700)


def create(path: Path, content: bytes) -> None:
    """Write a new file durably; raises `FileExistsError` rather than replace one."""
    _write(path, content)
    _sync(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file durably in place of the one that may be there; a crash leaves one of the two whole."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(beside, content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def read(path: Path) -> bytes:
    """What a file holds; raises `KeyFileError` where it is missing or open to others."""
    try:
        _closed(path, 0o600)
        return path.read_bytes()
    except FileNotFoundError:
        raise KeyFileError(f"{path}: no such file; restore it from a backup, or set the folder up anew") from None


def to_pem(key: PrivateKey) -> bytes:
    """The PKCS #8 text of a private key."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def ec_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The elliptic-curve key in a file; raises `KeyFileError`."""
    key = _key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path}: holds no elliptic-curve key; restore it from a backup")
    return key


def ed25519_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """The Ed25519 key in a file; raises `KeyFileError`."""
    key = _key(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise KeyFileError(f"{path}: holds no Ed25519 key; restore it from a backup")
    return key


def _key(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(read(path), password=None)
    except (ValueError, TypeError):
        # The cause is left out: a parser's error may quote what it read.
        raise KeyFileError(f"{path}: is no private key; restore it from a backup") from None


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _closed(path: Path, mode: int) -> None:
    found = path.stat()
    if found.st_mode & _OTHERS:
        raise KeyFileError(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets other users in; type `chmod {mode:o} {path}`, and "
            f"make new keys if they may have read it"
        )
