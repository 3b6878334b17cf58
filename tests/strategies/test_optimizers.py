"""Server optimizers: the papers' formulas, and torch's optimizers where they are the same."""

from __future__ import annotations

import math

import torch
from tacit.strategies.optimizers import adagrad, adam, adaptive_step, first_moment, heavy_ball, yogi
from torch import Tensor

T = torch.float64


def deltas(count: int) -> Tensor:
    return torch.randn(count, 4, dtype=T, generator=torch.Generator().manual_seed(3))


def test_heavy_ball_is_that_of_torch() -> None:
    weights = torch.nn.Parameter(torch.ones(4, dtype=T))
    optimizer = torch.optim.SGD([weights], lr=0.3, momentum=0.9)
    mine, velocity = torch.ones(4, dtype=T), torch.zeros(4, dtype=T)
    for delta in deltas(5):
        weights.grad = -delta
        optimizer.step()
        velocity = heavy_ball(velocity, delta, 0.9)
        mine = mine + 0.3 * velocity
        torch.testing.assert_close(mine, weights.detach())


def test_adam_is_that_of_torch_with_its_bias_correction_undone() -> None:
    lr, tau, beta1, beta2 = 0.1, 1e-3, 0.9, 0.99
    weights = torch.nn.Parameter(torch.ones(4, dtype=T))
    optimizer = torch.optim.Adam([weights], lr=lr, betas=(beta1, beta2), eps=tau)
    optimizer.state[weights] = {
        "step": torch.tensor(0.0),
        "exp_avg": torch.zeros(4, dtype=T),
        "exp_avg_sq": torch.full((4,), tau**2, dtype=T),
    }
    mine, moment, variance = torch.ones(4, dtype=T), torch.zeros(4, dtype=T), torch.full((4,), tau**2, dtype=T)
    for t, delta in enumerate(deltas(6), start=1):
        # torch: lr · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + eps).
        root = math.sqrt(1 - beta2**t)
        optimizer.param_groups[0]["lr"] = lr * (1 - beta1**t) / root
        optimizer.param_groups[0]["eps"] = tau / root
        weights.grad = -delta
        optimizer.step()
        moment, variance = first_moment(moment, delta, beta1), adam(variance, delta, beta2)
        mine = adaptive_step(mine, moment, variance, lr, tau)
        torch.testing.assert_close(mine, weights.detach())


def test_adagrad_is_that_of_torch() -> None:
    lr, tau = 0.1, 1e-3
    weights = torch.nn.Parameter(torch.ones(4, dtype=T))
    optimizer = torch.optim.Adagrad([weights], lr=lr, eps=tau, initial_accumulator_value=tau**2)
    mine, variance = torch.ones(4, dtype=T), torch.full((4,), tau**2, dtype=T)
    for delta in deltas(6):
        weights.grad = -delta
        optimizer.step()
        variance = adagrad(variance, delta)
        mine = adaptive_step(mine, first_moment(torch.zeros(4, dtype=T), delta, 0.0), variance, lr, tau)
        torch.testing.assert_close(mine, weights.detach())


def test_yogi_by_hand() -> None:
    # v = 1, β₂ = 0.9: Δ = 2 raises v by 0.1·4; Δ = ½ lowers it by 0.1·¼; Δ² = v leaves it.
    variance = yogi(torch.ones(3, dtype=T), torch.tensor([2.0, 0.5, 1.0], dtype=T), 0.9)
    torch.testing.assert_close(variance, torch.tensor([1.4, 0.975, 1.0], dtype=T))
