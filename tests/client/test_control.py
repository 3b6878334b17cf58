"""The agent's methods: exactly what its administrator may ask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tacit.client import control
from tacit.strategies.control import SOCKET, ControlError, ControlServer, NotRunningError


class Agent:
    """Only knows whether it is paused and whether it was stopped."""

    def __init__(self) -> None:
        self.paused = self.stopped = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stop(self) -> None:
        self.stopped = True

    def status(self) -> Mapping[str, Any]:
        return {"assets": {"ward3": {}}, "pid": "of somebody else"}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent()
    with ControlServer(tmp_path / SOCKET, control.methods(made)) as server:
        server.serving(True)
        yield made


def test_an_agent_is_asked_paused_resumed_and_stopped(agent: Agent, tmp_path: Path) -> None:
    assert control.healthy(tmp_path)
    status = control.ask(tmp_path, "status")
    assert (status["pid"], status["paused"], status["assets"]) == (os.getpid(), False, {"ward3": {}})
    assert control.ask(tmp_path, "pause") == {"paused": True}
    assert control.ask(tmp_path, "status")["paused"]
    assert control.ask(tmp_path, "resume") == {"paused": False}
    assert control.ask(tmp_path, "stop") == {"pid": os.getpid()}
    assert agent.stopped


@pytest.mark.parametrize("method", ["approve", "load", "Status", ""])
def test_nothing_else_can_be_asked(agent: Agent, tmp_path: Path, method: str) -> None:
    with pytest.raises(ControlError):
        control.ask(tmp_path, method)


def test_where_none_runs_the_remedy_is_the_clients(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match=f"tacit client start --dir {tmp_path}"):
        control.stop(tmp_path)
