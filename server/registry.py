"""Registry: which owners a coordinator knows and whom it invited; one SQLite file that all its processes share.

Every answer is read from the file, so what one process writes counts in the others at once: a revocation on the next request.
An unreadable registry admits nobody. Of an invitation only the hash of its secret is kept. Each change of who is enrolled
raises `version`, which is also the roster's.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ..strategies.admission import Applicant
from ..strategies.roster import Entry, Roster, checked_name
from ..strategies.token import hashed

_SCHEMA = 3  # 2: `fingerprint` is of the certificate's key; 3: `anchors`, `forks` (`server.anchors`)
_TABLES = """
CREATE TABLE state (version INTEGER NOT NULL);
INSERT INTO state VALUES (0);
CREATE TABLE invitations (
    hash BLOB PRIMARY KEY, name TEXT NOT NULL, expires REAL NOT NULL, void INTEGER NOT NULL DEFAULT 0, applicant BLOB
);
CREATE TABLE owners (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, certificate BLOB NOT NULL,
    fingerprint BLOB NOT NULL UNIQUE, node_key BLOB NOT NULL UNIQUE, signing_key BLOB NOT NULL UNIQUE,
    enrolled REAL NOT NULL, revoked REAL
);
CREATE TABLE anchors (owner INTEGER NOT NULL, asset TEXT NOT NULL, notice TEXT NOT NULL, PRIMARY KEY (owner, asset));
CREATE TABLE forks (
    owner INTEGER NOT NULL, asset TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (owner, asset)
);
"""
_OWNER = "number, name, certificate, node_key, signing_key, enrolled, revoked"


class RegistryError(Exception):
    """The registry cannot do that."""


class UnreadableError(RegistryError):
    """The registry's file is missing, damaged or another version's."""


class UnknownOwnerError(RegistryError):
    """No owner has this name."""


class EnrolledError(RegistryError):
    """An owner of this name is enrolled already."""


class RefusedTokenError(RegistryError):
    """An invitation that does not count; `code` says why to programs."""

    code = "unknown-token"


class ExpiredTokenError(RefusedTokenError):
    """Its time is over."""

    code = "expired-token"


class UsedTokenError(RefusedTokenError):
    """Somebody enrolled with it."""

    code = "used-token"


class KnownKeyError(RefusedTokenError):
    """One of the keys is another owner's."""

    code = "known-key"


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner as the coordinator knows it: certificate (DER), node key (PEM), Ed25519 signing key (`[32]` bytes)."""

    number: int
    name: str
    certificate: bytes
    node_key: bytes
    signing_key: bytes
    enrolled: float
    revoked: float | None

    @property
    def entry(self) -> Entry:
        """As it stands in the roster."""
        return Entry(self.number, self.name, self.signing_key)


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that nobody has used, and when it ends."""

    name: str
    expires: float


