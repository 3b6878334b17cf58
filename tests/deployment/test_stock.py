"""Stock `flwr run` over real processes: SuperLink and SuperNodes in their default isolation, on loopback."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import tacit
import torch
from tacit.config import load
from tacit.privacy.ledger.store import Store
from tacit.simulation.artefacts import RunFolder
from tacit.simulation.permission import asset_text, policy_text
from tacit.simulation.weights import load_into
from tacit.strategies.federation import build

APP = Path(__file__).resolve().parents[2] / "examples" / "flower-app"
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.soak


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stock:
    """A SuperLink and two SuperNodes, as Flower's own documentation starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
        self.environment = kept | {
            "FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        (folder / "home").mkdir(parents=True)
        connection = (
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        (folder / "home" / "config.toml").write_text(connection)

    @contextmanager
    def process(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """One of Flower's programs, which ends with the block, and its children with it."""
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [BIN / name.partition(".")[0], "--insecure", *arguments],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield started
        finally:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()

    def flwr(self, *arguments: str) -> str:
        done = subprocess.run(
            [BIN / "flwr", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, **settings: str | int) -> str:
        """`flwr run` of the example; how it ended, by Flower's own word."""
        self.flwr(
            "run", str(APP), "here", "--run-config", " ".join(f"{k}={json.dumps(v)}" for k, v in settings.items())
        )
        until = time.monotonic() + 900
        while time.monotonic() < until:
            listed = json.loads(self.flwr("ls", "here", "--format", "json"))
            (run,) = listed["runs"]
            if run["status"].startswith("finished"):
                return f"{run['status']} {run.get('status-details', '')}"
            time.sleep(1)
        raise AssertionError((self.folder / "flower-superlink.log").read_text()[-3000:])


@contextmanager
def stock(folder: Path, *configs: str) -> Iterator[Stock]:
    """A site with one SuperNode for each of `configs`."""
    made = Stock(folder)
    with ExitStack() as stack:
        link = stack.enter_context(made.process("flower-superlink", "--host", "127.0.0.1", "--port", str(made.port)))
        until = time.monotonic() + 60
        with closing(socket.socket()) as probe:
            while probe.connect_ex(("127.0.0.1", made.port)):
                assert link.poll() is None, (folder / "flower-superlink.log").read_text()[-2000:]
                assert time.monotonic() < until
                time.sleep(0.1)
        for index, config in enumerate(configs):
            where = ("--superlink", f"127.0.0.1:{made.port}", "--port", str(free_port()), "--node-config", config)
            stack.enter_context(made.process(f"flower-supernode.{index}", *where))
        yield made


def test_a_seeded_run_of_stock_flower_is_the_one_in_memory(tmp_path: Path) -> None:
    """Law: the transport does not matter, to the bit; and with a seed nothing is claimed."""
    out = tmp_path / "run"
    with stock(tmp_path / "site", "partition-id=0 num-partitions=2", "partition-id=1 num-partitions=2") as site:
        assert site.run(seed=5, out=str(out)).startswith("finished:completed")
    run = tacit.simulate(APP / "digits.toml", seed=5, engine="in-memory")
    result = json.loads(RunFolder(out).result.read_text())
    assert [row["metrics"] for row in result["rounds"]] == [row.metrics for row in run.rounds]
    assert all(math.isinf(float(claim["epsilon"])) for claim in result["privacy"])
    module = run.model()
    load_into(module, RunFolder(out).model)
    assert torch.equal(run.task.trainable(module).flatten(module), run.weights)


def test_owners_folders_are_charged_and_a_run_that_they_refuse_has_failed(tmp_path: Path) -> None:
    config = load(APP / "digits.toml")
    federation, owners = build(config), []
    for number in range(2):
        owners.append(tmp_path / f"owner-{number}")
        owners[-1].mkdir()
        source = f"population:{number}/2?partition=dirichlet&alpha=0.3"
        (owners[-1] / "agent.toml").write_text(policy_text(federation, False) + asset_text(config, source))
    out = tmp_path / "run"
    configs = [f'partition-id={number} agent="{owner}"' for number, owner in enumerate(owners)]
    with stock(tmp_path / "site", *configs) as site:
        assert site.run(out=str(out)).startswith("finished:completed")
    for owner in owners:
        with closing(Store(owner / "ledgers" / "share.sqlite", "share")) as ledger:
            assert len(ledger.spent().records()) == config.rounds.total
    result = json.loads(RunFolder(out).result.read_text())
    assert result["privacy"][0]["epsilon"] == pytest.approx(federation.epsilon(config.rounds.total))
    with stock(tmp_path / "again", *configs) as site:
        ended = site.run(seed=5, out=str(tmp_path / "refused"))
    assert ended.startswith("finished:failed")
    assert "seed" in ended
    for owner in owners:
        with closing(Store(owner / "ledgers" / "share.sqlite", "share")) as ledger:
            assert len(ledger.spent().records()) == config.rounds.total
