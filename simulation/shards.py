"""Shards: consecutive groups of a cohort whose sums are added where they are made, so that one vector travels for them.

The order in which a round is added up is a tree that depends on its groups alone: the groups of a shard one after the other,
then the shards one after the other. Whoever trains them (one process, many, a cluster) adds this one tree, so float32 sums
have the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..client.worker import Plan
from ..strategies.messages import Request
from ..strategies.requests import Requests
from .craft import FAULTS
from .work import Work

Group: TypeAlias = Sequence[Request]
Shard: TypeAlias = Sequence[Group]

_GROUPS = 4  # in a shard at most: of its sum's way, more would save little
_SHARDS = 64  # that many there are before any has two groups, so that those who share them have as much to do


def sharded(groups: Sequence[Group]) -> list[Shard]:
    """The groups of a round dealt into shards, in their order; a function of their number alone."""
    size = max(1, min(_GROUPS, len(groups) // _SHARDS))
    return [groups[first : first + size] for first in range(0, len(groups), size)]


def alike(shards: Sequence[Shard]) -> bool:
    """Whether all requests of a round carry the one model."""
    first = shards[0][0][0]
    said = (r for shard in shards for group in shard for r in ([group] if isinstance(group, Requests) else group))
    return all(r.weights is first.weights and r.broadcast is first.broadcast for r in said)


def shard_total(work: Work, plan: Plan, shard: Shard, memories: dict[int, Tensor]) -> Tensor:
    """The sum of a shard's messages `[d']`: those of its groups, added in their order. Raises what `Work.total` raises."""
    first, *others = shard
    total = work.total(plan, first, memories)
    for group in others:
        total = total + work.total(plan, group, memories)
    return total


def tried(work: Work, plan: Plan, shard: Shard, memories: dict[int, Tensor]) -> Tensor | None:
    """The sum of a shard before its turn; None, and nothing remembered, where it fails: it is tried again in its turn,
    so that the fault that is told is the one that one process alone would have met first."""
    kept = dict(memories)
    try:
        total = shard_total(work, plan, shard, kept)
    except FAULTS:
        return None
    memories.update(kept)
    return total


def added(totals: Iterable[Tensor], ring: int | None) -> Tensor | None:
    """The sum over a round of its shards' sums, in their order and modulo 2^ring; None of none. Each is read before the
    next is asked for."""
    total: Tensor | None = None
    for part in totals:
        total = part.clone() if total is None else total.add_(part)
    return total if total is None or ring is None else torch.remainder(total, 1 << ring)
