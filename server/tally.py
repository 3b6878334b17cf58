"""Tally: which of a round's replies count, and why the others do not. Whatever arrives, nobody is summed twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..privacy.pipeline import Pipeline
from ..strategies.messages import Reply, Request
from ..strategies.requests import owners_in


@dataclass(frozen=True, slots=True)
class Tally:
    """The sum of the messages that count, whose they are (ascending), and what was wrong with the others, by owner.

    `expelled` are owners that must not be asked in the next attempt of the round.
    """

    total: Tensor
    owners: tuple[int, ...]
    faults: dict[int, str]
    expelled: frozenset[int] = frozenset()


def tally(replies: Iterable[Reply], requests: Sequence[Request], concrete: Pipeline) -> Tally:
    """The replies to `requests` summed; in the ring where there is one.

    A reply counts if it answers this run, round and attempt, speaks for owners that were asked and are not counted yet, and
    holds what this pipeline sends. All others are left out as if they had not come: a network may repeat, delay or invent
    messages, and a contribution that is summed twice moves the sum by twice its sensitivity.
    """
    asked = set(owners_in(requests))
    counted: list[Reply] = []
    owners: set[int] = set()
    faults: dict[int, str] = {}
    total, ring = concrete.empty(), concrete.final.ring
    for reply in replies:
        fault = _fault(reply, requests, total, ring)
        if fault:
            faults.update({owner: fault for owner in reply.owners if owner in asked})
        elif asked.issuperset(reply.owners) and owners.isdisjoint(reply.owners):
            counted.append(reply)
            owners.update(reply.owners)
    # In the order of owners, so that a sum of floats does not depend on who was faster.
    for reply in sorted(counted, key=lambda each: min(each.owners)):
        if reply.total is not None:
            total += reply.total
    if ring is not None:
        total = torch.remainder(total, 1 << ring)
    return Tally(total, tuple(sorted(owners)), {owner: why for owner, why in faults.items() if owner not in owners})


def _fault(reply: Reply, requests: Sequence[Request], empty: Tensor, ring: int | None) -> str:
    """What keeps a reply out of the sum, whoever it is from; nothing where it may count."""
    if not requests or not reply.owners or len(set(reply.owners)) < len(reply.owners):
        return "an answer in nobody's name, or twice in one name"
    first, where = requests[0], (reply.run, reply.round, reply.attempt)
    if where != (first.run, first.round, first.attempt):
        return f"answered run {reply.run!r}, round {reply.round}, attempt {reply.attempt}"
    if reply.status != "ok":
        return reply.reason or reply.status
    if reply.total is None:
        return "answered without a message"
    if reply.total.shape != empty.shape or reply.total.dtype != empty.dtype or reply.ring != ring:
        return (
            f"answered with {list(reply.total.shape)} numbers of {reply.total.dtype} (ring {reply.ring}); this round's "
            f"messages are {list(empty.shape)} of {empty.dtype} (ring {ring})"
        )
    return ""
