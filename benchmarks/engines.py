"""Clients a second of every engine on W1 (see `works`), asked for or not: `python benchmarks/engines.py`.

Contenders take turns, so that a busy machine is busy for all of them; the table holds medians over `--repeats`. A hand-written
loop (one torch module, one torch optimizer, the state copied back and forth, nothing of Tacit) is what ratios are against.
With two processes each takes half of every cohort on one thread, and the first of them runs the server's half. CPU columns
count processor time instead of the clock's: what the machine would give if it were idle, caches aside.

| work | what a round is |
|---|---|
| plain | train, add up |
| owner-level | the same, every update clipped, discrete Gaussian noise on the sum |
| example-level | DP-SGD in the client: two Poisson batches of 10 expected, clipped by example, 55,210 draws of noise in each |
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from works import W1

CLIENTS, EXAMPLES, COHORT = W1.clients, W1.examples, W1.cohort
CENTRAL = ({"stage": "clip", "norm": 0.3}, {"stage": "central-gaussian", "noise_multiplier": 1.0})
NOISED = {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.5, "denominator": 10.0, "steps": 2}
SGD = {"use": "sgd", "lr": 0.1, "batch": 10}
WORKS: dict[str, tuple[dict[str, Any], tuple[dict[str, Any], ...], tuple[str, ...]]] = {
    "plain": (SGD, (), ("hand-written", "low-rank", "stacked", "plain-loop")),
    "owner-level": (SGD, CENTRAL, ("low-rank", "stacked", "plain-loop")),
    "example-level": (NOISED, (), ("example-level", "plain-loop")),
}
SLOW = ("plain-loop", "example-level", "hand-written")  # fewer rounds of these

Round = Callable[[int, list[int]], Tensor]


def hand_written() -> Round:
    """What one writes without a framework: load the weights, step through shuffled batches, subtract, add up."""
    inputs, targets = W1.data()
    module, loss = W1.model(), nn.CrossEntropyLoss()
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def one(number: int, owners: list[int]) -> Tensor:
        total = torch.zeros(sum(tensor.numel() for tensor in start.values()))
        for owner in owners:
            module.load_state_dict(start)
            order = torch.randperm(EXAMPLES) + owner * EXAMPLES
            for batch in order.split(10):
                optimizer.zero_grad()
                loss(module(inputs[batch]), targets[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                moved = [tensor - start[name] for name, tensor in module.state_dict().items()]
                total += torch.cat([tensor.flatten() for tensor in moved])
        return total

    return one


def engine(name: str, solver: dict[str, Any], stages: tuple[dict[str, Any], ...], serves: bool) -> Round:
    """A round of the simulator's transport with this engine; where it `serves`, the server half of the pipeline too."""
    from tacit.client.worker import agreed
    from tacit.privacy.entropy import SeededEntropy
    from tacit.privacy.pipeline import Env
    from tacit.simulation.engines.planner import ENGINES
    from tacit.simulation.population import Population
    from tacit.simulation.transport import Vectorised
    from tacit.strategies.learner import Learner
    from tacit.strategies.messages import Recipe, Request
    from tacit.strategies.terms import Terms
    from tacit.tasks.examples import Examples
    from tacit.tasks.losses import cross_entropy
    from tacit.tasks.trainable import Trainable

    module = W1.model()
    learner = Learner(module, cross_entropy, Trainable(module))
    shares = list(np.arange(CLIENTS * EXAMPLES).reshape(CLIENTS, EXAMPLES))
    entropy = SeededEntropy(1)
    found = next(each for each in ENGINES if each.name == name)
    transport = Vectorised(Population(Examples(*W1.data()), shares), found, learner, entropy)
    terms = Terms({"use": "w1"}, "benchmark", "zero-out", {"use": "fixed", "cohort": COHORT}, CLIENTS, 10)
    recipe = Recipe(solver, {"use": "fedavg"}, stages, 1, COHORT, terms)
    weights = learner.weights()
    line = agreed(Request("bench", 1, 0, 0, recipe, weights), learner).pipeline

    def one(number: int, owners: list[int]) -> Tensor:
        requests = [Request("bench", number, 0, owner, recipe, weights) for owner in owners]
        (reply,) = transport.gather(requests, 60.0)
        if reply.total is None:
            raise RuntimeError(f"round {number} of {name} has no sum")
        if not serves:
            return reply.total
        return line.receive(reply.total, Env(entropy, number, 0)).total

    return one


