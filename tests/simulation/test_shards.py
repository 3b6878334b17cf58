"""Shards: one tree of additions, which depends on the number of groups alone and is the same for whoever adds it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.client.worker import Plan
from tacit.config import parse
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.shards import added, shard_total, sharded
from tacit.simulation.transport import Vectorised
from tacit.simulation.work import Work
from tacit.strategies.messages import Request

TEXT = """
[task]
use = "digits"
[population]
owners = 300
[rounds]
total = 2
[local]
use = "sgd"
lr = 0.3
[budget]
epsilon = inf
[evaluation]
every = 100
"""


def simulation(workers: int) -> Simulation:
    """A run of three hundred groups of one owner."""
    made = prepare(parse(TEXT), seed=3, engine="plain-loop", device="cpu", workers=workers)
    assert isinstance(made.transport, Vectorised)
    made.transport.engine = PlainLoop(1)
    return made


@given(st.integers(0, 2000))
def test_every_group_is_in_one_shard_in_its_order(count: int) -> None:
    groups = [[number] for number in range(count)]
    shards = sharded(groups)  # type: ignore[arg-type]  # nothing is asked of a group
    assert [group for shard in shards for group in shard] == groups
    sizes = {len(shard) for shard in shards[:-1]}
    assert len(sizes) <= 1
    assert max((len(shard) for shard in shards), default=1) <= 4
    assert len(shards) >= min(count, 64)  # none is so large that those who share them wait for one another


def test_a_round_of_few_groups_has_one_in_each_shard_and_one_of_many_has_four() -> None:
    for count, size in ((1, 1), (127, 1), (128, 2), (255, 3), (256, 4), (5000, 4)):
        assert len(sharded([[]] * count)[0]) == size


def test_one_process_and_two_add_the_same_tree() -> None:
    alone, shared = simulation(1), simulation(2)
    for each in (alone, shared):
        list(each.rounds())
    assert torch.equal(alone.progress.weights, shared.progress.weights)


def test_a_round_is_added_shard_by_shard_and_not_group_by_group() -> None:
    made = simulation(1)
    transport, federation = made.transport, made.federation
    assert isinstance(transport, Vectorised)
    recipe, weights = federation.recipe(federation.pipeline), made.progress.weights
    requests = [Request("run", 1, 0, owner, recipe, weights) for owner in range(300)]
    plan = Plan(federation.solver, federation.algorithm, federation.pipeline)
    work = Work(transport.population, transport.engine, transport.learner, transport.entropy)
    groups = transport.engine.groups(plan, requests, transport.population)
    (reply,) = transport.gather(requests, 1.0)
    by_shard = added((shard_total(work, plan, shard, {}) for shard in sharded(groups)), None)
    by_group = added((work.total(plan, group, {}) for group in groups), None)
    assert reply.total is not None
    assert by_shard is not None
    assert by_group is not None
    assert torch.equal(reply.total, by_shard)
    assert not torch.equal(by_shard, by_group)  # in the last bits, which is why the tree is fixed
    assert torch.allclose(by_shard, by_group, atol=1e-3)


def test_nothing_is_added_up_to_nothing_and_a_ring_wraps() -> None:
    assert added(iter(()), None) is None
    total = added(iter([torch.tensor([5, -9]), torch.tensor([4, 3])]), 3)
    assert total is not None
    assert total.tolist() == [1, 2]
