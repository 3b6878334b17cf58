"""Example level: the engine is DP-SGD as Opacus does it, on the same batches and with the same noise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer, optimizer
from tacit.client.worker import agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.local import noised
from tacit.simulation.engines import private_descent
from tacit.simulation.engines.example_level import ExampleLevel
from tacit.simulation.population import Population
from tacit.strategies.gradients import DpSgd
from tacit.strategies.learner import Learner
from tacit.strategies.local import streams_of
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

ENTROPY = SeededEntropy(4)
OWNERS, EACH, CLASSES, NORM = 3, 14, 3, 0.4
MODELS = {
    "mlp": ((6,), lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))),
    "cnn": (
        (2, 8, 8),
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, dilation=2, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 8),
            nn.ReLU(),
            nn.Linear(8, 3),
        ),
    ),
    "large": (  # enough for compiled loops: steps, lengths, maxima
        (3, 12, 12),
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 70),
            nn.Tanh(),
            nn.Linear(70, 3),
        ),
    ),
}


def by_opacus(
    module: nn.Module,
    solver: DpSgd,
    noises: list[Tensor],
    batches: list[tuple[Tensor, Tensor]],
    patch: pytest.MonkeyPatch,
) -> Tensor:
    """How far Opacus's optimizer moves the weights over these batches, drawing `noises` `[d]`; `[d]`."""
    pieces: Iterator[Tensor] = iter(())

    def drawn(std: float, reference: Tensor, generator: object = None, secure_mode: bool = False) -> Tensor:
        assert std == solver.noise_multiplier * solver.norm
        return next(pieces).view(reference.shape)

    patch.setattr(optimizer, "_generate_noise", drawn)
    wrapped = GradSampleModule(module)
    parameters = list(wrapped.parameters())
    before = torch.cat([p.detach().flatten() for p in parameters])
    inner = torch.optim.SGD(parameters, lr=solver.lr, momentum=solver.momentum)
    outer = DPOptimizer(
        inner, noise_multiplier=solver.noise_multiplier, max_grad_norm=solver.norm,
        expected_batch_size=int(solver.denominator),
    )  # fmt: skip
    for (inputs, targets), noise in zip(batches, noises, strict=True):
        pieces = iter(noise.split([p.numel() for p in parameters]))
        outer.zero_grad()
        nn.functional.cross_entropy(wrapped(inputs), targets).backward()
        outer.step()
    return torch.cat([p.detach().flatten() for p in parameters]) - before


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("noise_multiplier", [0.0, 0.7])
@pytest.mark.parametrize("norm", [0.4, 1e3])
@pytest.mark.parametrize(("momentum", "passes"), [(0.0, "several"), (0.0, "one"), (0.6, "several")])
@pytest.mark.parametrize("model", MODELS)
def test_the_engine_steps_as_opacus_does(
    model: str,
    momentum: float,
    passes: str,
    norm: float,
    noise_multiplier: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three steps, with momentum or without: clipped sums, their noise and what they are divided by, to float32's accuracy.

    However many passes over the numbers a step takes: large models are given one.
    """
    monkeypatch.setattr(private_descent, "_LARGE", 0 if passes == "one" else 1 << 30)
    shape, make = MODELS[model]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(OWNERS * EACH, *shape, generator=generator)
    data = Examples(inputs, torch.randint(0, CLASSES, (OWNERS * EACH,), generator=generator))
    torch.manual_seed(2)
    module = make()
    learner = Learner(module, cross_entropy, Trainable(module))
    fields = {
        "norm": norm,
        "noise_multiplier": noise_multiplier,
        "rate": 0.5,
        "denominator": 7.0,
        "steps": 3,
        "lr": 0.2,
    }
    solver = DpSgd(**fields, momentum=momentum)
    population = Population(data, [range(k * EACH, (k + 1) * EACH) for k in range(OWNERS)])
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, OWNERS, 5)
    recipe = Recipe({"use": "dp-sgd", **fields, "momentum": momentum}, {"use": "fedavg"}, (), 1, OWNERS, terms)
    start = learner.weights()
    requests = [Request("run", 1, 0, owner, recipe, start) for owner in range(OWNERS)]
    plan = agreed(requests[0], learner)
    engine = ExampleLevel()
    assert engine.accepts(plan, learner, population) is None
    found = engine.train(plan, learner, requests, population, ENTROPY, {}).dense()
    for owner in range(OWNERS):
        streams, batches, noises = streams_of(ENTROPY, 1, owner, 0), [], []
        for t in range(solver.steps):
            rows = owner * EACH + solver.sampled(EACH, streams, t)
            batches.append((data.inputs[rows], data.targets[rows]))
            nothing = torch.zeros(learner.dim, dtype=torch.int64)
            noises.append(noised(nothing, solver.ball(learner.dim), noise_multiplier, streams(f"noise/{t}")))
        torch.manual_seed(2)
        expected = by_opacus(make(), solver, noises, batches, monkeypatch)
        # Opacus clips to norm / (length + 10⁻⁶), we keep 2⁻¹² of the norm free where sums are in float32.
        ball = solver.ball(learner.dim)
        room = (2.0**-11 if ball.narrow else 1e-5) * float(expected.norm())
        # Every coordinate of every step is rounded to the grid.
        grid = solver.steps * solver.lr / (1 - momentum) / solver.denominator * ball.step * learner.dim**0.5
        assert float((found[owner] - expected).norm()) <= room + grid
        assert float(expected.norm()) > 0.01