def matrices() -> Round:
    """Nothing but the matrix products of forward, backward and gradient, each as one product for half a cohort."""
    wide = [(torch.randn(EXAMPLES * 50, a), torch.randn(a, b), torch.randn(EXAMPLES * 50, b)) for _, a, b in W1.layers]

    def one(number: int, owners: list[int]) -> Tensor:
        for _ in range(max(1, len(owners) // 50)):
            for inputs, weight, errors in wide:
                inputs @ weight
                errors @ weight.t()
                inputs.t() @ errors
        return torch.zeros(1)

    return one


def made(work: str, name: str, serves: bool) -> Round:
    """The contender `name` at `work`."""
    if name == "hand-written":
        return hand_written()
    if name == "matrices alone":
        return matrices()
    solver, stages, _ = WORKS[work]
    return engine(name, solver, stages, serves)


def serve(pipe: Connection, part: int, parts: int) -> None:
    """A process that runs its part of every cohort when told to, until told None."""
    torch.set_num_threads(1)
    ready: dict[tuple[str, str], Round] = {}
    while (order := pipe.recv()) is not None:
        work, name, rounds, first = order
        if (work, name) not in ready:
            ready[work, name] = made(work, name, part == 0)
        run = ready[work, name]
        began = time.process_time()
        for number in range(first, first + rounds):
            cohort = [(number * COHORT + place) % CLIENTS for place in range(COHORT)]
            total = run(number, cohort[part::parts])
        pipe.send((time.process_time() - began, float(total.sum())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of a fast contender in each turn")
    parser.add_argument("--works", nargs="*", default=list(WORKS), choices=list(WORKS))
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    crews: dict[int, list[Connection]] = {}
    for parts in (1, 2):
        crews[parts] = []
        for part in range(parts):
            mine, theirs = context.Pipe()
            context.Process(target=serve, args=(theirs, part, parts), daemon=True).start()
            crews[parts].append(mine)
    rates: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    contenders = [("plain", "matrices alone"), *((w, name) for w in options.works for name in WORKS[w][2])]
    for repeat in range(options.repeats + 1):  # the first warms up
        for work, name in contenders:
            for parts, crew in crews.items():
                rounds = 1 if name in SLOW else options.rounds
                began = time.perf_counter()
                for pipe in crew:
                    pipe.send((work, name, rounds, repeat * options.rounds + 1))
                spent = sum(pipe.recv()[0] for pipe in crew)
                wall = time.perf_counter() - began
                if repeat:
                    clients = rounds * COHORT
                    rates.setdefault((work, name, parts), []).append((clients / wall, parts * clients / spent))
    for crew in crews.values():
        for pipe in crew:
            pipe.send(None)
    show(rates, contenders)


def show(rates: dict[tuple[str, str, int], list[tuple[float, float]]], contenders: list[tuple[str, str]]) -> None:
    """The table: medians, and ratios of medians of the same run."""

    def median(key: tuple[str, str, int], column: int) -> float:
        return statistics.median(row[column] for row in rates[key])

    base = ("plain", "hand-written", 2)
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {W1.flops / 1e6:.2f} MFLOP a client in matrix products"
    )
    print(
        "| work | contender | clients/s, 1 process | 2 processes | CPU clients/s, 2 processes | × hand-written on 2 (CPU) |"
    )
    print("|---|---|---|---|---|---|")
    for work, name in contenders:
        one, two, cpu = median((work, name, 1), 0), median((work, name, 2), 0), median((work, name, 2), 1)
        ratio = ""
        if base in rates:
            ratio = f"{two / median(base, 0):.2f} ({cpu / median(base, 1):.2f})"
        print(f"| {work} | {name} | {one:,.0f} | {two:,.0f} | {cpu:,.0f} | {ratio} |")


if __name__ == "__main__":
    main()
