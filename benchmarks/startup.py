"""How long `tacit simulate` takes to its first trained group of owners: `python benchmarks/startup.py`.

Processor seconds of a fresh interpreter, beside those of one that only imports torch, dp_accounting and scikit-learn, in turns;
medians over `--repeats`. The run is digits with owner-level privacy, ended where the first group's sum is made.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
[task]
use = "digits"
[population]
owners = 479
[rounds]
total = 80
participation = { use = "poisson", rate = 0.5 }
[local]
use = "sgd"
lr = 1.0
[privacy]
delta = "N^-1.1"
pipeline = [ { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.74 } ]
[budget]
epsilon = 4.0
"""
IMPORTS = "import torch, dp_accounting, sklearn"
FIRST = """
import os, sys
from tacit.simulation.work import Work
from tacit.__main__ import main
whole = Work.total
def first(*given):
    whole(*given)
    os._exit(0)
Work.total = first
sys.argv = ["tacit", "simulate", *sys.argv[1:]]
main()
sys.exit("nothing was trained")
"""


def spent(*arguments: str) -> float:
    """Processor seconds of a Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    bare, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "federation.toml"
        config.write_text(CONFIG)
        for repeat in range(repeats + 1):  # the first fills the disk's cache
            out = str(Path(folder) / f"run-{repeat}")
            bare.append(spent("-c", IMPORTS))
            first.append(spent("-c", FIRST, str(config), "--out", out, "--quiet"))
    one, other = statistics.median(bare[1:]), statistics.median(first[1:])
    print(f"imports alone {one:.2f} s, to the first group {other:.2f} s: {other / one:.2f} ×")


if __name__ == "__main__":
    main()
