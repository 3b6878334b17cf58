"""Masked rounds over real agents: whoever dies at whatever step, the sum is that of those whose vectors came, or there is none.

One federation of real processes with five owners for the whole file; four have to be in a sum. Every draw follows from a seed,
so the model must be, bit for bit, that of rounds in memory in which the same owners fell silent at the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from tacit.client import control as agents
from tacit.client.identity import load as identity_of
from tacit.client.roster import approvals, approve, current, revoke
from tacit.config import parse
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.ledger.memory import MemoryLedger
from tacit.privacy.ledger.store import Store
from tacit.server.checkpoint import load
from tacit.server.coordinator import Coordinator, restored
from tacit.server.masked import MaskedRounds
from tacit.server.registry import Registry
from tacit.server.runs import Runs
from tacit.simulation.run import prepare
from tacit.strategies.budget import budget_for
from tacit.strategies.federation import build
from tacit.strategies.messages import Reply
from tacit.strategies.steps import LAST, VECTOR, Asked, number_of

SEED, OWNERS, ROUNDS = 11, 5, 6
TEXT = f"""
name = "masked"
task = {{ use = "digits", model = "softmax" }}
population = {{ owners = {OWNERS}, partition = {{ use = "dirichlet", alpha = 0.3 }} }}
rounds = {{ total = {ROUNDS}, participation = {{ use = "everyone" }}, quorum = 0.8, deadline = "40s" }}
local = {{ use = "sgd", lr = 1.0, batch = 100 }}
strategy = {{ use = "fedavg" }}
evaluation = {{ every = 6 }}
budget = {{ observer = "server", epsilon = 500.0 }}

