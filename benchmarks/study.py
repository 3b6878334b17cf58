"""A study of 100 settings of digits (100 owners, up to 20 rounds, 3 seeds): `python benchmarks/study.py`.

Prints wall-clock and CPU seconds of the whole command, workers and accounting and page included. CPU seconds say what the
work is where the machine does other work too.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).parents[1] / "examples/digits-study.toml"
LIMIT = 180.0  # seconds on two cores, so twice as many of CPU


def once(workers: int, search: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one study in a fresh folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tacit", "study", str(FILE), "--out", f"{folder}/study", "-q"]
        extra = [] if search == "grid" else ["--search", search, "--points", "100"]
        subprocess.run([*command, "--workers", str(workers), *extra], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--search", choices=("grid", "random", "adaptive"), default="grid")
    options = parser.parse_args()
    found = [once(options.workers, options.search) for _ in range(options.times)]
    wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"{options.search}, {options.workers} workers: {wall:.1f} s, {cpu:.1f} CPU s (median of {options.times});"
          f" load {os.getloadavg()[0]:.1f}")  # fmt: skip
    if cpu > 2 * LIMIT:
        sys.exit(f"more than {2 * LIMIT:g} CPU seconds")


if __name__ == "__main__":
    main()
