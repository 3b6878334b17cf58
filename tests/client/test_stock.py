"""Owners under stock Flower nodes: the same bytes as in memory; and with a folder the same checks and charges as an agent."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tacit.client.stock import Guarded, Share
from tacit.client.worker import Worker
from tacit.config import parse
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.ledger.store import Store
from tacit.simulation.permission import asset_text, policy_text
from tacit.simulation.population import dealt
from tacit.strategies.codec import CodecError
from tacit.strategies.federation import Federation, build, learner_for
from tacit.strategies.lock import FolderLock, LockError
from tacit.strategies.messages import Request, reply_from
from tacit.tasks.examples import DataError

SOURCE = "population:0/3?seed=5&partition=dirichlet&alpha=0.3&minimum=1"
TRIO = """
name = "trio"
task = { use = "digits", model = "softmax" }
population = { owners = 3, partition = { use = "dirichlet", alpha = 0.3 } }
rounds = { total = 3, participation = { use = "everyone" }, quorum = 1.0, deadline = "60s" }
local = { use = "sgd", lr = 1.0, batch = 20 }
strategy = { use = "fedavg" }
budget = { observer = "analyst", epsilon = 50.0 }

[privacy]
unit = "owner"
relation = "add-remove"
delta = 0.01
pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }]
"""


@pytest.fixture(scope="module")
def federation() -> Federation:
    return build(parse(TRIO))


@pytest.fixture(scope="module")
def asked(federation: Federation) -> Request:
    weights = learner_for(federation.task, 5).weights()
    return Request("trio-1", 1, 0, 1, federation.recipe(federation.pipeline), weights)


@pytest.fixture
def guarded(federation: Federation, tmp_path: Path) -> Guarded:
    (tmp_path / "agent.toml").write_text(policy_text(federation, False) + asset_text(federation.config, SOURCE))
    return Guarded(1, tmp_path)


def charges(owner: Guarded) -> int:
    with closing(Store(owner.root / "ledgers" / "share.sqlite", "share")) as store:
        return len(store.spent().records())


def test_a_share_is_the_simulated_owner_to_the_byte(federation: Federation, asked: Request) -> None:
    examples = dealt(federation, 5).examples(1)
    simulated = Worker(1, learner_for(federation.task, 5), examples, SeededEntropy(5))
    reply, memory = Share(1).answer(asked.to_bytes(), SOURCE, 5, None)
    assert reply == simulated.handle(asked.to_bytes())
    assert reply_from(reply).status == "ok"
    assert memory is None


def test_without_a_seed_it_draws_afresh(federation: Federation) -> None:
    own = parse(TRIO.replace("central-gaussian", "own-gaussian").replace("add-remove", "zero-out"))
    weights = learner_for(federation.task, 0).weights()
    made = build(own)
    request = Request("trio-1", 1, 0, 1, made.recipe(made.pipeline), weights)
    first, second = (reply_from(Share(1).answer(request.to_bytes(), SOURCE, None, None)[0]).total for _ in range(2))
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)


def test_what_it_remembers_goes_in_and_out(federation: Federation) -> None:
    text = TRIO.replace('"fedavg"', '"scaffold"').replace("epsilon = 50.0", "epsilon = inf")
    made = build(parse(text[: text.index("pipeline =")] + "pipeline = []\n"))
    broadcast = made.algorithm.broadcast(made.algorithm.initial(learner_for(made.task, 5).dim))
    weights = learner_for(made.task, 5).weights()
    request = Request("trio-1", 1, 0, 1, made.recipe(made.pipeline), weights, broadcast)
    first, memory = Share(1).answer(request.to_bytes(), SOURCE, 5, None)
    assert memory is not None
    later = replace(request, round=2).to_bytes()
    assert Share(1).answer(later, SOURCE, 5, memory)[0] != Share(1).answer(later, SOURCE, 5, None)[0]
    assert reply_from(first).status == "ok"


@pytest.mark.parametrize("source", ["csv:/etc/passwd", "text:notes", "npz:x.npz"])
def test_no_run_makes_a_node_read_a_file(asked: Request, source: str) -> None:
    with pytest.raises(DataError, match="holds no data"):
        Share(1).answer(asked.to_bytes(), source, None, None)


@pytest.mark.parametrize("frame", [b"", b"nothing"])
def test_what_is_no_request_is_no_request(guarded: Guarded, frame: bytes) -> None:
    with pytest.raises(CodecError):
        Share(1).answer(frame, SOURCE, None, None)
    with pytest.raises(CodecError):
        guarded.answer(frame, None)
    assert not (guarded.root / "ledgers").exists()


def test_a_folder_is_charged_first_and_the_same_request_is_answered_with_the_same_bytes(
    guarded: Guarded, asked: Request
) -> None:
    """Each call is a process of its own at a node; nothing but the folder connects them."""
    first = guarded.answer(asked.to_bytes(), None)
    assert reply_from(first).status == "ok"
    assert charges(guarded) == 1
    assert guarded.answer(asked.to_bytes(), None) == first
    assert charges(guarded) == 1
    other = guarded.answer(replace(asked, weights=asked.weights + 1).to_bytes(), None)
    assert (reply_from(other).status, reply_from(other).code) == ("refused", "session")


def test_the_policy_of_a_folder_holds(guarded: Guarded, asked: Request) -> None:
    recipe = replace(asked.recipe, pipeline=asked.recipe.pipeline[:1])
    refused = reply_from(guarded.answer(replace(asked, recipe=recipe).to_bytes(), None))
    assert refused.status == "refused"
    assert charges(guarded) == 0
    unknown = replace(asked.recipe, terms=replace(asked.recipe.terms, task={"use": "os:system"}))
    assert reply_from(guarded.answer(replace(asked, recipe=unknown).to_bytes(), None)).code == "task"
    elsewhere = reply_from(guarded.answer(replace(asked, owner=2).to_bytes(), None))
    assert (elsewhere.status, elsewhere.code) == ("refused", "address")


def test_a_seeded_run_gets_nothing_from_a_folder(guarded: Guarded, asked: Request) -> None:
    refused = reply_from(guarded.answer(asked.to_bytes(), 5))
    assert refused.status == "refused"
    assert "seed" in refused.reason
    assert not (guarded.root / "ledgers").exists()


def test_a_folder_serves_one_process_at_a_time(guarded: Guarded, asked: Request) -> None:
    with FolderLock(guarded.root), pytest.raises(LockError):
        guarded.answer(asked.to_bytes(), None)
