"""Algorithms by name. A new one is a frozen dataclass that inherits from `Algorithm` and overrides `step` (and `moments`, if it
remembers something), and a line in `ALGORITHMS`; one whose owners do more has a file of its own, as SCAFFOLD has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from . import optimizers
from .algorithm import Algorithm as Algorithm
from .algorithm import AlgorithmError, State, require
from .local import Solver
from .scaffold import Scaffold
from .solvers import Prox


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAvg(Algorithm):
    """Federated averaging: x ← x + server_lr·Δ (McMahan et al. 2017, arXiv 1602.05629, Algorithm 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FedProx(Algorithm):
    """`fedavg` over owners that stay near the global model (Li et al. 2020, arXiv 1812.06127, Algorithm 2)."""

    def check(self, solver: Solver) -> None:
        if not isinstance(solver, Prox):
            raise AlgorithmError('strategy.use = "fedprox" is fedavg with a proximal solver; set local.use = "prox"')


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAvgM(Algorithm):
    """Server momentum: v ← momentum·v + Δ, x ← x + server_lr·v (Hsu, Qi, Brown 2019, arXiv 1909.06335)."""

    momentum: float = 0.9

    def __post_init__(self) -> None:
        Algorithm.__post_init__(self)
        require(0 <= self.momentum < 1, "momentum", self.momentum, "give a number from 0 to below 1")

    def moments(self, dim: int) -> State:
        return {"velocity": torch.zeros(dim)}

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        velocity = optimizers.heavy_ball(state["velocity"], mean, self.momentum)
        return weights + self.server_lr * velocity, {"velocity": velocity}


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAdagrad(Algorithm):
    """Per-coordinate rates from all past updates (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)."""

    server_lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3

    def __post_init__(self) -> None:
        Algorithm.__post_init__(self)
        _check_moments(self.beta1, 0.0, self.tau)

    def moments(self, dim: int) -> State:
        return _moments(dim, self.tau)

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        return _adaptive_step(self, weights, state, mean, optimizers.adagrad(state["variance"], mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAdam(Algorithm):
    """Per-coordinate rates from a moving mean of squares (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)."""

    server_lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        Algorithm.__post_init__(self)
        _check_moments(self.beta1, self.beta2, self.tau)

    def moments(self, dim: int) -> State:
        return _moments(dim, self.tau)

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        return _adaptive_step(self, weights, state, mean, optimizers.adam(state["variance"], mean, self.beta2))


@dataclass(frozen=True, slots=True, kw_only=True)
class FedYogi(Algorithm):
    """`fedadam` whose squares grow at a bounded pace (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)."""

    server_lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        Algorithm.__post_init__(self)
        _check_moments(self.beta1, self.beta2, self.tau)

    def moments(self, dim: int) -> State:
        return _moments(dim, self.tau)

    def step(self, weights: Tensor, state: State, mean: Tensor) -> tuple[Tensor, State]:
        return _adaptive_step(self, weights, state, mean, optimizers.yogi(state["variance"], mean, self.beta2))


def _adaptive_step(
    algorithm: FedAdagrad | FedAdam | FedYogi, weights: Tensor, state: State, mean: Tensor, variance: Tensor
) -> tuple[Tensor, State]:
    """The step that the three share (arXiv 2003.00295, Algorithm 2); they differ in how `variance` came about."""
    moment = optimizers.first_moment(state["moment"], mean, algorithm.beta1)
    after = optimizers.adaptive_step(weights, moment, variance, algorithm.server_lr, algorithm.tau)
    return after, {"moment": moment, "variance": variance}


def _moments(dim: int, tau: float) -> State:
    """m = 0 and v = τ², the least that the paper's analysis starts from."""
    return {"moment": torch.zeros(dim), "variance": torch.full((dim,), tau**2)}


def _check_moments(beta1: float, beta2: float, tau: float) -> None:
    require(0 <= beta1 < 1, "beta1", beta1, "give a number from 0 to below 1")
    require(0 <= beta2 < 1, "beta2", beta2, "give a number from 0 to below 1")
    require(0 < tau < math.inf, "tau", tau, "give a finite number above 0")


ALGORITHMS: Mapping[str, type[Algorithm]] = {
    "fedavg": FedAvg,
    "fedavgm": FedAvgM,
    "fedprox": FedProx,
    "fedadagrad": FedAdagrad,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "scaffold": Scaffold,
}
