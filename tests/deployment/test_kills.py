"""Whatever is killed, cut off, full or out of time: the run goes on, each round is applied once, and no charge is lost.

One federation of real processes with two owners for the whole file: a server (SuperLink, coordinator, gateway) and agents,
each started again when it dies, as by a service manager. Every draw follows from a seed, so the model must be, bit for bit,
that of an undisturbed run in memory whose rounds had the same attempts.

`make soak` kills two hundred times, from a seed that it prints; TACIT_KILL_SEED repeats one.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tacit.client import control as agents
from tacit.commands.detach import verb
from tacit.config import Config, parse
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.ledger.memory import MemoryLedger
from tacit.privacy.ledger.store import Store
from tacit.server.checkpoint import load
from tacit.server.coordinator import Coordinator, restored
from tacit.server.runs import Runs
from tacit.simulation.run import prepare
from tacit.strategies.budget import budget_for
from tacit.strategies.federation import build

SEED, ROUNDS = 11, 40
TEXT = f"""
name = "disturbed"
task = {{ use = "digits", model = "softmax" }}
population = {{ owners = 2, partition = {{ use = "dirichlet", alpha = 0.3 }} }}
rounds = {{ total = {ROUNDS}, participation = {{ use = "everyone" }}, quorum = 1.0, deadline = "20s", attempts = 50 }}
local = {{ use = "sgd", lr = 1.0, batch = 100 }}
strategy = {{ use = "fedavg" }}
evaluation = {{ every = 20 }}
budget = {{ observer = "analyst", epsilon = 500.0 }}

