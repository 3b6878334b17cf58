"""Two owners, two rounds: `flwr run` with Tacit's apps on processes that are up already, and `tacit up` from nothing.

Both times are from the command to `result.json`; medians of three.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

APP = Path(__file__).resolve().parents[1] / "examples" / "flower-app"
BIN = Path(sys.executable).parent
TIMES = 3
OWNERS = 2


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*line: str, environment: dict[str, str]) -> Iterator[None]:
    """A process that leads a group; the group has ended afterwards."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(line, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stock(folder: Path) -> list[float]:
    """Seconds of each `flwr run`."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
    environment |= {"FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    environment |= {"PATH": f"{BIN}{os.pathsep}{environment.get('PATH', '')}", "OMP_NUM_THREADS": "1"}
    rows = f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (folder / "config.toml").write_text(rows)
    found = []
    with ExitStack() as stack:
        link = (str(BIN / "flower-superlink"), "--insecure", "--host", "127.0.0.1", "--port", str(port))
        stack.enter_context(running(*link, environment=environment))
        with closing(socket.socket()) as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                time.sleep(0.1)
        for owner in range(OWNERS):
            node = f"partition-id={owner} num-partitions={OWNERS}"
            where = ("--superlink", f"127.0.0.1:{port}", "--port", str(free_port()), "--node-config", node)
            line = (str(BIN / "flower-supernode"), "--insecure", *where)
            stack.enter_context(running(*line, environment=environment))
        time.sleep(10)  # both nodes are there
        for number in range(TIMES):
            out = folder / f"run-{number}"
            started = time.perf_counter()
            asked = [str(BIN / "flwr"), "run", str(APP), "here", "--run-config", f'seed=5 out="{out}"']
            subprocess.run(asked, env=environment, check=True, capture_output=True)
            while not (out / "result.json").exists():
                if time.perf_counter() - started > 300:
                    raise TimeoutError("flwr run did not end within 300 s")
                time.sleep(0.05)
            found.append(time.perf_counter() - started)
    return found


def up(folder: Path) -> list[float]:
    """Seconds of each `tacit up`."""
    found = []
    for number in range(TIMES):
        started = time.perf_counter()
        line = [str(BIN / "tacit"), "up", str(APP / "digits.toml"), "--owners", str(OWNERS), "--quiet", "--out"]
        subprocess.run([*line, str(folder / f"up-{number}")], check=True, capture_output=True)
        found.append(time.perf_counter() - started)
    return found


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as name:
        print(f"flwr run  {statistics.median(stock(Path(name))):5.1f} s")
        print(f"tacit up  {statistics.median(up(Path(name))):5.1f} s")


if __name__ == "__main__":
    main()