class Registry:
    """The registry in an open file; usable from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises `UnreadableError`."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=10.0,
                isolation_level=None,
                check_same_thread=False,
            )
            found = self._file.execute("PRAGMA user_version").fetchone()[0]
            self._file.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise _unreadable(path, str(error)) from error
        if found != _SCHEMA:
            self._file.close()
            raise _unreadable(path, f"its version is {found}, not {_SCHEMA}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def admits(self, certificate: bytes, node_key: bytes) -> bool:
        """Whether the holder of a certificate (DER) may act with a node key (PEM): the gateway's question on every request.

        The certificate's key decides, so that a renewal ends no connection; that the authority issued it, and that it has not
        expired, was settled in the handshake.
        """
        try:
            fingerprint = _fingerprint(x509.load_der_x509_certificate(certificate))
            row = self.one("SELECT node_key FROM owners WHERE fingerprint = ? AND revoked IS NULL", fingerprint)
        except (UnreadableError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            return False
        return row is not None and row[0] == node_key

    def version(self) -> int:
        """How often it changed who is enrolled."""
        row = self.one("SELECT version FROM state")
        if row is None:
            raise _unreadable(self._path, "a table is empty")
        return int(row[0])

    def owners(self) -> tuple[Owner, ...]:
        """Everybody that ever enrolled, by number; the newest keys of each."""
        return tuple(Owner(*row) for row in self.all(f"SELECT {_OWNER} FROM owners ORDER BY number"))

    def owner(self, name: str) -> Owner:
        """The owner called `name`; raises `UnknownOwnerError`."""
        row = self.one(f"SELECT {_OWNER} FROM owners WHERE name = ?", name)
        if row is None:
            raise UnknownOwnerError(f"no owner is called {name!r}; `tacit server owners` lists them")
        return Owner(*row)

    def invitations(self, now: float) -> tuple[Invitation, ...]:
        """Those that still count."""
        query = (
            "SELECT name, expires FROM invitations WHERE applicant IS NULL AND void = 0 AND expires > ? ORDER BY name"
        )
        return tuple(Invitation(*row) for row in self.all(query, now))

    def roster(self, authority: bytes) -> Roster:
        """The enrolled owners, as of one version."""
        with self.changing() as file:
            version = int(file.execute("SELECT version FROM state").fetchone()[0])
            query = "SELECT number, name, signing_key FROM owners WHERE revoked IS NULL ORDER BY number"
            return Roster(authority, version, tuple(Entry(*row) for row in file.execute(query)))

    def invite(self, name: str, secret: bytes, expires: float) -> None:
        """Keep an invitation of a new owner, or of one that was revoked; raises `EnrolledError`.

        One that the same name had before no longer counts.
        """
        checked_name(name)
        with self.changing() as file:
            if _enrolled(file, name):
                raise EnrolledError(
                    f"{name!r} is enrolled; for a new certificate use --again, for another owner another name, and if its "
                    f"keys are lost or stolen `tacit server revoke {name}` first"
                )
            _keep(file, name, secret, expires)

    def invite_again(self, name: str, secret: bytes, expires: float) -> None:
        """Keep an invitation of an enrolled owner: its certificate counts until the new one is made. Raises
        `UnknownOwnerError`.
        """
        with self.changing() as file:
            if not _enrolled(file, name):
                raise UnknownOwnerError(f"no enrolled owner is called {name!r}; `tacit server owners` lists them")
            _keep(file, name, secret, expires)

    def enrol(self, applicant: Applicant, now: float, certify: Callable[[str], x509.Certificate]) -> Owner:
        """The owner that the applicant now is: invitation used, certificate made and kept, in one step.

        The same keys with the same invitation get the same answer again, so that an answer lost on the way harms
        nobody. Raises `RefusedTokenError`.
        """
        digest = applicant.digest()
        with self.changing() as file:
            key = (hashed(applicant.secret),)
            row = file.execute("SELECT name, expires, void, applicant FROM invitations WHERE hash = ?", key).fetchone()
            if row is None:
                raise RefusedTokenError("the coordinator never made this token; ask it for one")
            name, expires, void, used_by = row
            if used_by is not None:
                again = file.execute(
                    f"SELECT {_OWNER} FROM owners WHERE name = ? AND revoked IS NULL AND signing_key = ? AND node_key = ?",
                    (name, applicant.signing_key, applicant.node_key),
                ).fetchone()
                if used_by != digest or again is None:
                    raise UsedTokenError(
                        "the token was used before; if that was not you, tell the operator to revoke this owner at once"
                    )
                return Owner(*again)
            if void or expires <= now:
                raise ExpiredTokenError("the token has expired or was replaced; ask the coordinator for a new one")
            made = certify(name)
            certificate = made.public_bytes(serialization.Encoding.DER)
            values = (certificate, _fingerprint(made), applicant.node_key, applicant.signing_key, now)
            try:
                file.execute(
                    "INSERT INTO owners (certificate, fingerprint, node_key, signing_key, enrolled, name) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate, "
                    "fingerprint = excluded.fingerprint, node_key = excluded.node_key, "
                    "signing_key = excluded.signing_key, enrolled = excluded.enrolled, revoked = NULL",
                    (*values, name),
                )
            except sqlite3.IntegrityError:
                raise KnownKeyError(
                    "a key of this application is another owner's; make new keys in a new folder"
                ) from None
            file.execute("UPDATE invitations SET applicant = ? WHERE hash = ?", (digest, *key))
            file.execute("UPDATE state SET version = version + 1")
            return Owner(*file.execute(f"SELECT {_OWNER} FROM owners WHERE name = ?", (name,)).fetchone())

    def recertify(self, name: str, certify: Callable[[x509.Certificate], x509.Certificate]) -> Owner:
        """The enrolled owner with the certificate that `certify` makes of the one that it has, for the same key.

        Raises `UnknownOwnerError`.
        """
        with self.changing() as file:
            row = file.execute("SELECT certificate FROM owners WHERE name = ? AND revoked IS NULL", (name,)).fetchone()
            if row is None:
                raise UnknownOwnerError(f"no enrolled owner is called {name!r}; `tacit server owners` lists them")
            made = certify(x509.load_der_x509_certificate(row[0]))
            new = made.public_bytes(serialization.Encoding.DER)
            file.execute(
                "UPDATE owners SET certificate = ? WHERE name = ? AND fingerprint = ?", (new, name, _fingerprint(made))
            )
        return self.owner(name)

    def revoke(self, name: str, now: float) -> Owner:
        """The owner, which no longer takes part; its open invitations are void. Raises `UnknownOwnerError`."""
        with self.changing() as file:
            file.execute("UPDATE invitations SET void = 1 WHERE name = ?", (name,))
            changed = file.execute("UPDATE owners SET revoked = ? WHERE name = ? AND revoked IS NULL", (now, name))
            if changed.rowcount:
                file.execute("UPDATE state SET version = version + 1")
        return self.owner(name)

    def one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        """The first row of a query, or None. Raises `UnreadableError`."""
        return next(iter(self.all(query, *values)), None)

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Every row of a query. Raises `UnreadableError`."""
        try:
            with self._lock:
                return self._file.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(self._path, str(error)) from error

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes in; rolled back by any error."""
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                try:
                    yield self._file
                except BaseException:
                    self._file.execute("ROLLBACK")
                    raise
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                raise _unreadable(self._path, str(error)) from error


def _fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's public key."""
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def _enrolled(file: sqlite3.Connection, name: str) -> bool:
    return file.execute("SELECT 1 FROM owners WHERE name = ? AND revoked IS NULL", (name,)).fetchone() is not None


def _keep(file: sqlite3.Connection, name: str, secret: bytes, expires: float) -> None:
    file.execute("UPDATE invitations SET void = 1 WHERE name = ? AND applicant IS NULL", (name,))
    file.execute("INSERT INTO invitations (hash, name, expires) VALUES (?, ?, ?)", (hashed(secret), name, expires))


def make(path: Path) -> None:
    """A new, empty registry at `path`; raises `FileExistsError`."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    file = sqlite3.connect(path)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_SCHEMA}; COMMIT;")
    finally:
        file.close()


def _unreadable(path: Path, why: str) -> UnreadableError:
    return UnreadableError(
        f"{path}: the registry cannot be used ({why}); check disk and permissions, or restore a backup"
    )
