"""Where a round's time goes, and what a draw takes: `OMP_NUM_THREADS=1 python benchmarks/parts.py W1 example [--rounds 20]`.

One process of one thread; milliseconds of processor for a client of W1 or W2 (`works.py`), `plain`, at `owner` level or at
`example` level. A part holds those that stand further in below it. Clocks that are looked at take a few hundredths of W1's.
`--draws` prints what draws of noise take instead, with compiled loops and without.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "contenders"))

from tacit.privacy import alias, compiled, noise, outer
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.factors import Factors
from tacit.privacy.pipeline import Pipeline
from tacit.simulation.engines.engine import Engine
from tacit.simulation.engines.example_level import Clipped
from tacit.simulation.engines.front import Passage
from tacit.simulation.run import Simulation, prepare
from tacit.strategies.gradients import DpSgd
from tacit_rounds import config
from works import WORKS

WARM = 2  # rounds that do not count
DRAWS = 1 << 20


class Enough(Exception):
    """The rounds that were asked for are over."""


def parts_of(engine: Engine) -> list[tuple[Any, str, str]]:
    """What is timed: where it stands, and what it is called."""
    return [
        (type(engine), "train", "training"),
        (DpSgd, "sampled", "  examples drawn"),
        (Clipped, "sums", "  clipped sums"),
        (Passage, "forward", "    convolutions, forward"),
        (outer.Sums, "step", "  noise, rounding and steps"),
        (Factors, "norms", "norms"),
        (Pipeline, "send", "owner half of the pipeline"),
        (Factors, "total", "  sums of owners"),
        (Pipeline, "receive", "server half of the pipeline: noise of the sum"),
    ]


def timed(function: Callable[..., Any], label: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, whose processor time is added up."""

    def run(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **named)
        finally:
            spent[label] += time.process_time() - start

    return run


def rounds(work: str, level: str, count: int) -> None:
    """Print the parts of `count` rounds."""
    simulation = prepare(config(WORKS[work], level), seed=1, device="cpu", workers=1)
    spent: dict[str, float] = defaultdict(float)
    parts = parts_of(simulation.transport.engine)
    for where, name, label in parts:
        setattr(where, name, timed(getattr(where, name), label, spent))
    ends: list[float] = []

    def watch(_simulation: Simulation, record: object, row: object) -> None:
        ends.append(time.process_time())
        if len(ends) == WARM:
            spent.clear()
        if len(ends) == WARM + count:
            raise Enough

    try:
        for _ in simulation.rounds(watch):
            raise RuntimeError("a round was evaluated while its time was taken")
    except Enough:
        print(f"{work} {level}, {simulation.engine}: {count} rounds")
    clients = count * WORKS[work].cohort
    print("| part | ms a client |\n|---|---|")
    print(f"| whole | {(ends[-1] - ends[WARM - 1]) / clients * 1e3:.3f} |")
    for _, _, label in parts:
        if label in spent:
            print(f"| {label.replace('  ', '· ')} | {spent[label] / clients * 1e3:.3f} |")


def draws() -> None:
    """Print what a draw takes, added to numbers that hold a million."""
    found = compiled.loops()
    print("| σ | numbers | compiled loops, ns | without |\n|---|---|---|---|")
    for sigma, kind in [(2000.0, np.int32), (2.0**22, np.int32), (2.0**22, np.int64), (2.0**28, np.int64)]:
        into, stream, took = np.zeros((1, DRAWS), dtype=kind), SeededEntropy(1).stream("draws"), []
        for loops in (found, None):
            alias.loops_for = lambda numbers, loops=loops: loops
            times = []
            for _ in range(30):
                start = time.process_time()
                noise.add_discrete_gaussians([stream], sigma, into)
                times.append(time.process_time() - start)
            took.append(statistics.median(times) / DRAWS * 1e9)
        print(f"| {sigma:.0f} | {np.dtype(kind).name} | {took[0]:.2f} | {took[1]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", choices=list(WORKS), default="W1")
    parser.add_argument("level", nargs="?", choices=["plain", "owner", "example"], default="example")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--draws", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.draws:
        draws()
    else:
        rounds(given.work, given.level, max(1, given.rounds))


if __name__ == "__main__":
    main()
