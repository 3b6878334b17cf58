"""The server's methods: its own, and those that a child of it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tacit.server import control
from tacit.server.supervisor import Supervisor
from tacit.strategies.control import SOCKET, ControlError, ControlServer, DeclinedError, RestartingError


def declining(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise DeclinedError("a run is under way")


def test_status_and_stop_are_the_supervisors(tmp_path: Path) -> None:
    with Supervisor(tmp_path, []) as supervisor, ControlServer(tmp_path / SOCKET, control.methods(supervisor)):
        status = control.ask(tmp_path, "status")
        assert status["pid"] == os.getpid()
        assert status["ready"]
        assert status["children"] == []
        assert control.ask(tmp_path, "stop") == {"pid": os.getpid()}
        assert not control.ask(tmp_path, "status")["ready"]


def test_what_a_child_answers_is_answered_for_it(tmp_path: Path) -> None:
    inner = tmp_path / "coordinator.sock"
    outer = control.forwarded(inner, ("runs", "run"), start="tacit server start")
    with ControlServer(tmp_path / SOCKET, outer):
        with pytest.raises(RestartingError, match="is being started again"):
            control.ask(tmp_path, "runs")
        with ControlServer(inner, {"runs": lambda asked: {"asked": asked}, "run": declining}):
            assert control.ask(tmp_path, "runs", {"last": 3}) == {"asked": {"last": 3}}
            with pytest.raises(DeclinedError, match=r"^a run is under way$"):
                control.ask(tmp_path, "run")
        with pytest.raises(ControlError, match="knows no stop"):
            control.ask(tmp_path, "stop")


def test_a_child_is_ready_when_its_socket_says_so(tmp_path: Path) -> None:
    ready = control.answers(tmp_path / SOCKET)
    assert not ready()
    with ControlServer(tmp_path / SOCKET, {}) as server:
        assert not ready()
        server.serving(True)
        assert ready()
    assert not ready()
