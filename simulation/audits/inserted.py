"""Inserted: an engine that trains the owners and lets canary owners take part by their coins.

A guesser may know everything but the coins and the noise (and the draws, where they are secret): so what the other owners
contributed is kept beside each round, to be taken off what was opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.pipeline import Pipeline
from ...privacy.stages.adaptive import AdaptiveClip
from ...privacy.stages.clip import Clip, factors
from ...privacy.updates import Dense, Updates
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ..engines.engine import Engine, in_turn
from ..population import Population
from .canaries import TOO_LONG, Crafted

_GROUP = 256


@dataclass(slots=True)
class Turn:
    """What was asked in the last attempt of a round: by whom it is answered, from which weights, and what the natural owners
    contribute in all, clipped; None where nobody added it up."""

    round: int = 0
    drawn: frozenset[int] = frozenset()
    weights: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)
    natural: Tensor | None = field(default=None, repr=False)


@dataclass(slots=True)
class Inserted:
    """`inner`, with canary owners from number `first` on; `inside` `[m]` are their coins.

    An owner that is out sends nothing, or, where it `stays` (its noise is counted on, and its data is zero), a zero
    update. With `crafted`, one that is in sends its direction instead of training, with the sign of `sign(round)`.
    """

    inner: Engine
    first: int
    inside: NDArray[np.bool_] = field(repr=False)
    stays: bool
    crafted: Crafted | None = None
    separation: int = 1
    turn: Turn = field(default_factory=Turn, repr=False)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def purpose(self) -> str:
        return f"{self.inner.purpose}, with canaries"

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return self.inner.accepts(plan, learner, population)

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def sign(self, round: int) -> float:
        """+1 and −1 in turn, over the rounds of one owner: noise that comes twice then cancels, and the canary does not."""
        return 1.0 - 2.0 * (((round - 1) // self.separation) % 2)

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        self.turn = Turn(requests[0].round, frozenset(r.owner for r in requests), requests[0].weights)
        natural = [request for request in requests if request.owner < self.first]
        canaries = [r for r in requests if r.owner >= self.first and (self.stays or self.inside[r.owner - self.first])]
        groups = self.inner.groups(plan, natural, population) if natural else []
        groups += in_turn(canaries, _GROUP) if self.crafted else self._trained(plan, canaries, population)
        return groups or [[requests[0]]]  # nobody: one zero update, so that there is a sum

    def _trained(self, plan: Plan, canaries: list[Request], population: Population) -> list[list[Request]]:
        return self.inner.groups(plan, canaries, population) if canaries else []

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        if requests[0].owner >= self.first and self.crafted is not None:
            return Dense(self._sent(self.crafted, plan.pipeline, requests))
        updates = self.inner.train(plan, learner, requests, population, entropy, memories)
        if requests[0].owner < self.first:
            part = _clipped(updates, plan.pipeline)
            self.turn.natural = part if self.turn.natural is None else self.turn.natural + part
        return updates

    def _sent(self, crafted: Crafted, line: Pipeline, requests: Sequence[Request]) -> Tensor:
        canaries = np.array([request.owner - self.first for request in requests], dtype=np.int64)
        length = TOO_LONG * (norm_of(line) or 1.0) * self.sign(requests[0].round)
        return crafted.vectors(canaries, np.where(self.inside[canaries], length, 0.0))


def norm_of(line: Pipeline) -> float | None:
    """The shortest clipping norm of a round's pipeline, where there is one."""
    return min((stage.norm for stage in line.stages if isinstance(stage, Clip | AdaptiveClip)), default=None)


def _clipped(updates: Updates, line: Pipeline) -> Tensor:
    """The sum of these updates as the clip leaves them, `[d]` float64."""
    norm = norm_of(line)
    if norm is None:
        return updates.total().to("cpu", torch.float64)
    return updates.scaled(factors(updates.norms(), norm)).total().to("cpu", torch.float64)
