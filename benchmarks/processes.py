"""Processes that a benchmark starts: their ports, their time, their memory, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 60.0) -> None:
    """Until somebody accepts connections at `port` of loopback."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens at port {port} after {seconds:.0f} s")


def spent(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one of the same number: `born` is in clock ticks since the start of the
    system. `cpu` is in seconds."""

    pid: int
    born: int
    parent: int = field(compare=False)
    cpu: float = field(compare=False)


def whole(pid: int) -> set[Process]:
    """A process and everything that descends from it, whatever its group; nothing if it is gone."""
    found = {each.pid: each for each in _processes()}
    reached = {found[pid]} if pid in found else set()
    grown = True
    while grown:
        known = {each.pid for each in reached}
        grown = not reached.issuperset(more := {each for each in found.values() if each.parent in known})
        reached |= more
    return reached


def kill(processes: Iterable[Process]) -> None:
    """Kill those of them that still run."""
    _signalled(set(_processes()).intersection(processes), signal.SIGKILL)


def stop(pid: int) -> None:
    """Let a process and everything below it stand still, whatever it starts meanwhile, until `go`."""
    stopped: set[Process] = set()
    while more := whole(pid) - stopped:
        _signalled(more, signal.SIGSTOP)
        stopped |= more


def go(pid: int) -> None:
    """Let a process that stands still, and everything below it, go on."""
    _signalled(whole(pid), signal.SIGCONT)


def _signalled(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _processes() -> Iterator[Process]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                yield Process(int(path.name), int(fields[19]), int(fields[1]), cpu)


def peak(pid: int) -> float:
    """The most memory that a process had resident, in MB of 2^20 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory any more")


def ended(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes that lead a group each, with their groups."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
