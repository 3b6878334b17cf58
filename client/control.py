"""Control of an owner's agent: what its socket answers, and how the verbs ask.

| method | answers                                                                             |
|--------|-------------------------------------------------------------------------------------|
| status | `pid`, `version`, `paused`, and what else the agent says of itself                    |
| pause  | `paused`: true, from the next request on; what is under way is finished, as it is charged |
| resume | `paused`: false                                                                     |
| stop   | `pid`, at once                                                                      |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .. import __version__
from ..strategies import control
from ..strategies.control import SOCKET, Methods

_STOPPING = 60.0  # seconds; a local step that has begun may end


class Agent(Protocol):
    """What the socket needs of the long-lived process; called from other threads than its own."""

    @property
    def paused(self) -> bool:
        """Whether requests are left waiting."""
        ...

    def pause(self) -> None:
        """Leave requests waiting, from the next one on, and after a restart too."""
        ...

    def resume(self) -> None:
        """Answer requests again."""
        ...

    def stop(self) -> None:
        """End the process soon; returns at once."""
        ...

    def status(self) -> Mapping[str, Any]:
        """JSON for the owner's administrator: assets, what is spent, what waits for approval, the last refusals."""
        ...


def methods(agent: Agent) -> Methods:
    """What every agent's socket answers."""

    def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**agent.status(), "pid": os.getpid(), "version": __version__, "paused": agent.paused}

    def pause(_: Mapping[str, Any]) -> Mapping[str, Any]:
        agent.pause()
        return {"paused": agent.paused}

    def resume(_: Mapping[str, Any]) -> Mapping[str, Any]:
        agent.resume()
        return {"paused": agent.paused}

    def stop(_: Mapping[str, Any]) -> Mapping[str, Any]:
        agent.stop()
        return {"pid": os.getpid()}

    return {"status": status, "pause": pause, "resume": resume, "stop": stop}


def ask(folder: Path, method: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer of the agent of `folder`; raises `ControlError`."""
    return control.call(folder / SOCKET, method, request, start=starting(folder))


def healthy(folder: Path) -> bool:
    """Whether the agent of `folder` serves; raises `ControlError`, `NotRunningError` where none runs."""
    return control.healthy(folder / SOCKET, start=starting(folder))


def stop(folder: Path, timeout: float = _STOPPING) -> int:
    """Stop the agent of `folder`; returns the id of the process that is gone now."""
    return control.stop(folder / SOCKET, start=starting(folder), timeout=timeout)


def starting(folder: Path) -> str:
    """What to type where no agent runs."""
    return f"tacit client start --dir {folder}"
