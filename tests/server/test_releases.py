"""Releases: whatever is killed and whenever, a round of correlated noise is released once, or the schedule ends.

A child, forked from this process, runs a schedule and kills itself at one of its steps: of the ledger, and before and after
every file that it opens, syncs, renames or removes. Every such step is tried. What was handed out is what owners were told.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tacit.config import parse
from tacit.privacy.correlation import Memory
from tacit.privacy.entropy import SystemEntropy
from tacit.privacy.event import BandedMatrix, BufferedLinearToeplitz, Nothing
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.durable import DurableLedger
from tacit.privacy.ledger.entry import price_of
from tacit.privacy.ledger.memory import BudgetError
from tacit.privacy.ledger.store import Store
from tacit.privacy.pipeline import Opened, Release
from tacit.server.checkpoint import load, save
from tacit.server.coordinator import Coordinator, Progress, restored
from tacit.server.releases import Released, ReleaseError, Releases, forget
from tacit.strategies.budget import budget_for
from tacit.strategies.federation import build
from tacit.strategies.messages import Reply, Request

ROUNDS = 3
TEXT = f"""
[task]
use = "breast-cancer"
[population]
owners = 4
[rounds]
total = {ROUNDS}
participation = {{ use = "cyclic", cohort = 2, separation = 2 }}
[local]
use = "sgd"
[privacy]
delta = 1e-3
pipeline = [ {{ stage = "clip", norm = 1.0 }}, {{ stage = "correlated-gaussian", noise_multiplier = 4.0, bands = 3 }} ]
[budget]
epsilon = 1000.0
"""
BLT = {
    "privacy.pipeline.1": {
        "stage": "correlated-gaussian", "noise_multiplier": 4.0, "decay": [0.9, 0.5], "scale": [0.12, 0.3],
    }
}  # fmt: skip
CONFIG = parse(TEXT)
FEDERATION = build(CONFIG)
DIM = FEDERATION.pipeline.source.dim


@dataclass
class Told:
    """Owners that contribute nothing; what they are told is written down before they answer."""

    path: Path

    def gather(self, requests: Sequence[Request], deadline: float) -> list[Reply]:
        self.tell(requests[0].round, requests[0].weights)
        zero = FEDERATION.pipeline.empty()
        return [
            Reply(r.run, r.round, r.attempt, (r.owner,), "ok", zero, FEDERATION.pipeline.final.ring) for r in requests
        ]

    def tell(self, round: int, weights: torch.Tensor) -> None:
        told = f"{round} {hashlib.sha256(weights.numpy().tobytes()).hexdigest()}\n"
        handle = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(handle, told.encode())
        os.close(handle)

    def rounds(self) -> dict[int, set[str]]:
        """For each round, every model that owners were ever told."""
        found: dict[int, set[str]] = {}
        for line in self.path.read_text().splitlines():
            number, digest = line.split()
            found.setdefault(int(number), set()).add(digest)
        return found


class Site:
    """The files of one run of `federation`."""

    def __init__(self, folder: Path, federation: object = None) -> None:
        self.federation = FEDERATION if federation is None else federation
        self.folder, self.ledger = folder, folder / "ledger.sqlite"
        self.anchor, self.checkpoint, self.release = folder / "anchor", folder / "checkpoint", folder / "release"
        self.told = Told(folder / "told")

    def create(self) -> Site:
        self.folder.mkdir()
        create(self.ledger, "server", anchor=self.anchor)
        return self

    def copy(self, to: Path) -> Site:
        shutil.copytree(self.folder, to)
        return Site(to, self.federation)

    def store(self, step: Callable[[str], None] = lambda _: None) -> Store:
        return Store(self.ledger, "server", step=step, anchor=self.anchor)

    def run(self, until: int = ROUNDS, step: Callable[[str], None] = lambda _: None) -> Progress:
        """The run as a coordinator goes on with it, to the end of round `until`."""
        federation = self.federation
        digest = federation.config.digest()  # type: ignore[attr-defined]  # of a federation
        with self.store(step) as store:
            price = price_of(federation.claims(1)[0])  # type: ignore[attr-defined]  # of a federation
            ledger = DurableLedger(store, "run", digest, price, budget_for(federation, ROUNDS))  # type: ignore[arg-type]
            coordinator = Coordinator(
                federation, self.told, ledger, SystemEntropy(), "run", ROUNDS, ledger.next_attempt,  # type: ignore[arg-type]
                keeper=Releases(self.release, digest, store, "run"),
            )  # fmt: skip
            known = self.checkpoint.exists()
            progress = restored(load(self.checkpoint, digest)) if known else coordinator.start(torch.zeros(DIM))
            while progress.round < until:
                progress, _ = coordinator.step(progress)
                save(self.checkpoint, coordinator.checkpoint(progress, {}, {}))
            if progress.round == ROUNDS:
                self.told.tell(ROUNDS + 1, progress.weights)
            return progress


def killed_at(site: Site, step: int) -> bool:
    """Whether a child that runs the schedule had more than `step` steps, at which it was killed."""
    child = os.fork()
    if child == 0:
        left = [step]

        def tick(_: object = None) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        sync = os.fsync

        def synced(handle: int) -> None:
            tick()
            sync(handle)
            tick()

        os.fsync = synced
        sys.addaudithook(lambda name, _: tick() if name in ("open", "os.rename", "os.remove") else None)
        code = 1
        try:
            site.run(step=tick)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def check(site: Site) -> None:
    """Every round was handed out in one version, paid once and in advance; the noise of no run lies about for ever."""
    final = site.run()
    told = site.told.rounds()
    assert sorted(told) == list(range(1, ROUNDS + 2))  # the last is the model that is published
    assert all(len(models) == 1 for models in told.values()), told
    assert final.round == ROUNDS
    with site.store() as store:
        records = store.spent().records("run")
    events = [each.reserved.price.event for each in records]
    assert isinstance(events[0], BandedMatrix | BufferedLinearToeplitz)
    assert set(events[1:]) <= {Nothing()}
    paid = [each.reserved.address.round for each in records if each.reply is not None]
    assert paid == list(range(1, ROUNDS + 1))  # one release of each, and no more


@pytest.mark.parametrize("changes", [{}, BLT], ids=["banded", "blt"])
def test_killed_at_any_step_no_round_is_released_twice(tmp_path: Path, changes: dict[str, object]) -> None:
    federation = build(parse(TEXT, changes)) if changes else FEDERATION
    step, going = 0, True
    replayed = 0
    while going:
        site = Site(tmp_path / f"{step}", federation).create()
        going = killed_at(site, step)
        kept = site.release.exists()
        replayed += kept and not site.checkpoint.exists()
        check(site)
        shutil.rmtree(site.folder)
        step += 1 if not changes else 3
    assert step > 60
    assert replayed > 2  # the first round was found kept, and not yet in a checkpoint


def test_killed_again_and_again_it_comes_to_its_end(tmp_path: Path) -> None:
    site = Site(tmp_path / "run").create()
    for step in (25, 18, 21, 9, 33, 14):
        killed_at(site, step)
    check(site)


def test_the_same_release_again_is_the_same_model(tmp_path: Path) -> None:
    """Killed after the release was kept and before its checkpoint: byte for byte what would have come without."""
    site = Site(tmp_path / "run").create()
    site.run(1)
    before = site.checkpoint.read_bytes()
    whole = site.run(2)
    assert (site.release.stat().st_mode & 0o777) == 0o600
    site.checkpoint.write_bytes(before)
    again = site.run(2)
    assert torch.equal(whole.weights, again.weights)
    with site.store() as store:
        assert len(store.spent().records("run")) == 2  # nothing was charged for it


@pytest.mark.parametrize(
    "older",
    [("checkpoint",), ("release",), ("checkpoint", "release")],
    ids=["checkpoint", "release", "both"],
)
@pytest.mark.parametrize("how", ["restored", "removed"])
def test_older_files_end_the_schedule(tmp_path: Path, older: tuple[str, ...], how: str) -> None:
    """A model of round 3 may be known; without the noise that went into it nothing more may be released."""
    site = Site(tmp_path / "run").create()
    site.run(1)
    old = site.copy(tmp_path / "old")
    site.run(2 if older == ("release",) else 3)
    for name in older:
        if how == "restored":
            shutil.copy(old.folder / name, site.folder / name)
        else:
            (site.folder / name).unlink()
    before = site.told.path.read_text()
    with pytest.raises(ReleaseError, match="this schedule ends"):
        site.run()
    assert site.told.path.read_text() == before  # nobody was even asked


def test_a_damaged_release_ends_the_schedule(tmp_path: Path) -> None:
    site = Site(tmp_path / "run").create()
    site.run(2)
    content = bytearray(site.release.read_bytes())
    content[len(content) // 2] ^= 1
    site.release.write_bytes(bytes(content))
    with pytest.raises(ReleaseError, match="damaged"):
        site.run()


def test_a_release_that_the_ledger_does_not_know_ends_the_schedule(tmp_path: Path) -> None:
    """The file of another run, or one whose sum is another: the digest of what was released is in the chain."""
    site, other = Site(tmp_path / "run").create(), Site(tmp_path / "other").create()
    for each in (site, other):
        each.run(2)
    shutil.copy(other.release, site.release)
    with pytest.raises(ReleaseError, match="no such release"):
        site.run()


def test_a_full_disk_keeps_the_round_from_being_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path / "run").create()
    site.run(1)
    before = site.release.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            site.run()
    assert site.release.read_bytes() == before
    check(site)


def test_the_ledger_itself_refuses_a_second_free_release(tmp_path: Path) -> None:
    site = Site(tmp_path / "run").create()
    site.run(2)
    with site.store() as store:
        price = price_of(FEDERATION.claims(1)[0])
        ledger = DurableLedger(store, "run", CONFIG.digest(), price, budget_for(FEDERATION, ROUNDS))

        def never() -> Opened:
            raise AssertionError("revealed twice")

        with pytest.raises(BudgetError, match="round 2 was released before"):
            ledger.open(Release(Nothing(), 2, 7, never))


def test_what_is_kept_reads_back_and_can_be_forgotten(tmp_path: Path) -> None:
    site = Site(tmp_path / "run").create()
    site.run(2)
    with site.store() as store:
        found = Releases(site.release, CONFIG.digest(), store, "run").newest()
    assert isinstance(found, Released)
    assert (found.round, found.attempt, found.owners, found.memory.round) == (2, 0, (1, 3), 2)
    assert [row.dtype.name for row in found.memory.rows] == ["int64"] * 2
    assert found.memory != Memory()
    forget(site.release)
    forget(site.release)
    assert not site.release.exists()
