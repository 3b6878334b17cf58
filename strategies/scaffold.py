"""SCAFFOLD: control variates against the drift of owners with different data (Karimireddy et al. 2020, arXiv 1910.06378).

Algorithm 1, option II: owner i steps along g − cᵢ + c, then cᵢ⁺ = cᵢ − c + (x − y)/(K·lr); it contributes Δy = y − x and
Δc = cᵢ⁺ − cᵢ in one vector, clipped and noised together. The server: x ← x + server_lr·mean Δy, c ← c + fraction·mean Δc.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .algorithm import Algorithm, AlgorithmError, State, require
from .local import Solver, Streams, local_update
from .solvers import Sgd

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold(Algorithm):
    """Contributions `[2d]` (Δy, Δc). `fraction` is |S|/N, the part of all owners in one round's expected cohort; a
    federation fills it in from its participation.

    An owner's control variate cᵢ stays with it and carries its data from round to round, which a bound per owner covers
    and a bound per example does not: solvers at example level are refused (PRIVACY.md 5).
    """

    fraction: float | None = None
    width: ClassVar[int] = 2

    def __post_init__(self) -> None:
        Algorithm.__post_init__(self)
        valid = self.fraction is None or 0 < self.fraction <= 1
        require(valid, "fraction", self.fraction, "give expected cohort / owners, above 0 and up to 1")

    def moments(self, dim: int) -> State:
        return {"control": torch.zeros(dim)}

    def broadcast(self, state: State) -> Tensor:
        return state["control"]

    def for_cohort(self, fraction: float) -> Scaffold:
        return dataclasses.replace(self, fraction=fraction) if self.fraction is None else self

    def check(self, solver: Solver) -> None:
        _plain(solver)

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        if self.fraction is None:
            raise AlgorithmError(
                'strategy.use = "scaffold" does not know how many owners a round holds; call for_cohort(cohort / owners)'
            )
        dim = len(weights)
        control = state["control"] + self.fraction * mean[dim:]
        return weights + self.server_lr * mean[:dim], {"control": control}

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
        sgd = _plain(solver)
        own = torch.zeros_like(weights) if memory is None else memory
        steps = sgd.count(len(examples))
        if steps == 0:
            return torch.zeros(2 * len(weights)), own
        update = local_update(learner, sgd, weights, examples, streams, correction=broadcast - own)
        change = -broadcast - update / (steps * sgd.lr)
        # The clip makes a contribution that is not finite the zero vector; the owner forgets such a turn likewise.
        after = own + change
        return torch.cat([update, change]), after if bool(torch.isfinite(after).all()) else own


def _plain(solver: Solver) -> Sgd:
    if not isinstance(solver, Sgd) or solver.momentum:
        found = f"{type(solver).__name__} with momentum" if isinstance(solver, Sgd) else type(solver).__name__
        raise AlgorithmError(
            f'strategy.use = "scaffold" with {found}: control variates are gradients of plain sgd, bounded per owner; set '
            'local.use = "sgd" without momentum, or strategy.use = "fedavg"'
        )
    return solver
