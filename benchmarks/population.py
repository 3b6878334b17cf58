"""Peak memory and speed of a simulated population: `python benchmarks/population.py --owners 10000`.

Runs digits (softmax on fixed features) over a synthetic population, three examples an owner, through the engine that
`tacit simulate` takes, and prints the peak of the whole process (interpreter, torch, data and all) beside clients a second.
"""

from __future__ import annotations

import argparse
import resource
import sys

from tacit.config import Config, from_mapping
from tacit.simulation.run import prepare


def configuration(owners: int, rounds: int, rate: float, model: str) -> Config:
    """Owner-level privacy over `owners` synthetic owners of three digits each."""
    return from_mapping(
        {
            "task": {"use": "digits", "model": model},
            "population": {"owners": owners, "partition": {"use": "bootstrap", "per_owner": 3}},
            "rounds": {"total": rounds, "participation": {"use": "poisson", "rate": rate}},
            "local": {"use": "sgd", "lr": 1.0},
            "privacy": {
                "pipeline": [
                    {"stage": "clip", "norm": 0.3},
                    {"stage": "central-gaussian", "noise_multiplier": 2.0},
                ]
            },
            "budget": {"epsilon": 1000.0},
            "evaluation": {"every": 10**6},
        }
    )


def peak() -> float:
    """Largest resident size of this process so far, in GB (10⁹ bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owners", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1.0, help="probability that an owner is drawn")
    parser.add_argument("--model", default="softmax", choices=("softmax", "mlp", "cnn"))
    parser.add_argument("--engine", default="auto", help="auto, plain-loop or in-memory")
    options = parser.parse_args()
    config = configuration(options.owners, options.rounds, options.rate, options.model)
    simulation = prepare(config, seed=0, engine=options.engine, device="cpu")
    for _ in simulation.rounds():
        continue
    timing = simulation.result().timing
    print(
        f"{options.owners:,} owners, {options.rounds} rounds, {options.model} ({simulation.engine}): "
        f"peak {peak():.2f} GB, {timing.clients_per_second:,.0f} clients/s, {timing.seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