[privacy]
unit = "owner"
relation = "zero-out"
delta = 0.01
pipeline = [
    {{ stage = "clip", norm = 0.3 }}, {{ stage = "encode", bits = 16 }}, {{ stage = "skellam", noise_multiplier = 3.0 }},
    {{ stage = "mask" }},
]
"""
Drops = Mapping[int, Mapping[int, int]]


@pytest.fixture(scope="module")
def federation(federation_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with federation_of(tmp_path_factory.mktemp("masked"), parse(TEXT), OWNERS, SEED) as made:
        yield made


class Dropping:
    """A transport whose owner k answers no step of round r from `drops[r][k]` on."""

    def __init__(self, inner: Any, drops: Drops) -> None:
        self.inner, self.drops = inner, drops

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        silent = self.drops.get(requests[0].round, {})
        heard = [asked for asked in requests if number_of(asked) < silent.get(asked.owner, LAST + 1)]
        return iter(list(self.inner.gather(heard, deadline)))


def in_memory(config: Any, rounds: int, attempts: Sequence[int], drops: Drops) -> torch.Tensor:
    """The model of masked rounds in memory with these attempt numbers, in whose last attempts these owners fell silent."""
    made = prepare(config, seed=SEED, engine="in-memory")
    federation, transport = build(config), made.transport
    coordinator = Coordinator(
        federation, Dropping(transport, drops), MemoryLedger(budget_for(federation, rounds)), SeededEntropy(SEED), "again",
        rounds, lambda number: attempts[number - 1], MaskedRounds(transport.roster.directory),
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        *_, (progress, _) = coordinator.rounds(made.progress, rounds)
    finally:
        torch.set_num_threads(threads)
    return progress.weights


def model(federation: Any, run: str) -> torch.Tensor:
    served = Runs(federation.site.server.runs).named(run)
    return restored(load(served.checkpoint, served.config().digest())).weights


def test_whoever_dies_at_whatever_step_the_model_is_that_of_rounds_in_memory(federation: Any) -> None:
    """kill -9 before and after the vector left, of the coordinator in the middle, and of too many at once; nobody helps."""
    federation.when(1, 2, 3, "dies")  # before it masks: it is not in the sum
    federation.when(2, 3, VECTOR + 1, "dies")  # its vector is in the sum, and others open its masks
    held = federation.when(0, 4, VECTOR, "waits")
    federation.when(3, 5, VECTOR, "dies")  # its vector is paid for and kept, and never left
    federation.when(3, 6, VECTOR, "dies")  # too few are left: the attempt opens nothing, and the next one goes through
    federation.when(4, 6, VECTOR, "dies")
    run = federation.ask()
    federation.wait(held.exists, 120)
    assert federation.kill("coordinator")
    held.unlink()
    shown = federation.ended(run)
    assert (shown["state"], shown["round"]) == ("done", ROUNDS), f"{shown}\n{federation.logs()}"
    rows = federation.rounds(run)
    assert [row["attempt"] for row in rows] == [0, 0, 0, 1, 0, 1]
    assert [row["survived"] for row in rows] == [5, 4, 5, 5, 4, 5]
    drops = {2: {1: 3}, 3: {2: VECTOR + 1}, 5: {3: VECTOR}}
    assert torch.equal(
        model(federation, run), in_memory(federation.config, ROUNDS, [row["attempt"] for row in rows], drops)
    )
    for owner, attempts in enumerate((8, 8, 8, 8, 8)):
        with Store(federation.site.owner(owner).ledgers / "share.sqlite", "share") as ledger:  # verifies the chain
            records = ledger.spent().records(run)
        used = {(each.reserved.address.round, each.reserved.address.attempt): each.reply for each in records}
        assert len(used) == len(records) == attempts
        for row in rows:  # what is in a sum was paid for and kept before it left
            gone = drops.get(row["round"], {}).get(owner, LAST) < VECTOR
            assert (used[row["round"], row["attempt"]] is not None) is not gone


def test_below_the_floor_the_run_fails_and_says_who_was_missing(federation: Any) -> None:
    for owner in (3, 4):
        agents.ask(federation.site.owner(owner).root, "pause")
    shown = federation.ended(
        federation.ask({"rounds.total": 1, "rounds.deadline": "2s", "rounds.attempts": 1, "name": "few"})
    )
    for owner in (3, 4):
        agents.ask(federation.site.owner(owner).root, "resume")
    assert shown["state"] == "failed"
    assert "0 of 5 owners answered, 4 needed" in shown["why"]
    for owner in (3, 4):
        assert f"owner-{owner}, owner number {owner + 1} (no answer before the deadline)" in shown["why"]


def test_who_approved_nobody_takes_no_part_and_says_so(federation: Any) -> None:
    """Two of five are too many: refused, with whose policy it was. Once they have approved the others the run goes on."""
    known = {owner: identity_of(federation.site.owner(owner), time.time()) for owner in (0, 1)}
    for identity in known.values():
        for name in approvals(identity).keys:
            revoke(identity, name)
    run = federation.ask({"rounds.total": 1, "name": "strangers"})
    shown = federation.ended(run)
    assert shown["state"] == "refused", shown
    for owner in (0, 1):
        assert f"owner-{owner}, owner number {owner + 1} (mask): " in shown["why"]
    assert "4 of 5 members are not approved" in shown["why"]
    for identity in known.values():
        for entry in current(identity).entries:
            approve(identity, entry.name, entry.fingerprint)
    federation.told("again", {"run": run})
    assert federation.ended(run)["state"] == "done", federation.logs()
    assert [(row["attempt"], row["survived"]) for row in federation.rounds(run)] == [(1, OWNERS)]


def test_the_run_goes_on_without_an_owner_that_is_revoked(federation: Any) -> None:
    """In the middle of a run: the others fetch the roster that no longer has it, and mask among themselves."""
    held = federation.when(0, 1, VECTOR, "waits")
    run = federation.ask({"rounds.total": 3, "name": "revoked"})
    federation.wait(held.exists)
    with Registry(federation.site.server.registry) as registry:
        registry.revoke("owner-4", time.time())
    held.unlink()
    shown = federation.ended(run)
    assert shown["state"] == "done", f"{shown}\n{federation.logs()}"
    survived = [row["survived"] for row in federation.rounds(run)]
    assert survived[1:] == [OWNERS - 1] * 2
    drops = {number: {4: 1} for number in (1, 2, 3) if survived[number - 1] == OWNERS - 1}
    attempts = [row["attempt"] for row in federation.rounds(run)]
    config = parse(federation.config.to_toml(), {"rounds.total": 3})
    assert torch.equal(model(federation, run), in_memory(config, 3, attempts, drops))
