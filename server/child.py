"""Child: a program that a supervisor keeps running, and one life of it as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..strategies.notify import VARIABLES
from . import leash
from .logfile import LogFile
from .strays import MARK


def alive() -> bool:
    """The readiness check of a child that needs none."""
    return True


@dataclass(frozen=True, slots=True)
class Child:
    """A program to keep running. What other users may see of it, `argv` and the environment's names, holds no secret.

    `ready` is asked while it starts and ever after; it must answer within about a second and never raise. `patience`:
    seconds that it may say no before the process counts as failed. `grace`: seconds between the request to end and the kill.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool] = field(default=alive, repr=False)
    environment: Mapping[str, str] | None = field(default=None, repr=False)  # None: the supervisor's own
    folder: Path | None = None  # where it runs
    patience: float = 30.0
    grace: float = 10.0


class Life:
    """One process of a child, leader of a session of its own, on a leash of the calling thread; its output goes to `log`."""

    def __init__(self, child: Child, mark: str, log: LogFile) -> None:
        """Raises `OSError` where no process can be made; that the program is missing shows in the log and its exit."""
        own = os.environ if child.environment is None else child.environment
        environment = {name: value for name, value in own.items() if name not in VARIABLES} | {MARK: mark}
        self.child = child
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *child.argv],
            env=environment, cwd=child.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, bufsize=0,
        )  # fmt: skip
        self.pid = self._process.pid
        try:
            self.descriptor = os.pidfd_open(self.pid)  # not reaped yet, so it is this one
        except OSError:  # out of descriptors: nobody would watch it
            self._process.kill()
            self._process.wait()
            raise
        self._log = log
        self._drain = threading.Thread(target=self._copy, name=f"tacit-log-{child.name}", daemon=True)
        self._drain.start()

    def ended(self) -> bool:
        """Whether the process has ended; it keeps its id until `bury`."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def ask(self) -> None:
        """Ask the process to end."""
        signal.pidfd_send_signal(self.descriptor, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether the process ended within `seconds`."""
        until = time.monotonic() + seconds
        while not self.ended():
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(0.02, left))
        return True

    def bury(self) -> int:
        """Kill what is left of the process and its session and return its exit code, negative for a signal."""
        # The group keeps its number until its leader is waited for, so this cannot hit another group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        self._drain.join(1.0)
        os.close(self.descriptor)
        return code

    def _copy(self) -> None:
        source = self._process.stdout
        if source is None:
            return
        with source:
            while content := os.read(source.fileno(), 1 << 16):
                self._log.write(content)


def listening(host: str, port: int) -> Callable[[], bool]:
    """The readiness check of a child that accepts connections at `host`:`port`."""

    def ready() -> bool:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((host, port)) == 0

    return ready
