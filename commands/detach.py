"""Detach: starts a daemon in a session of its own and returns when it says that it is ready.

The daemon says so as it does to systemd, so it needs to know nothing of this.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..server.logfile import tail
from ..strategies.notify import READY
from .faults import FailedError
from .screen import say, show_json

_PATIENCE = 120.0  # seconds until a daemon must be ready
_ENDING = 30.0  # seconds that a daemon which was not ready in time has to end


def verb(*words: str) -> list[str]:
    """The command line of `tacit WORDS…` by this very installation, whatever lies in the folder where it is typed."""
    return [sys.executable, "-P", "-m", "tacit", *words]


def start(side: str, folder: Path, seed: int | None, as_json: bool) -> None:
    """`tacit SIDE start` in the background; says which process it is once that is ready."""
    seeded = [] if seed is None else ["--insecure-seed", str(seed)]
    place = folder.absolute()
    process = detached(verb(side, "start", "--dir", str(place), *seeded), place)
    if as_json:
        show_json({"pid": process, "folder": str(place)})
    else:
        say(f"ready: process {process}; `tacit {side} stop --dir {folder}` ends it")


def detached(argv: Sequence[str], folder: Path, patience: float = _PATIENCE) -> int:
    """Start the daemon `argv` in `folder`; its process id, once it is ready. What it prints is in `logs/start.log` there.

    Raises `FailedError` with the end of that file where it ends before, or is not ready within `patience` seconds.
    """
    log = folder / "logs" / "start.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tacit-") as private,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said,
    ):
        said.bind(str(Path(private) / "notify"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(Path(private) / "notify")}
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            daemon = subprocess.Popen(
                argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(output)
        try:
            fault = _fault(daemon, said, patience)
        except BaseException:  # Ctrl-C here is meant for the daemon too, which has left this terminal
            _end(daemon)
            raise
    if fault:
        _end(daemon)
        raise FailedError(f"the daemon {fault}; the end of {log}:\n{tail(log) or 'it printed nothing'}")
    daemon.returncode = 0  # it lives on, and this object is done with it
    return daemon.pid


def _fault(daemon: subprocess.Popen[bytes], said: socket.socket, patience: float) -> str:
    """Empty once the daemon is ready; otherwise what went wrong."""
    until = time.monotonic() + patience
    ended = os.pidfd_open(daemon.pid)
    try:
        while (left := until - time.monotonic()) > 0:
            heard, _, _ = select.select([said.fileno(), ended], [], [], left)
            if said.fileno() in heard and READY in said.recv(4096).decode("utf-8", "replace").splitlines():
                return ""
            if ended in heard:
                return f"ended with exit code {daemon.wait()} before it was ready"
    finally:
        os.close(ended)
    return f"was not ready within {patience:g} s and was stopped"


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)  # nothing where it has ended already
    try:
        daemon.wait(_ENDING)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
