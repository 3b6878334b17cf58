"""Accuracy of configurations under privacy, mean over seeds: `python benchmarks/utility.py examples/*.toml`.

Seed k runs twice: on the task's usual split into training and test data, and on its public split number k, so that the
figure does not hang on one lucky or unlucky test set. Both means are printed with their standard deviations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from tacit.simulation.run import simulate


def accuracy(path: Path, seed: int, split: int) -> tuple[float, float]:
    """Final test accuracy and the ε of the budget's claim."""
    run = simulate(path, seed=seed, set={"task.split": split, "evaluation.every": 10**6})
    return 100 * run.final.accuracy, run.claims[0].epsilon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'configuration':28} {'ε':>6} {'usual split':>16} {'split = seed':>16} {'s/run':>7}", flush=True)
    for path in options.configurations:
        started = time.perf_counter()
        usual, varied = [], []
        for seed in range(options.seeds):
            value, epsilon = accuracy(path, seed, 0)
            usual.append(value)
            varied.append(value if seed == 0 else accuracy(path, seed, seed)[0])
        each = (time.perf_counter() - started) / (2 * options.seeds - 1)
        cells = [f"{statistics.mean(v):.2f} ± {statistics.pstdev(v):.2f}" for v in (usual, varied)]
        print(f"{path.stem:28} {epsilon:6.3f} {cells[0]:>16} {cells[1]:>16} {each:7.1f}", flush=True)


if __name__ == "__main__":
    main()
