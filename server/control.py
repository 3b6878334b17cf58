"""Control of the server daemon: what its socket answers, and how the verbs ask.

| method | answers                                                                    |
|--------|----------------------------------------------------------------------------|
| status | `pid`, `version`, `ready`, `children`: each as `ChildStatus.to_json` has it |
| stop   | `pid`, at once; the daemon then ends its children in reverse order and itself |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..strategies import control
from ..strategies.control import SOCKET, Method, Methods
from .supervisor import Supervisor

# The coordinator's own socket, and what it answers there: the supervisor forwards, and needs none of its weight.
COORDINATOR = "coordinator.sock"
COORDINATOR_METHODS = ("run", "runs", "show", "again", "agents", "metrics")

_STOPPING = 60.0  # seconds; a coordinator may be writing a large checkpoint


def methods(supervisor: Supervisor) -> Methods:
    """What every server's socket answers."""

    def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        children = supervisor.status()
        return {
            "pid": os.getpid(),
            "version": __version__,
            "ready": supervisor.ready(),
            "children": [child.to_json() for child in children],
        }

    def stop(_: Mapping[str, Any]) -> Mapping[str, Any]:
        supervisor.stop()
        return {"pid": os.getpid()}

    return {"status": status, "stop": stop}


def forwarded(path: Path, names: Iterable[str], *, start: str) -> Methods:
    """Methods that the child serving the socket `path` answers: the operator's verbs need to know one socket only.

    They raise `RestartingError` while the child is away: the supervisor that forwards is there, so it is being started.
    """

    def to(name: str) -> Method:
        def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
            try:
                return control.call(path, name, request, start=start)
            except control.NotRunningError as error:
                raise control.RestartingError(
                    f"{path.parent}: the coordinator is being started again; ask once more in a moment, or see "
                    f"`tacit server status --dir {path.parent}`"
                ) from error

        return ask

    return {name: to(name) for name in names}


def ask(folder: Path, method: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer of the server of `folder`; raises `ControlError`."""
    return control.call(folder / SOCKET, method, request, start=starting(folder))


def healthy(folder: Path) -> bool:
    """Whether the server of `folder` serves; raises `ControlError`, `NotRunningError` where none runs."""
    return control.healthy(folder / SOCKET, start=starting(folder))


def stop(folder: Path, timeout: float = _STOPPING) -> int:
    """Stop the server of `folder`; returns the id of the process that is gone now."""
    return control.stop(folder / SOCKET, start=starting(folder), timeout=timeout)


def answers(path: Path) -> Callable[[], bool]:
    """Whether the child serving the socket `path` says that it serves: a readiness check for `Child`."""

    def ready() -> bool:
        try:
            return control.healthy(path, start="", timeout=1.0)
        except control.ControlError:
            return False

    return ready


def starting(folder: Path) -> str:
    """What to type where no server runs."""
    return f"tacit server start --dir {folder}"
