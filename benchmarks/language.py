"""Language models, `vmapped` against the plain loop: `OMP_NUM_THREADS=1 python benchmarks/language.py`.

Owners hold uneven numbers of windows of CPython's help topics (task `topics`) and predict every next character: one epoch in
batches of 4 with momentum, or one clipped gradient of all their windows. Both engines train the same owners in turns, so that
a busy machine is busy for both; figures are medians over `--repeats`, owners/s by processor time. `apart` is the distance of
the two sums of all updates, relative to their length.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from tacit.client.worker import agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.engines.vmapped import Vmapped
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.catalogue import lookup
from tacit.tasks.language import Lstm, Transformer
from tacit.tasks.losses import cross_entropy
from tacit.tasks.topics import SYMBOLS
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

OWNERS, CONTEXT = 48, 32
MODELS: dict[str, Callable[[], nn.Module]] = {
    "LSTM, width 32": lambda: Lstm(SYMBOLS, 32),
    "LSTM, width 64": lambda: Lstm(SYMBOLS, 64),
    "LSTM of torch, width 32": lambda: Cell(nn.LSTM, 32),
    "GRU of torch, width 32": lambda: Cell(nn.GRU, 32),
    "transformer, width 32, 1 block": lambda: Transformer(SYMBOLS, CONTEXT, 32, 2, 1),
    "transformer, width 64, 2 blocks": lambda: Transformer(SYMBOLS, CONTEXT, 64, 4, 2),
}
SGD = {"use": "sgd", "lr": 0.5, "batch": 4, "momentum": 0.9}
CLIPPED = {"use": "clipped-gradient", "norm": 1.0, "denominator": 8.0}
FUSED = ("LSTM of torch, width 32", "GRU of torch, width 32")  # which have no gradients of single examples
Cost = tuple[float, float]  # seconds of the clock and of the processor


class Cell(nn.Module):
    """A recurrent layer of torch between embedding and logits."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], width: int) -> None:
        super().__init__()
        self.embed, self.output = nn.Embedding(SYMBOLS, width), nn.Linear(width, SYMBOLS)
        self.cell = kind(width, width, batch_first=True)

    def forward(self, symbols: Tensor) -> Tensor:
        logits: Tensor = self.output(self.cell(self.embed(symbols))[0])
        return logits


def population() -> Population:
    """`OWNERS` owners of 1 to 24 windows each, most of them with few."""
    training = lookup("topics", None, context=CONTEXT).training()
    sizes = np.random.default_rng(1).geometric(1 / 6, OWNERS).clip(1, 24)
    places = np.random.default_rng(2).permutation(len(training))[: sizes.sum()]
    return Population(training, np.split(places, np.cumsum(sizes)[:-1]))


def contenders(model: str, solver: dict[str, object], owners: Population) -> dict[str, Callable[[], Tensor]]:
    """Both engines, each as something that trains all owners once and gives the sum of their updates."""
    torch.manual_seed(0)
    module = MODELS[model]()
    learner = Learner(module, cross_entropy, Trainable(module))
    terms = Terms({"use": "topics"}, "benchmark", "zero-out", {"use": "everyone"}, OWNERS, 1)
    recipe = Recipe(solver, {"use": "fedavg"}, (), 1, OWNERS, terms)
    requests = [Request("bench", 1, 0, owner, recipe, learner.weights()) for owner in range(OWNERS)]
    plan, entropy = agreed(requests[0], learner), SeededEntropy(1)

    def trained(engine: Vmapped | PlainLoop) -> Tensor:
        groups = engine.groups(plan, requests, owners)
        return sum(
            (engine.train(plan, learner, group, owners, entropy, {}).total() for group in groups),
            torch.zeros(learner.dim, dtype=torch.float64),
        )

    return {engine.name: lambda engine=engine: trained(engine) for engine in (PlainLoop(), Vmapped())}  # type: ignore[misc]  # a lambda's default


def measured(run: Callable[[], Tensor]) -> Cost:
    """What one cohort costs."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    owners = population()
    print(f"{OWNERS} owners, {owners.sizes().sum()} windows of {CONTEXT}, load {os.getloadavg()[0]:.1f}")
    print("| model | solver | plain loop, owners/s | vmapped | × by the clock | × by processor time | apart |")
    print("|---|---|---|---|---|---|---|")
    for model in MODELS:
        for solver in (SGD,) if model in FUSED else (SGD, CLIPPED):
            pair = contenders(model, solver, owners)
            plain, vmapped = (run() for run in pair.values())  # warms up, too
            apart = float((plain - vmapped).norm() / plain.norm())
            costs: list[list[Cost]] = [[measured(run) for run in pair.values()] for _ in range(options.repeats)]
            clock, processor = (
                [statistics.median(turn[place][column] for turn in costs) for place in (0, 1)] for column in (0, 1)
            )
            rates = " | ".join(f"{OWNERS / seconds:,.0f}" for seconds in processor)
            ratios = " | ".join(f"{before / after:.1f}" for before, after in (clock, processor))
            print(f"| {model} | {solver['use']} | {rates} | {ratios} | {apart:.0e} |", flush=True)


if __name__ == "__main__":
    main()
