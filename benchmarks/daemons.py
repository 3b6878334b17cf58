"""Tacit's own daemons on loopback, as `tacit up` starts them: what they spend while idle, and rounds of real agents."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from processes import spent

CONFIG = Path(__file__).resolve().parents[1] / "examples" / "digits-institutions.toml"


def idle(seconds: float, owners: int = 2) -> dict[str, float]:
    """Per cent of one core that each daemon uses while no run is under way, by its program."""
    from tacit.config import parse
    from tacit.server.supervisor import Supervisor
    from tacit.simulation.permission import asset_text, policy_text
    from tacit.simulation.site import Site, agent_child, enrol_owner, found_server, server_child
    from tacit.strategies.federation import build
    from tacit.strategies.lock import FolderLock
    from tacit.tasks.source import Population

    config = parse(CONFIG.read_text(), {"population.owners": owners})
    federation = build(config)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "site"
        root.mkdir(mode=0o700)
        site = Site(root)
        found_server(site)
        with FolderLock(root), Supervisor(root, [server_child(site, None, None)]) as server:
            server.start()
            for number in range(owners):
                source = str(Population(number, owners, 0, federation.partition))
                enrol_owner(site, number, policy_text(federation, False) + asset_text(config, source))
            with Supervisor(
                root / "owners", [agent_child(site, number, None, None) for number in range(owners)]
            ) as agents:
                agents.start()
                time.sleep(30.0)  # imports, the first polls
                before = {pid: spent(pid) for pid in _descendants(os.getpid())}
                time.sleep(seconds)
                return {f"{_program(pid)} {pid}": 100 * (spent(pid) - at) / seconds for pid, at in before.items()}


def real_rounds(owners: int, rounds: int) -> list[float]:
    """Seconds of each round but the first of `tacit up` with that many real agents, training included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-P", "-m", "tacit", "up", str(CONFIG), "--owners", str(owners), "--quiet", "--json"]
        command += ["--set", f"rounds.total={rounds}", "--set", "evaluation.every=1", "--set", "rounds.quorum=1.0"]
        command += ["--dir", str(folder / "site"), "--out", str(folder / "run")]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(f"tacit up ended with {told.returncode}: {told.stdout[-2000:]} {told.stderr[-2000:]}")
        lines = (folder / "run" / "rounds.jsonl").read_text().splitlines()
        at = [float(json.loads(line)["seconds"]) for line in lines]
        if len(at) != rounds or not all(map(math.isfinite, at)):
            raise RuntimeError(f"tacit up measured {len(at)} of {rounds} rounds")
        return [later - earlier for earlier, later in pairwise(at)]


def _descendants(root: int) -> list[int]:
    """The processes below `root`."""
    found = []
    for path in Path(f"/proc/{root}/task").iterdir():
        for pid in map(int, (path / "children").read_text().split()):
            found += [pid, *_descendants(pid)]
    return found


def _program(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    text = " ".join(words)
    known = {
        "client start": "agent", "server start": "supervisor", "porter": "gateway", "conductor": "coordinator",
        "flower-superlink": "superlink",
    }  # fmt: skip
    return next((name for part, name in known.items() if part in text), words[0])
