"""Correlated noise by `tacit up`, real processes, no seed: killed on the way, paid once, and certified at the end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tacit.config import parse
from tacit.privacy.event import BandedMatrix, Nothing
from tacit.privacy.ledger.reader import read
from tacit.server.strays import Record
from tacit.simulation.site import Site
from tacit.simulation.up import up
from tacit.strategies.certificate import check

ROUNDS = 24
TEXT = f"""
name = "in-turn"
task = {{ use = "digits", model = "softmax" }}
population = {{ owners = 4, partition = {{ use = "iid" }} }}
rounds = {{ total = {ROUNDS}, participation = {{ use = "cyclic", cohort = 2, separation = 2 }}, deadline = "30s" }}
local = {{ use = "sgd", lr = 1.0, batch = 20 }}
strategy = {{ use = "fedavg" }}
evaluation = {{ every = 1 }}
budget = {{ observer = "analyst", epsilon = 8.0 }}

[privacy]
unit = "owner"
relation = "add-remove"
delta = 0.01
pipeline = [{{ stage = "clip", norm = 0.3 }}, {{ stage = "correlated-gaussian", noise_multiplier = "calibrate", bands = 3 }}]
"""


def test_a_schedule_of_correlated_noise_is_killed_and_comes_to_its_end(tmp_path: Path) -> None:
    root, killed, wanted = tmp_path / "federation", list[int](), [1, 7, 13]
    kept = Site(root).server.runs

    def watch(told: Mapping[str, Any]) -> None:
        shown = told.get("show")
        if not shown or shown["state"] != "running" or not wanted or shown["round"] < wanted[0]:
            return
        killed.append(wanted.pop(0))
        record = Record.load(Site(root).server.root / "children.json")
        assert record is not None
        (release,) = kept.glob("*/release")
        assert release.stat().st_mode & 0o777 == 0o600
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.children["coordinator"].pid, signal.SIGKILL)

    run = up(parse(TEXT), 4, root, watch=watch)
    assert killed == [1, 7, 13]
    assert [row.number for row in run.rounds] == list(range(1, ROUNDS + 1))
    assert all(row.epsilon == pytest.approx(8.0, rel=1e-3) for row in run.rounds)  # stopping early gives nothing back
    assert not any("lost" in note for note in run.notes)
    assert not list(kept.glob("*/release"))  # the noise of a run that is over is gone

    server = read(Site(root).server.ledger).account.records()
    first, *others = [each.reserved.price.event for each in server]
    assert isinstance(first, BandedMatrix)
    assert set(others) == {Nothing()}
    assert [each.reserved.address.round for each in server if each.reply is not None] == list(range(1, ROUNDS + 1))

    sealed = check(run.certificate)
    assert sealed.holds, sealed.faults
    assert (len(sealed.owners), sealed.binding.missing) == (4, ())
    for owner in sealed.owners:
        assert owner.again.by == "pld"
        assert owner.cost.epsilon <= 8.0 * (1 + 1e-3)
        assert owner.cost.events[0][0] == first
    for number in range(4):
        book = read(Site(root).owner(number).ledgers / "share.sqlite")
        events = [each.reserved.price.event for each in book.account.records()]
        rounds = {each.reserved.address.round for each in book.account.records()}
        assert events[0] == first
        assert set(events[1:]) == {Nothing()}
        assert sorted(rounds) == list(range(number % 2 + 1, ROUNDS + 1, 2))
