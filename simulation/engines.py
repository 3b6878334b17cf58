"""Engines: how the local work of many owners is done at once. The seam that faster ones slot into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..client.worker import Plan, train
from ..privacy.entropy import Entropy
from ..privacy.updates import Dense, Updates
from ..strategies.learner import Learner
from ..strategies.messages import Request
from .population import Population


class Engine(Protocol):
    """Trains a batch of owners on one round's recipe."""

    name: str

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        """The owners' updates, in the order of `requests`; `memories` is read and brought up to date."""
        ...


class PlainLoop:
    """One owner after the other: takes every model, solver and algorithm, and is what the others are held against."""

    name = "plain-loop"

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
        for request in requests:
            examples = population.examples(request.owner)
            update, memory = train(plan, learner, request, examples, entropy, memories.get(request.owner))
            if memory is not None:
                memories[request.owner] = memory
            rows.append(update)
        return Dense(torch.stack(rows))
