"""Plain loop: one owner after the other, the reference that every engine is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...client.worker import Plan, train
from ...privacy.entropy import Entropy
from ...privacy.updates import Dense, Updates
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ..population import Population
from .engine import in_turn
from .precision import FULL, Precision


@dataclass(frozen=True, slots=True)
class PlainLoop:
    """One owner after the other: takes every model, solver and algorithm."""

    group: int = 16
    name: str = "plain-loop"
    purpose: str = "one owner after the other"
    precision: Precision = FULL

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        return in_turn(requests, self.group)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        rows = []
        narrow = self.precision != FULL
        kind = learner.device.partition(":")[0]
        for request in requests:
            examples = population.examples(request.owner)
            with torch.autocast(kind, dtype=self.precision if narrow else None, enabled=narrow, cache_enabled=False):
                update, memory = train(plan, learner, request, examples, entropy, memories.get(request.owner))
            if memory is not None:
                memories[request.owner] = memory
            rows.append(update)
        return Dense(torch.stack(rows))
