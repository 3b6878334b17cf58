"""Stock Flower as its documentation has it used: `flwr run`, Message API, SuperLink and SuperNodes in default isolation.

The app moves each number of the model by one at every node and gives it back, which is the least that training does. All of
it lies in a temporary folder; nothing is encrypted or authenticated, which favours it. The database is as Tacit's, in a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import ended, free_port, wait_for

_PROJECT = """\
[project]
name = "stock"
version = "1.0.0"
description = "Echo"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "benchmark"

[tool.flwr.app.components]
serverapp = "stock.server:app"
clientapp = "stock.client:app"

[tool.flwr.app.config]
nodes = 2
arrays = 1
numbers = 1
rounds = 1
log = ""
"""

_SERVER = """\
import json, time
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    generator, each = np.random.default_rng(1), max(1, config["numbers"] // config["arrays"])
    # As the documentation's strategies do: arrays in, arrays out, the mean in between.
    model = [generator.standard_normal(each, dtype=np.float32) for _ in range(config["arrays"])]
    while len(list(grid.get_node_ids())) < config["nodes"]:
        time.sleep(0.1)
    nodes = list(grid.get_node_ids())
    for number in range(config["rounds"]):
        started = time.perf_counter()
        content = RecordDict({"model": ArrayRecord(model)})
        messages = [Message(content, node, MessageType.TRAIN) for node in nodes]
        replies = list(grid.send_and_receive(messages))
        assert len(replies) == len(nodes) and not any(reply.has_error() for reply in replies)
        total = [np.zeros_like(array) for array in model]
        for reply in replies:
            for whole, part in zip(total, reply.content["model"].to_numpy_ndarrays()):
                whole += part
        seconds = time.perf_counter() - started
        for before, after in zip(model, total):
            assert np.allclose(after / len(nodes), before + 1, atol=1e-5)
        model = [array / np.float32(len(nodes)) for array in total]
        with open(config["log"], "a") as log:
            peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
            log.write(json.dumps({"seconds": seconds, "peak": peak}) + "\\n")
"""

_CLIENT = """\
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    moved = [array + 1 for array in message.content["model"].to_numpy_ndarrays()]
    return Message(RecordDict({"model": ArrayRecord(moved)}), reply_to=message)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each round, and the peak memory of the `ServerApp`'s process in MB."""

    seconds: list[float]
    peak: float


@contextmanager
def flower(owners: int) -> Iterator[Flower]:
    """A SuperLink with that many SuperNodes; every process of it has ended afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FLWR_")}
        environment |= {"FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0"}
        environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1"}
        port, programs, started = free_port(), Path(sys.executable).parent, list[subprocess.Popen[bytes]]()
        rows = f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        (folder / "home" / "config.toml").write_text(rows)
        app = folder / "app"
        (app / "stock").mkdir(parents=True)
        (app / "pyproject.toml").write_text(_PROJECT)
        for file, text in (("__init__", ""), ("server", _SERVER), ("client", _CLIENT)):
            (app / "stock" / f"{file}.py").write_text(text)
        environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', '')}"

        def start(program: str, *arguments: str) -> None:
            with (folder / "log").open("ab") as log:
                command = [str(programs / program), "--insecure", *arguments]
                # A group of its own: stock Flower starts further processes for every message.
                running = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
                started.append(running)

        try:
            database = str(folder / "superlink.sqlite")
            start(
                "flower-superlink", "--port", str(port), "--database", database,
                "--disable-runtime-dependency-installation",
            )  # fmt: skip
            wait_for(port)
            for _ in range(owners):
                start("flower-supernode", "--superlink", f"127.0.0.1:{port}", "--port", str(free_port()))
            yield Flower(folder, environment, owners)
        finally:
            ended(reversed(started))


@dataclass(frozen=True, slots=True)
class Flower:
    """A running deployment of stock Flower."""

    folder: Path
    environment: dict[str, str]
    owners: int

    def run(self, megabytes: float, arrays: int, rounds: int) -> Measured:
        """One `flwr run` of that many rounds, the model both ways in each."""
        path = self.folder / f"rounds-{megabytes:g}-{arrays}"
        config = {"nodes": self.owners, "arrays": arrays, "numbers": max(arrays, int(megabytes * 250_000))}
        words = " ".join([*(f"{key}={value}" for key, value in config.items()), f"rounds={rounds}", f'log="{path}"'])
        command = [str(Path(sys.executable).with_name("flwr")), "run", str(self.folder / "app"), "here", "-c", words]
        told = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(f"flwr run failed: {told.stdout} {told.stderr}")
        until, rows = time.monotonic() + 60.0 * (rounds + 2), list[dict[str, float]]()
        while len(rows) < rounds:
            if time.monotonic() > until:
                raise RuntimeError(f"stock Flower did not end: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.5)
            rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return Measured([row["seconds"] for row in rows], max(row["peak"] for row in rows))
