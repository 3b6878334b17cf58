"""Correlated noise beside independent noise on digits, at equal ε: the accuracy of each factor, best of three server rates.

    python benchmarks/correlated.py

479 owners take part in turn, eight rounds apart, for 80 rounds (`cyclic`); three seeds. Real data, simulated owners; the choice
of the server's rate is not in ε.
"""

from __future__ import annotations

import statistics
import sys
import time

from tacit.config import parse
from tacit.simulation.run import simulate

TEXT = """
[task]
use = "digits"
[population]
owners = 479
[rounds]
total = 80
participation = {{ use = "cyclic", cohort = 59, separation = 8 }}
[local]
use = "sgd"
lr = 1.0
[strategy]
use = "fedavg"
server_lr = {rate}
tail_average = 0.5
[privacy]
pipeline = [ {{ stage = "clip", norm = 0.3 }}, {{ {stage}, noise_multiplier = "calibrate" }} ]
[budget]
epsilon = {epsilon}
"""
STAGES = {
    "independent": 'stage = "central-gaussian"',
    "4 bands": 'stage = "correlated-gaussian", bands = 4',
    "8 bands": 'stage = "correlated-gaussian", bands = 8',
    "16 bands": 'stage = "correlated-gaussian", bands = 16',
    "BLT": 'stage = "correlated-gaussian", decay = [0.9, 0.5], scale = [0.12, 0.3]',
}
RATES, SEEDS, EPSILONS = (5.0, 10.0, 20.0), (0, 1, 2), (1.0, 2.0, 4.0)


def accuracy(stage: str, epsilon: float, rate: float) -> tuple[float, float]:
    """Mean and standard deviation over the seeds, in percent."""
    config = parse(TEXT.format(stage=stage, epsilon=epsilon, rate=rate))
    found = [100 * float(simulate(config, seed=seed, device="cpu").final.accuracy) for seed in SEEDS]
    return statistics.mean(found), statistics.stdev(found)


def main() -> None:
    """Print the table."""
    started = time.perf_counter()
    sys.stdout.write("noise         " + "".join(f"  ε = {epsilon:g}         " for epsilon in EPSILONS) + "\n")
    for name, stage in STAGES.items():
        cells = []
        for epsilon in EPSILONS:
            mean, spread, rate = max((*accuracy(stage, epsilon, rate), rate) for rate in RATES)
            cells.append(f"{mean:5.1f} ± {spread:3.1f} ({rate:g})")
        sys.stdout.write(f"{name:13s} " + "  ".join(cells) + "\n")
    sys.stdout.write(f"{time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
