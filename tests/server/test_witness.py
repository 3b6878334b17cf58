"""Witness: what was refused, what only failed, and who is missing; told from replies alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tacit.config import parse
from tacit.server.metrics import Metrics
from tacit.server.seating import Seated
from tacit.server.witness import PASSING, Witness
from tacit.strategies.federation import build
from tacit.strategies.messages import Reply, Request

TEXT = """
task = { use = "digits" }
population = { owners = 3 }
rounds = { total = 1 }
local = { use = "sgd", lr = 1.0 }
budget = { epsilon = 50.0, observer = "analyst" }

[privacy]
delta = 0.01
pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }]
"""
FEDERATION = build(parse(TEXT))
BLANK = Request("run", 1, 0, 0, FEDERATION.recipe(FEDERATION.pipeline), torch.zeros(3))
OK, SILENT = ("ok", ""), ("", "")


class Scripted:
    """Answers each seat as told."""

    def __init__(self, *said: tuple[str, str]) -> None:
        self.said = said

    def gather(self, requests: Sequence[Request], deadline: float) -> list[Reply]:
        return [
            Reply("run", each.round, each.attempt, (each.owner,), status, reason="no", code=code)  # type: ignore[arg-type]
            for each in requests
            if (status := self.said[each.owner][0])
            for code in (self.said[each.owner][1],)
        ]


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ([OK, ("refused", "ledger")], True), ([("refused", "busy"), SILENT], True), ([OK, ("failed", "")], True),
        ([OK, ("refused", "roster")], True), ([OK, ("failed", "revoked")], False), ([OK, SILENT], False),
        ([OK, ("refused", "session")], False), ([OK, ("refused", "clip")], False), ([OK, OK], False),
    ],
)  # fmt: skip
def test_only_what_time_mends_is_waited_for(said: list[tuple[str, str]], waits: bool) -> None:
    """An attempt that a full disk ended is worth a pause; a restarted agent, or a policy's no, is not."""
    witness = Witness(Scripted(*said), Metrics())
    list(witness.gather([replace(BLANK, owner=owner) for owner in range(len(said))], 1.0))
    assert witness.waits() == waits


def test_who_is_back_in_the_next_attempt_is_no_longer_waited_for() -> None:
    witness = Witness(Scripted(("refused", "ledger")), Metrics())
    list(witness.gather([BLANK], 1.0))
    assert witness.waits()
    witness.transport = Scripted(OK)
    list(witness.gather([replace(BLANK, attempt=1)], 1.0))
    assert not witness.waits()


def denied(*said: tuple[str, str]) -> tuple[int, ...]:
    witness = Witness(Scripted(*said), Metrics())
    list(witness.gather([replace(BLANK, owner=owner) for owner in range(len(said))], 1.0))
    return tuple(denial.seat for denial in witness.denials())


@pytest.mark.parametrize(
    ("said", "seats"),
    [
        ([("refused", "clip"), ("refused", "budget-life")], (0, 1)),
        ([OK, ("refused", "noise")], (1,)),
        ([OK, OK], ()),
        ([("refused", "clip"), SILENT], ()),
        ([("refused", "clip"), ("failed", "")], ()),
        *[([("refused", "clip"), ("refused", code)], ()) for code in sorted(PASSING)],
    ],
)
def test_refused_is_what_every_missing_owner_refused(said: list[tuple[str, str]], seats: tuple[int, ...]) -> None:
    assert denied(*said) == seats


def test_another_attempt_begins_anew_and_silence_in_a_later_exchange_is_missing() -> None:
    transport = Scripted(("refused", "clip"), OK)
    witness = Witness(transport, Metrics())
    requests = [replace(BLANK, owner=owner) for owner in range(2)]
    list(witness.gather(requests, 1.0))
    assert [denial.seat for denial in witness.denials()] == [0]
    transport.said = (SILENT, SILENT)
    list(witness.gather(requests[1:], 1.0))  # the next exchange of the same attempt
    assert witness.denials() == ()
    transport.said = (OK, ("refused", "hours"))
    list(witness.gather([replace(each, attempt=1) for each in requests], 1.0))
    assert [(denial.seat, denial.code) for denial in witness.denials()] == [(1, "hours")]


def test_what_it_saw_is_counted() -> None:
    metrics = Metrics()
    witness = Witness(Scripted(OK, ("refused", "clip"), SILENT), metrics)
    list(witness.gather([replace(BLANK, owner=owner) for owner in range(3)], 1.0))
    sample = metrics.registry.get_sample_value
    assert sample("tacit_replies_total", {"status": "ok"}) == 1.0
    assert sample("tacit_refusals_total", {"code": "clip"}) == 1.0
    assert sample("tacit_phase_seconds_count", {"phase": "1"}) == 1.0


def test_nobody_waits_for_an_owner_that_was_revoked_and_it_is_named() -> None:
    seated = Seated(Scripted(OK, OK, OK, OK, OK), (2, 5), lambda: {5})
    replies = list(seated.gather([replace(BLANK, owner=owner) for owner in range(2)], 1.0))
    assert sorted((reply.owners, reply.status, reply.reason) for reply in replies) == [
        ((0,), "ok", "no"), ((1,), "failed", "was revoked"),
    ]  # fmt: skip
    (alone,) = Seated(Scripted(), (5,), lambda: {5}).gather([BLANK], 1.0)
    assert alone.status == "failed"
