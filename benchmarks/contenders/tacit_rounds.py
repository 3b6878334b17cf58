"""Tacit: a simulation as `tacit simulate --workers 2` runs it, coordinator, ledger, clipping, noise and server step included.

Rounds are those of `Simulation.rounds()`; nothing is evaluated but after the last, which never comes.
"""

from __future__ import annotations

import sys
from typing import Any

import tacit
import torch
from tacit.config import Config, from_mapping
from tacit.simulation.run import Simulation, prepare
from turns import Turns
from works import BATCH, EXAMPLE_NOISE, EXAMPLE_NORM, LR, OWNER_NOISE, OWNER_NORM, WORKS, Work

MOST = 10**5
SGD = {"use": "sgd", "lr": LR, "batch": BATCH}
CENTRAL = [{"stage": "clip", "norm": OWNER_NORM}, {"stage": "central-gaussian", "noise_multiplier": OWNER_NOISE}]


def config(work: Work, level: str) -> Config:
    """W1 or W2 plain, with privacy of the owner, or with privacy of the example."""
    data: dict[str, Any] = {
        "task": {"use": f"tacit_tasks:{work.name.lower()}"},
        "population": {"owners": work.clients},
        "rounds": {"total": MOST, "participation": {"use": "fixed", "cohort": work.cohort}},
        "local": SGD,
        "privacy": {"relation": "zero-out", "delta": 1e-6},
        "budget": {"epsilon": float("inf")},
        "evaluation": {"every": MOST},
    }
    if level == "owner":
        data["privacy"] |= {"pipeline": CENTRAL}
    elif level == "example":
        data["privacy"] |= {"unit": "example"}
        data["local"] = {
            "use": "dp-sgd", "lr": LR, "norm": EXAMPLE_NORM, "noise_multiplier": EXAMPLE_NOISE, "rate": work.rate,
            "denominator": float(BATCH), "steps": work.steps,
        }  # fmt: skip
    return from_mapping(data)


class Stop(Exception):
    """There are no more turns."""


def main() -> None:
    work, level, workers = WORKS[sys.argv[1]], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    turns = Turns()
    simulation = prepare(config(work, level), seed=1, device="cpu", workers=workers)
    turns.ready(
        processes=str(workers), version=f"Tacit {tacit.__version__}", engine=simulation.engine, why=simulation.why
    )

    def watch(_simulation: Simulation, record: object, row: object) -> None:
        if not turns.after_round():
            raise Stop

    if turns.next():
        try:
            for _ in simulation.rounds(watch):
                raise RuntimeError("a round was evaluated while its time was taken")
        except Stop:
            return


if __name__ == "__main__":
    main()
