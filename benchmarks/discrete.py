"""What distributed discrete noise costs a simulation: `OMP_NUM_THREADS=1 python benchmarks/discrete.py`.

Digits, a cohort of 100 of 479 owners of three examples each, one local step. Either the server adds a discrete Gaussian to the
sum of clipped updates (owner-level DP), or every owner encodes its clipped update in 20 bits, adds its share of discrete
noise, and masks it. Coordinator, ledger and server step are in both; one process, one thread. They take turns, so that a
busy machine is busy for both; the table holds medians over `--repeats`, `own` what a round has on top of central noise.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from tacit.config import from_mapping
from tacit.simulation.run import Simulation, prepare

OWNERS, COHORT = 479, 100
CLIP = {"stage": "clip", "norm": 0.3}
CENTRAL = "central-gaussian"
LAWS = ("skellam", "discrete-gaussian")


def configuration(model: str, law: str, bits: int) -> dict[str, Any]:
    """A run whose noise is of this law, central or in shares."""
    noise = {"stage": law, "noise_multiplier": 1.0}
    shares = [{"stage": "encode", "bits": bits}, noise, {"stage": "mask"}]
    return {
        "task": {"use": "digits", "model": model},
        "population": {"owners": OWNERS},
        "rounds": {"total": 10**5, "participation": {"use": "fixed", "cohort": COHORT}, "quorum": 0.8},
        "local": {"use": "sgd", "lr": 1.0},
        "privacy": {
            "relation": "zero-out",
            "delta": 1e-4,
            "pipeline": [CLIP, *([noise] if law == CENTRAL else shares)],
        },
        "budget": {"epsilon": float("inf")},
        "evaluation": {"every": 10**5},
    }


@dataclass(slots=True)
class Runner:
    """A simulation that runs a few rounds at a time, and how long each turn took: seconds on the clock, and of processor."""

    simulation: Simulation
    turns: list[tuple[float, float]] = field(default_factory=list)

    def turn(self, rounds: int) -> None:
        """Run so many more rounds."""
        wall, spent = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            self.simulation.progress, _ = self.simulation.coordinator.step(self.simulation.progress)
        self.turns.append((time.perf_counter() - wall, time.process_time() - spent))

    def median(self, column: int, rounds: int) -> float:
        """Milliseconds a round."""
        return 1e3 * statistics.median(turn[column] for turn in self.turns[1:]) / rounds  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each in every turn")
    parser.add_argument("--bits", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=["softmax", "mlp"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    worst = [0.0]
    print("| model | numbers | noise | ms a round | of processor | × owner-level DP | × of processor |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        runners = {
            law: Runner(prepare(from_mapping(configuration(model, law, options.bits)), seed=1, device="cpu", workers=1))
            for law in (CENTRAL, *LAWS)
        }
        for _ in range(options.repeats + 1):
            for runner in runners.values():
                runner.turn(options.rounds)
        base = [runners[CENTRAL].median(column, options.rounds) for column in (0, 1)]
        for law, runner in runners.items():
            found = [runner.median(column, options.rounds) for column in (0, 1)]
            ratios = [each / other for each, other in zip(found, base, strict=True)]
            worst.append(ratios[0])
            dim = len(runner.simulation.progress.weights)
            print(
                f"| {model} | {dim:,} | {law} | {found[0]:.2f} | {found[1]:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:.0f} MiB; at most {max(worst):.2f} × the time of owner-level DP")


if __name__ == "__main__":
    main()
