"""Plain local solvers: descent on an owner's own loss, without any noise of their own.

Their update depends on every example of the owner in a way that nobody bounds, so its unit is the owner and its
sensitivity infinite until a clip stands before the noise. Solvers at example level: `gradients.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..privacy.signal import Signal
from .gradients import ClippedGradient, DpSgd
from .local import Solver as Solver
from .local import Streams, demand
from .shuffle import shuffled

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner


@dataclass(frozen=True, slots=True)
class Sgd:
    """Stochastic gradient descent: v ← momentum·v + g + weight_decay·w, w ← w − lr·v (McMahan et al. 2017, local part).

    g is the mean gradient over a batch of `batch` examples (None: all of them). `epochs` passes in a fresh order each,
    the last batch of a pass as short as it comes; or `steps` batches exactly, whatever the number of examples.
    """

    lr: float = 0.1
    epochs: int = 1
    batch: int | None = None
    steps: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_pace("sgd", self.lr, self.epochs, self.batch, self.steps)
        _check_momentum("sgd", self.momentum, self.weight_decay)

    def declare(self, dim: int, least: int, most: int) -> Signal:
        return Signal(dim, "owner", least=least, most=most)

    def check(self, module: nn.Module) -> None:
        return

    def count(self, examples: int) -> int:
        """Steps of one turn over so many examples: private, like the number of examples itself (PRIVACY.md 6)."""
        return step_count(examples, self.epochs, self.batch, self.steps)

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        batches = drawn_batches(examples, self.epochs, self.batch, self.steps, streams)
        return _descend(learner, start, batches, self.lr, self.momentum, self.weight_decay, 0.0, correction)


@dataclass(frozen=True, slots=True)
class Prox:
    """`sgd` on the loss plus (mu/2)·‖w − start‖²: many local steps stay near the global model (Li et al. 2020, FedProx).

    Each step pulls back by lr·mu of the distance, so lr·mu must stay below 2; at lr·mu = 1 a step forgets all before it.
    """

    lr: float = 0.1
    mu: float = 0.01
    epochs: int = 1
    batch: int | None = None
    steps: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_pace("prox", self.lr, self.epochs, self.batch, self.steps)
        _check_momentum("prox", self.momentum, self.weight_decay)
        demand(math.isfinite(self.mu) and self.mu >= 0, "prox", "mu", self.mu, "give a finite number of at least 0")
        demand(
            self.lr * self.mu < 2, "prox", "lr·mu", self.lr * self.mu, "keep it below 2, or the pull back overshoots"
        )

    def declare(self, dim: int, least: int, most: int) -> Signal:
        return Signal(dim, "owner", least=least, most=most)

    def check(self, module: nn.Module) -> None:
        return

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        batches = drawn_batches(examples, self.epochs, self.batch, self.steps, streams)
        return _descend(learner, start, batches, self.lr, self.momentum, self.weight_decay, self.mu, correction)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam with bias correction, its moments fresh every round: nothing of an owner outlives its turn (Kingma, Ba 2015).

    `weight_decay` is added to the gradient. Batches as in `sgd`.
    """

    lr: float = 0.001
    epochs: int = 1
    batch: int | None = None
    steps: int | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_pace("adam", self.lr, self.epochs, self.batch, self.steps)
        for key, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            demand(0 <= value < 1, "adam", key, value, "give a number from 0 to below 1")
        demand(0 < self.epsilon < math.inf, "adam", "epsilon", self.epsilon, "give a finite number above 0")
        demand(0 <= self.weight_decay < math.inf, "adam", "weight_decay", self.weight_decay, "give at least 0")

    def declare(self, dim: int, least: int, most: int) -> Signal:
        return Signal(dim, "owner", least=least, most=most)

    def check(self, module: nn.Module) -> None:
        return

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        weights, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for t, batch in enumerate(drawn_batches(examples, self.epochs, self.batch, self.steps, streams), start=1):
            gradient = learner.gradient(weights, batch)
            if self.weight_decay:
                gradient = gradient + self.weight_decay * weights
            if correction is not None:
                gradient = gradient + correction
            first.mul_(self.beta1).add_(gradient, alpha=1 - self.beta1)
            second.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
            root = (second / (1 - self.beta2**t)).sqrt_().add_(self.epsilon)
            weights.addcdiv_(first, root, value=-self.lr / (1 - self.beta1**t))
        return weights - start


def step_count(examples: int, epochs: int, batch: int | None, steps: int | None) -> int:
    """Batches of one turn; none where there are no examples."""
    if examples == 0:
        return 0
    return steps if steps is not None else epochs * math.ceil(examples / (batch or examples))


def drawn_batches(
    examples: Examples, epochs: int, batch: int | None, steps: int | None, streams: Streams
) -> Iterator[Examples]:
    """The batches of one turn: passes over the examples, each in a fresh order; all examples at once are not shuffled."""
    total, size = len(examples), batch or len(examples)
    left = step_count(total, epochs, batch, steps)
    if total <= size:
        for _ in range(left):
            yield examples
        return
    for order in shuffled(streams("batches").seed(), total):
        for first in range(0, total, size)[:left]:
            yield examples.subset(order[first : first + size])
            left -= 1
        if left == 0:
            return


def _descend(
    learner: Learner,
    start: Tensor,
    batches: Iterator[Examples],
    lr: float,
    momentum: float,
    weight_decay: float,
    mu: float,
    correction: Tensor | None,
) -> Tensor:
    """The update of descent along g + weight_decay·w + mu·(w − start) + correction, with heavy-ball momentum."""
    update, velocity = torch.zeros_like(start), torch.zeros_like(start)
    for batch in batches:
        weights = start + update
        direction = learner.gradient(weights, batch)
        if weight_decay:
            direction = direction + weight_decay * weights
        if mu:
            direction = direction + mu * update
        if correction is not None:
            direction = direction + correction
        if momentum:
            direction = velocity.mul_(momentum).add_(direction)
        update.sub_(direction, alpha=lr)
    return update


def _check_pace(solver: str, lr: float, epochs: int, batch: int | None, steps: int | None) -> None:
    demand(0 < lr < math.inf, solver, "lr", lr, "give a finite number above 0")
    demand(epochs >= 1, solver, "epochs", epochs, "give at least 1")
    demand(batch is None or batch >= 1, solver, "batch", batch, "give at least 1, or leave it out for all examples")
    demand(steps is None or steps >= 1, solver, "steps", steps, "give at least 1, or leave it out and give epochs")
    demand(steps is None or epochs == 1, solver, "epochs", epochs, "leave it out where steps is given")


def _check_momentum(solver: str, momentum: float, weight_decay: float) -> None:
    demand(0 <= momentum < 1, solver, "momentum", momentum, "give a number from 0 to below 1")
    demand(0 <= weight_decay < math.inf, solver, "weight_decay", weight_decay, "give a finite number of at least 0")


SOLVERS: Mapping[str, type[Solver]] = {
    "sgd": Sgd,
    "adam": Adam,
    "prox": Prox,
    "clipped-gradient": ClippedGradient,
    "dp-sgd": DpSgd,
}