[privacy]
unit = "owner"
relation = "add-remove"
delta = 0.01
pipeline = [{{ stage = "clip", norm = 0.3 }}, {{ stage = "central-gaussian", noise_multiplier = 3.0 }}]
"""
PARTS = ("owner-0", "owner-1", "coordinator", "gateway", "superlink", "server")


@pytest.fixture(scope="module")
def federation(federation_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    policy = "work = { attempts = 100 }\n"
    with federation_of(tmp_path_factory.mktemp("federation"), parse(TEXT), 2, SEED, policy) as made:
        yield made


def undisturbed(config: Config, attempts: dict[int, int]) -> torch.Tensor:
    """The model of a run in memory, nobody disturbed, whose rounds have these attempt numbers."""
    simulation = prepare(config, seed=SEED, engine="in-memory")
    federation = build(config)
    coordinator = Coordinator(
        federation, simulation.transport, MemoryLedger(budget_for(federation, ROUNDS)), SeededEntropy(SEED), "again",
        ROUNDS, lambda number: attempts[number],
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        *_, (progress, _) = coordinator.rounds(simulation.progress, ROUNDS)
    finally:
        torch.set_num_threads(threads)
    return progress.weights


def check(federation: Any, run: str, before: list[list[tuple[Any, ...]]]) -> None:
    """What must hold of a run that has ended, whatever happened to it."""
    shown = federation.finished(run)
    assert (shown["state"], shown["round"]) == ("done", ROUNDS), shown
    rows = federation.rounds(run)
    assert [row["round"] for row in rows] == list(range(1, ROUNDS + 1))
    assert all(row["survived"] == 2 for row in rows)
    config, served = federation.config, Runs(federation.site.server.runs).named(run)
    progress = restored(load(served.checkpoint, served.config().digest()))
    assert torch.equal(progress.weights, undisturbed(config, {row["round"]: row["attempt"] for row in rows}))
    for owner in range(2):
        lines = federation.lines(owner)
        assert lines[: len(before[owner])] == before[owner]  # no line was lost or changed
        path = federation.site.owner(owner).ledgers / "share.sqlite"
        with Store(path, "share") as ledger:  # verifies the whole chain
            charges = ledger.spent().records()
        assert set(federation.left(owner)) <= {each.reply for each in charges}  # nothing left that was not paid for
        used = {(row["round"], row["attempt"]) for row in rows}
        mine = [each for each in charges if each.reserved.address.run == run]
        assert used <= {(e.reserved.address.round, e.reserved.address.attempt) for e in mine if e.reply is not None}


def kill_at_random(federation: Any, times: int, seed: int, progress: bool) -> None:
    """Kill parts drawn from `seed` at random instants of runs, `times` in all, and check every run."""
    draw, killed = random.Random(seed), dict.fromkeys(PARTS, 0)
    deck: list[str] = []  # each part as often as any other
    run, before = federation.ask(), [federation.lines(owner) for owner in range(2)]
    while sum(killed.values()) < times:
        if draw.random() < 0.5:  # in the middle of things: some rounds on
            had = len(federation.rounds(run))
            federation.after(run, min(ROUNDS, had + draw.randint(1, 3)))
        time.sleep(draw.uniform(0.0, 0.5))
        if len(federation.rounds(run)) >= ROUNDS:
            check(federation, run, before)
            run, before = federation.ask(), [federation.lines(owner) for owner in range(2)]
            continue
        deck = deck or draw.sample(PARTS, len(PARTS))
        if not federation.kill(part := deck[-1]):  # it is not back yet
            continue
        killed[deck.pop()] += 1
        if progress:
            print(
                f"{time.strftime('%X')} {sum(killed.values()):4} kills, round {len(federation.rounds(run)):3} of {run}: {part}",
                flush=True,
            )
    check(federation, run, before)
    if progress:
        print(killed, flush=True)


def verb_run(federation: Any, *words: str) -> subprocess.CompletedProcess[str]:
    """`tacit server run …`, to its end."""
    command = verb("server", "run", *words, "--dir", str(federation.site.server.root), "--quiet")
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=federation.site.root)


def test_the_exit_code_of_server_run_is_how_the_run_ended(federation: Any, tmp_path: Path) -> None:
    """Done 0, failed 1, refused 3; one that failed goes on with --attach. Metrics tell of all of them meanwhile."""
    file, short = tmp_path / "federation.toml", ("--set", "rounds.total=3", "--set", "evaluation.every=1")
    file.write_text(TEXT)
    done = verb_run(federation, str(file), *short, "--out", str(tmp_path / "done"))
    assert (done.returncode, (tmp_path / "done" / "result.json").is_file()) == (0, True), done
    refused = verb_run(federation, str(file), *short, "--set", "local.epochs=50")
    assert refused.returncode == 3, refused
    for owner in (1, 2):  # each with its code and its reason
        assert f"owner number {owner} (work): " in refused.stderr, refused
    owner = federation.site.owner(0).root
    agents.ask(owner, "pause")
    hurry = ("--set", "rounds.deadline=2s", "--set", "rounds.attempts=1")
    failed = verb_run(federation, str(file), *short, *hurry, "--set", "name=paused")
    assert (failed.returncode, "below quorum" in failed.stderr) == (1, True), failed
    agents.ask(owner, "resume")
    (name,) = (run["run"] for run in federation.told("runs")["runs"] if run["run"].startswith("paused"))
    attached = verb_run(federation, "--attach", name, "--out", str(tmp_path / "again"))
    assert attached.returncode == 0, attached
    lines = federation.scrape()
    for line in (
        'tacit_rounds_total{outcome="opened"} 6.0', 'tacit_rounds_total{outcome="failed"} 1.0',
        'tacit_rounds_total{outcome="refused"} 1.0', 'tacit_replies_total{status="ok"} 13.0',
        f'tacit_ledger_epsilon{{run="{name}"}} +Inf', "tacit_agents_connected 2.0", "tacit_survivors 2.0",
    ):  # fmt: skip
        assert line in lines, "\n".join(lines)
    sent = next(float(line.split()[-1]) for line in lines if line.startswith('tacit_bytes_total{direction="sent"}'))
    assert sent > 14 * 4 * 1280  # the model is 1,280 floats
    assert any(line.startswith('tacit_refusals_total{code="work"}') for line in lines)


def test_an_owner_that_cannot_write_is_waited_for(federation: Any) -> None:
    disk_is_full(federation, "owner-0")


def test_a_server_that_cannot_write_goes_on_when_there_is_room(federation: Any) -> None:
    disk_is_full(federation, "server")


def disk_is_full(federation: Any, part: str) -> None:
    run, before = federation.ask(), [federation.lines(owner) for owner in range(2)]
    federation.after(run, 3)
    disk = federation.disks[part]
    disk.fill(federation.processes(part))
    time.sleep(2.0)
    had = len(federation.rounds(run))
    time.sleep(1.0)
    assert len(federation.rounds(run)) == had < ROUNDS  # nothing is applied that could not be written down
    disk.free(federation.processes(part))
    check(federation, run, before)


def test_clocks_that_jump_change_nothing(federation: Any) -> None:
    """Forwards and back, by more than a day, at an owner and at the server."""
    run, before = federation.ask(), [federation.lines(owner) for owner in range(2)]
    for part, ahead in (("owner-0", 90_000.0), ("server", 90_000.0), ("owner-0", -3600.0), ("server", -90_000.0)):
        federation.after(run, min(ROUNDS, len(federation.rounds(run)) + 3))
        federation.set_clock(part, ahead)
    federation.after(run, min(ROUNDS, len(federation.rounds(run)) + 3))
    for part in ("owner-0", "server"):
        federation.set_clock(part, 0.0)
    check(federation, run, before)


def test_a_network_that_is_cut_in_the_middle_of_a_message_changes_nothing(federation: Any) -> None:
    run, before = federation.ask(), [federation.lines(owner) for owner in range(2)]
    for _ in range(2):
        federation.after(run, min(ROUNDS, len(federation.rounds(run)) + 3))
        federation.cable.cut_in_a_message()
        federation.wait(lambda: not federation.cable.whole)
        had = len(federation.rounds(run))
        time.sleep(2.0)
        assert len(federation.rounds(run)) <= had + 1 < ROUNDS
        federation.cable.mend()
    check(federation, run, before)


def test_twenty_kills_change_nothing(federation: Any) -> None:
    """Law 8 of the design, on real processes: crash anywhere."""
    seed = int(os.environ.get("TACIT_KILL_SEED", "1"))
    kill_at_random(federation, 20, seed, progress=bool(os.environ.get("TACIT_KILL_SHOW")))


@pytest.mark.soak
def test_two_hundred_kills_change_nothing(federation: Any) -> None:
    seed = int(os.environ.get("TACIT_KILL_SEED", str(secrets.randbelow(10**6))))
    print(f"\nTACIT_KILL_SEED={seed}", flush=True)
    kill_at_random(federation, 200, seed, progress=True)
