"""Phases: a round as a generator of exchanges with owners; what it is sent are the replies, what it returns is their tally."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..privacy.pipeline import Pipeline
from ..strategies.messages import Reply, Request
from ..strategies.steps import Asked
from .tally import Tally, tally


@dataclass(frozen=True, slots=True)
class Phase:
    """One exchange: requests out, replies in before the deadline (seconds)."""

    requests: Sequence[Asked]
    deadline: float


Phases: TypeAlias = Generator[Phase, Iterable[Reply], Tally]
Protocol: TypeAlias = Callable[[Sequence[Request], float, Pipeline], Phases]


def plain_round(requests: Sequence[Request], deadline: float, concrete: Pipeline) -> Phases:
    """One phase: every owner sends its message in the clear of the transport; the sum is made here."""
    replies = yield Phase(requests, deadline)
    return tally(replies, requests, concrete)
