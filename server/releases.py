"""Releases: the newest release of a schedule whose noise depends on earlier rounds', kept so that no kill releases twice.

    reserve → sum opened in memory → release and noise on the disk, in one file → commit → applied → checkpoint → handed out

A round's noise takes part of the earlier noise back, so a second release of one round is covered by no charge at all. Let r
be the round of the checkpoint, k that of this file, c the last round that the ledger committed. A coordinator that starts finds

| found                | killed                                         | then                                                 |
|----------------------|------------------------------------------------|------------------------------------------------------|
| k = r, c ≤ r         | before this file was written: nothing left     | round r + 1 is asked for again, with fresh noise     |
| k = r + 1, c ≤ r + 1 | after it was written                           | the same release again, byte for byte, and no charge |
| anything else        | never: files were lost, or older ones restored | the schedule ends; it was charged before it began    |

It is open to this user only (0600) and removed when the run is over: with the published models it tells the sums.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..privacy.correlation import Memory
from ..privacy.ledger.durable import digest_of
from ..privacy.ledger.entry import Address
from ..privacy.ledger.store import Store
from ..privacy.pipeline import Opened
from .checkpoint import Checkpoint, CheckpointError, load, save


class ReleaseError(RuntimeError):
    """What was released last is not known for sure, so the schedule ends here."""


@dataclass(frozen=True, slots=True)
class Released:
    """What one round revealed: under which attempt, to how many owners it went, whose sum it is, and the noise up to it."""

    round: int
    attempt: int
    sampled: int
    owners: tuple[int, ...]
    opened: Opened = field(repr=False)
    memory: Memory = field(repr=False)


class Releases:
    """The newest release of `run`, in the file `path`; `store` is the ledger that its schedule is charged in.

    `config` is the digest of the run's configuration. Only one process at a time uses it.
    """

    def __init__(self, path: Path, config: str, store: Store, run: str) -> None:
        self._path, self._config, self._store, self._run = path, config, store, run
        self._newest: Released | None = None
        self._read = False

    def newest(self) -> Released | None:
        """The newest release, its charge committed; None before the first. Raises `ReleaseError`, `LedgerError`."""
        if not self._read:
            self._newest = _read(self._path, self._config)
            self._settle()
            self._read = True
        return self._newest

    def keep(self, released: Released) -> None:
        """Make `released` the newest; on the disk when this returns. Raises `OSError` with the old one in its place."""
        try:
            save(self._path, _checkpoint(released, self._config))
        except CheckpointError as error:
            raise OSError(str(error)) from error
        self._newest, self._read = released, True

    def _settle(self) -> None:
        """Hold the file against the ledger. Raises `ReleaseError` where one of the two is older."""
        last = 0 if self._newest is None else self._newest.round
        for each in self._store.spent().records(self._run):
            if each.reply is not None and each.reserved.address.round > last:
                raise ReleaseError(self._lost(f"the ledger knows of a release of round {each.reserved.address.round}"))
        if self._newest is None:
            return
        address = Address(self._run, self._newest.round, self._newest.attempt)
        record, digest = self._store.find(address), digest_of(self._newest.opened)
        if record is None or record.reply not in (None, digest):
            raise ReleaseError(self._lost(f"the ledger knows no such release of {address}"))
        self._store.commit(record.number, digest)

    def _lost(self, why: str) -> str:
        last = "no release" if self._newest is None else f"round {self._newest.round}"
        return lost(f"{self._path} holds {last}, and {why}")


def lost(what: str) -> str:
    """The words for a schedule that cannot go on."""
    return (
        f"{what}; files were lost, or older ones restored. The noise of later rounds depends on it, so this schedule ends: "
        f"restore the run's newest files if you have them, or start a new run"
    )


def _checkpoint(released: Released, config: str) -> Checkpoint:
    opened, memory = released.opened, released.memory
    facts = {
        "attempt": released.attempt, "sampled": released.sampled, "owners": list(released.owners),
        "seen": len(opened.seen), "measures": dict(opened.measures), "rows": len(memory.rows),
        "buffers": len(memory.buffers), "drawn": memory.round,
    }  # fmt: skip
    tensors = {"total": opened.total}
    tensors |= {f"seen.{place}": each for place, each in enumerate(opened.seen) if each is not None}
    tensors |= {f"row.{place}": torch.from_numpy(each) for place, each in enumerate(memory.rows)}
    tensors |= {f"buffer.{place}": torch.from_numpy(each) for place, each in enumerate(memory.buffers)}
    return Checkpoint(config, released.round, facts, tensors)


def _read(path: Path, config: str) -> Released | None:
    if not path.exists():
        return None
    try:
        found = load(path, config)
    except CheckpointError as error:
        raise ReleaseError(lost(str(error))) from error
    facts: Mapping[str, Any] = found.facts
    tensors: Mapping[str, Tensor] = found.tensors
    opened = Opened(
        tensors["total"], tuple(tensors.get(f"seen.{place}") for place in range(facts["seen"])), facts["measures"]
    )
    memory = Memory(
        facts["drawn"],
        [tensors[f"row.{place}"].numpy() for place in range(facts["rows"])],
        [tensors[f"buffer.{place}"].numpy() for place in range(facts["buffers"])],
    )
    return Released(found.round, facts["attempt"], facts["sampled"], tuple(facts["owners"]), opened, memory)


def forget(path: Path) -> None:
    """Remove what a run that is over kept of its noise."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
