"""Server optimizers: one step of the global weights along the mean update, pure on flat vectors.

The mean update Δ stands where a gradient's negative would. After a release they are post-processing and cost nothing.
"""

from __future__ import annotations

from torch import Tensor


def heavy_ball(velocity: Tensor, delta: Tensor, momentum: float) -> Tensor:
    """v ← β·v + Δ (Hsu, Qi, Brown 2019, arXiv 1909.06335, section 3)."""
    return momentum * velocity + delta


def first_moment(moment: Tensor, delta: Tensor, beta1: float) -> Tensor:
    """m ← β₁·m + (1 − β₁)·Δ (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)."""
    return beta1 * moment + (1 - beta1) * delta


def adagrad(variance: Tensor, delta: Tensor) -> Tensor:
    """v ← v + Δ² (Algorithm 2, FedAdagrad)."""
    return variance + delta.square()


def adam(variance: Tensor, delta: Tensor, beta2: float) -> Tensor:
    """v ← β₂·v + (1 − β₂)·Δ² (Algorithm 2, FedAdam)."""
    return beta2 * variance + (1 - beta2) * delta.square()


def yogi(variance: Tensor, delta: Tensor, beta2: float) -> Tensor:
    """v ← v − (1 − β₂)·Δ²·sign(v − Δ²) (Algorithm 2, FedYogi)."""
    square = delta.square()
    return variance - (1 - beta2) * square * (variance - square).sign()


def adaptive_step(weights: Tensor, moment: Tensor, variance: Tensor, server_lr: float, tau: float) -> Tensor:
    """x + η·m/(√v + τ) (Algorithm 2, last line): without bias correction, as v starts at τ²."""
    return weights + server_lr * moment / (variance.sqrt() + tau)
