"""Flower: its simulation on Ray, Message API, `FedAvg`, two actors of one processor each; nothing is evaluated.

At owner level under `DifferentialPrivacyServerSideFixedClipping`, without its accountant.
"""

from __future__ import annotations

import logging
import sys

import flwr
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from flwr.simulation import run_simulation
from turns import Turns
from works import OWNER_NOISE, OWNER_NORM, WORKS


def main() -> None:
    work, level = WORKS[sys.argv[1]], sys.argv[2]
    turns = Turns()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    server = ServerApp()

    @server.main()
    def rounds(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_train=work.cohort / work.clients, fraction_evaluate=0.0)
        if level == "owner":
            strategy = DifferentialPrivacyServerSideFixedClipping(strategy, OWNER_NOISE, OWNER_NORM, work.cohort)
        arrays = ArrayRecord(work.model().state_dict())
        turns.ready(processes="2", version=f"Flower {flwr.__version__}")

        def run(count: int) -> None:
            nonlocal arrays
            found = strategy.start(grid, arrays, count, train_config=ConfigRecord({"work": work.name}))
            if len(found.train_metrics_clientapp) != count:
                raise RuntimeError(f"{len(found.train_metrics_clientapp)} of {count} rounds trained anybody")
            arrays = found.arrays

        turns.serve(run)

    from flower_client import app

    run_simulation(
        server, app, num_supernodes=work.clients,
        backend_config={
            "client_resources": {"num_cpus": 1.0, "num_gpus": 0.0},
            "init_args": {
                "num_cpus": 2, "include_dashboard": False, "log_to_driver": False, "object_store_memory": 256 * 2**20,
            },
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
