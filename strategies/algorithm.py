"""Algorithm: what owners contribute and what the server makes of their mean, on flat vectors, with explicit state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import Tensor

from ..config import ConfigError
from .aggregators import AGGREGATORS, AggregatorName
from .local import Solver, Streams, local_update
from .tail import tail_initial, tail_learn, tail_mean, tail_start

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner

State: TypeAlias = dict[str, Tensor]
_NOTHING = torch.zeros(0)


class AlgorithmError(ConfigError):
    """An algorithm's parameters are impossible, or it does not go with the solver; names the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Federated averaging, x ← x + server_lr·Δ: the base that others override in part.

    `width` is the length of a contribution in units of d. `tail_average` is the last fraction of the rounds whose iterates
    are averaged into the final model (0: the last iterate alone). `aggregator` combines contributions; only sums are ever
    readable, so it is one that a sum suffices for.
    """

    server_lr: float = 1.0
    tail_average: float = 0.0
    aggregator: AggregatorName = "mean"
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(0 < self.server_lr < math.inf, "server_lr", self.server_lr, "give a finite number above 0")
        require(0 <= self.tail_average <= 1, "tail_average", self.tail_average, "give a fraction from 0 to 1")
        aggregator = AGGREGATORS[self.aggregator]
        refused = aggregator.needs_individuals or aggregator.needs_counts
        require(not refused, "aggregator", self.aggregator, aggregator.why)

    # --- what others override ---

    def moments(self, dim: int) -> State:
        """What `step` remembers, before the first round."""
        return {}

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        """Weights `[d]` and own state after one round whose contributions had the mean `mean` `[width·d]`."""
        return weights + self.server_lr * mean, {}

    def for_cohort(self, fraction: float) -> Algorithm:
        """The algorithm where rounds are expected to hold `fraction` of all owners; public, like the denominator."""
        return self

    def check(self, solver: Solver) -> None:
        """Raise `AlgorithmError` for a solver with which the algorithm is wrong."""
        return

    def broadcast(self, state: State) -> Tensor:
        """What owners get besides the weights, `[b]`."""
        return _NOTHING

    def contribute(
        self,
        learner: Learner,
        solver: Solver,
        weights: Tensor,
        broadcast: Tensor,
        memory: Tensor | None,
        examples: Examples,
        streams: Streams,
    ) -> tuple[Tensor, Tensor | None]:
        """Owner half: the contribution `[width·d]`, and what the owner keeps for its next turn (it never leaves)."""
        return local_update(learner, solver, weights, examples, streams), None

    # --- the same for all ---

    def initial(self, dim: int) -> State:
        """All state before the first round, tensors by name."""
        return self.moments(dim) | (tail_initial(dim) if self.tail_average else {})

    def apply(
        self, weights: Tensor, state: Mapping[str, Tensor], mean: Tensor, round: int, rounds: int
    ) -> tuple[Tensor, State]:
        """Server half: weights and state after round `round` (from 1) of `rounds`. Raises `AlgorithmError` for shapes."""
        if mean.shape != (self.width * len(weights),):
            raise AlgorithmError(
                f"strategy: a mean of {list(mean.shape)} for {len(weights)} weights; {type(self).__name__} needs "
                f"{self.width} number(s) for each weight"
            )
        weights, after = self.step(weights, dict(state), mean)
        if self.tail_average:
            in_tail = round >= tail_start(self.tail_average, rounds)
            tail = tail_learn(state, weights) if in_tail else {name: state[name] for name in tail_initial(0)}
            after = after | tail
        return weights, after

    def final(self, weights: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """The model to keep: the mean over the tail so far, or the last iterate."""
        return tail_mean(state, weights) if self.tail_average else weights


def require(holds: bool, key: str, found: object, remedy: str) -> None:
    """Raise `AlgorithmError` with the key, the value found and the remedy, unless `holds`."""
    if not holds:
        raise AlgorithmError(f"{key} = {found!r}: {remedy}")
