"""Approvals: runs that wait for the owner's administrator, and what was decided; one file a run, in the owner's folder.

An approval speaks of exactly what was shown: asset, recipe and price of a round, by digest. Whatever else is asked later
under the same name is refused. The first request of a run is the one that is written down; later ones never replace it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..strategies import keyfile
from .offer import Offer
from .refusal import RefusedError

Verdict: TypeAlias = Literal["pending", "approved", "denied"]

_FORMAT = 1
_SUFFIX = ".json"
_MOST = 100  # runs that may wait: a server that invents runs fills no disk


class DecisionError(RuntimeError):
    """No such run waits, or what is on the disk cannot be relied on."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A run and what was decided about it. `offer` is what was shown; `digest` what the decision is bound to."""

    run: str
    digest: str
    verdict: Verdict
    offer: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The value on the disk."""
        return {
            "format": _FORMAT, "run": self.run, "digest": self.digest, "verdict": self.verdict, "offer": self.offer,
        }  # fmt: skip


class Approvals:
    """The decisions in `folder` (mode 0700)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def require(self, offer: Offer) -> None:
        """Return if this very offer was approved; else raises `RefusedError`, having noted a new one for the administrator.

        Raises `RefusedError`, too, where the disk fails: what cannot be looked up was not approved.
        """
        try:
            found = self.find(offer.run)
            if found is None:
                self._note(offer)
        except (DecisionError, keyfile.KeyFileError, OSError) as error:
            raise RefusedError("this owner's approvals cannot be read or written now", "approval") from error
        ask = f"the owner's administrator decides: tacit client approve {offer.run}"
        if found is None:
            raise RefusedError("every run is approved by a person first; this one was noted", "approval", ask)
        if found.digest != offer.digest():
            raise RefusedError(
                "this is not what was noted under the name of this run", "approval", "ask under a new name"
            )
        if found.verdict == "denied":
            raise RefusedError("the owner's administrator denied this run", "denied")
        if found.verdict == "pending":
            raise RefusedError("every run is approved by a person first; this one waits", "approval", ask)

    def approve(self, run: str, digest: str) -> Pending:
        """Approve what was shown under `digest`; on the disk when this returns. Raises `DecisionError`."""
        return self._decide(run, digest, "approved")

    def deny(self, run: str, digest: str) -> Pending:
        """Deny a run, also one that was approved before: its next round is refused. Raises `DecisionError`."""
        return self._decide(run, digest, "denied")

    def find(self, run: str) -> Pending | None:
        """What is noted of a run; raises `DecisionError` for a file that was not written here."""
        path = self._path(run)
        if not path.exists():
            return None
        found = _read(path)
        if found.run != run:
            raise DecisionError(f"{path}: is about run {found.run!r}, not {run!r}; remove it")
        return found

    def all(self) -> tuple[Pending, ...]:
        """Every noted run, by name."""
        found = (_read(path) for path in self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else ()
        return tuple(sorted(found, key=lambda each: each.run))

    def forget(self, run: str) -> None:
        """Remove what is noted of a run; asked for again, it waits again."""
        self._path(run).unlink(missing_ok=True)

    def _note(self, offer: Offer) -> None:
        keyfile.folder(self._folder)
        if sum(each.verdict == "pending" for each in self.all()) >= _MOST:
            raise RefusedError(
                f"{_MOST} runs wait already; this one was not noted",
                "approval",
                "the administrator decides those first",
            )
        self._write(Pending(offer.run, offer.digest(), "pending", offer.to_json()))

    def _decide(self, run: str, digest: str, verdict: Verdict) -> Pending:
        found = self.find(run)
        if found is None:
            raise DecisionError(f"run {run!r} has not asked; `tacit client approve` lists those that have")
        if found.digest != digest:
            raise DecisionError(f"run {run!r} asks for something else than was shown; look at it again")
        decided = replace(found, verdict=verdict)
        self._write(decided)
        return decided

    def _write(self, pending: Pending) -> None:
        keyfile.replace(self._path(pending.run), json.dumps(_finite(pending.to_json()), indent=1).encode())

    def _path(self, run: str) -> Path:
        # A run is named by the server: its name is never a path.
        return self._folder / f"{hashlib.sha256(run.encode()).hexdigest()[:32]}{_SUFFIX}"


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and abs(value) == float("inf") else value


def _read(path: Path) -> Pending:
    damaged = f"{path}: not what was written here; look at what it was for, then remove it"
    try:
        row = json.loads(keyfile.read(path))
    except ValueError as error:
        raise DecisionError(damaged) from error
    if not isinstance(row, dict) or set(row) != {"format", "run", "digest", "verdict", "offer"}:
        raise DecisionError(damaged)
    texts = all(isinstance(row[key], str) for key in ("run", "digest"))
    if (
        row["format"] != _FORMAT
        or not texts
        or row["verdict"] not in get_args(Verdict)
        or not isinstance(row["offer"], dict)
    ):
        raise DecisionError(damaged)
    return Pending(row["run"], row["digest"], row["verdict"], row["offer"])
