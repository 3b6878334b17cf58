"""Certifying: whoever gives a statement of its own is bound, everybody else is missing, and the run fails by nobody."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.config import Config, parse
from tacit.privacy.ledger.certificate import binding_in, signed_statement
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.store import Store
from tacit.server.certifying import Notary
from tacit.server.runs import Runs, ServedRun
from tacit.strategies.certificate import check
from tacit.strategies.essence import essence
from tacit.strategies.federation import Federation, build
from tacit.strategies.messages import Reply
from tacit.strategies.modelfile import digest_of
from tacit.strategies.steps import Asked, Certify

CONFIG = """
name = "trio"
task = { use = "digits", model = "softmax" }
population = { owners = 3 }
rounds = { total = 3, participation = { use = "everyone" }, quorum = 1.0, deadline = "60s" }
budget = { observer = "analyst", epsilon = 50.0 }
[privacy]
unit = "owner"
relation = "add-remove"
delta = 0.01
pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }]
"""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
WEIGHTS = torch.linspace(-1.0, 1.0, 1280)
LAYOUT = [("weight", (10, 128))]


@dataclass
class Line:
    """A transport on which seat k answers what `answers[k]` makes of the request; None is silence."""

    answers: Sequence[Callable[[Certify], Reply | None]]

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        assert 0 < deadline <= 30
        for request in requests:
            assert isinstance(request, Certify)
            reply = self.answers[request.owner](request)
            if reply is not None:
                yield reply


@dataclass
class Place:
    """A run that is over, at a coordinator with three enrolled owners."""

    config: Config
    federation: Federation
    run: ServedRun
    store: Store
    sealing: Any

    def certified(self, *answers: Callable[[Certify], Reply | None], enrolled: int = 3) -> Any:
        roster = replace(self.sealing.roster, entries=self.sealing.roster.entries[:enrolled])
        notary = Notary(KEY, lambda: roster, lambda: 9.0)
        return notary.certify(self.run, self.federation, Line(answers), self.store, 3, WEIGHTS)

    def statement(self, number: int, /, **changes: Any) -> bytes:
        made = self.sealing.statements.get(number, replace(self.sealing.statements[1], number=number))
        recipe = self.federation.recipe(self.federation.pipeline)
        true = replace(made, run=self.run.name, recipes=(essence(recipe),), codes=(recipe.terms.code,))
        return json.dumps(signed_statement(replace(true, **changes), self.sealing.owners[number]).to_json()).encode()


def saying(payload: bytes) -> Callable[[Certify], Reply]:
    return lambda asked: Reply(asked.run, 0, 0, (asked.owner,), "ok", payload=payload)


def silent(_: Certify) -> None:
    return None


def refusing(asked: Certify) -> Reply:
    return Reply(asked.run, 0, 0, (asked.owner,), "refused", code="claim", reason="every draw follows from a seed")


@pytest.fixture
def at(tmp_path: Path, sealing: Any) -> Iterator[Callable[[int | None], Place]]:
    create(tmp_path / "ledger.sqlite", "server", lambda: 0, KEY)
    with Store(tmp_path / "ledger.sqlite", "server", lambda: 0, key=KEY) as store:

        def made(seed: int | None = None) -> Place:
            config = parse(CONFIG)
            run = Runs(tmp_path / "runs").add(config, [1, 2, 3], seed, 0.0)
            return Place(config, build(config), run, store, sealing)

        yield made


def test_who_signs_is_bound_and_who_does_not_is_missing(at: Any) -> None:
    place = at()
    made = place.certified(saying(place.statement(1)), silent, refusing)
    assert place.run.certificate.read_bytes() == made.to_bytes()
    found = check(made.to_bytes())
    assert found.holds, found.faults
    assert [each.owner.name for each in found.owners] == ["ward-1"]
    assert [(each.number, each.code) for each in found.binding.missing] == [(2, "silent"), (3, "claim")]
    assert (found.binding.model, found.binding.charges) == (digest_of(LAYOUT, WEIGHTS.numpy().tobytes()), 3)
    assert [each.cost.currency.observer.who for each in found.claims] == ["analyst", "server", "owners"]
    assert [math.isinf(each.cost.epsilon) for each in found.claims] == [False, True, False]


def test_what_is_no_statement_of_its_own_makes_an_owner_missing(at: Any) -> None:
    place = at()
    forged = json.loads(place.statement(1)) | {"signature": "0" * 128}
    for payload in (
        b"", b"[]", b"{}", b"\xff", b"[" * 100_000, json.dumps(forged).encode(), place.statement(2),
        place.statement(1, run="another"), place.statement(1, number=2), b'{"text":1,"signature":2}',
    ):  # fmt: skip
        binding = binding_in(place.certified(saying(payload), silent, silent).binding)
        assert binding.statements == ()
        assert binding.missing[0].code == "statement", payload[:80]


def test_an_owner_that_was_revoked_is_missing(at: Any) -> None:
    place = at()
    made = place.certified(saying(place.statement(1)), silent, saying(place.statement(3)), enrolled=2)
    assert [(each.number, each.code) for each in binding_in(made.binding).missing] == [(2, "silent"), (3, "revoked")]
    assert check(made.to_bytes()).holds


def test_a_seeded_run_claims_nothing(at: Any) -> None:
    made = at(5).certified(refusing, refusing, refusing)
    found = check(made.to_bytes())
    assert found.holds
    assert found.binding.seeded
    assert found.owners == ()
    assert all(math.isinf(each.cost.epsilon) for each in found.claims)
