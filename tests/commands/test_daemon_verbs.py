"""The verbs that talk to daemons, and the start of one that stays: real sockets, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tacit.client import control as client_control
from tacit.commands.detach import detached, verb
from tacit.commands.faults import FailedError
from tacit.strategies.control import SOCKET, ControlServer

HELLO = "import os, socket, time; print('hello', flush=True)\n"
TELL = (
    "with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:\n"
    "    for states in (b'WATCHDOG=1', b'STATUS=x\\nREADY=1'): said.sendto(states, os.environ['NOTIFY_SOCKET'])\n"
)
STAY = "time.sleep(600)"


def child(state: str) -> Mapping[str, Any]:
    return {
        "name": "superlink", "state": state, "pid": 7 if state == "running" else None, "seconds": 3.2, "restarts": 2,
        "last_exit": -9, "log": "/x/superlink.log",
    }  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A server's socket whose one child is in the given state."""
    state = ["running"]

    def status(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"pid": 1, "version": "v", "ready": state[0] == "running", "children": [child(state[0])]}

    with ControlServer(tmp_path / "server" / SOCKET, {"status": status}):
        yield lambda now: state.__setitem__(0, now)


class Agent:
    """An agent that only knows whether it is paused."""

    paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stop(self) -> None:
        """Not asked in this file."""

    def status(self) -> Mapping[str, Any]:
        return {"assets": {"ward3": {"epsilon": 1.5}}, "waiting": []}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent at its socket."""
    made = Agent()
    with ControlServer(tmp_path / "agent" / SOCKET, client_control.methods(made)):
        yield made


def test_the_status_of_a_server_is_its_childrens(program, server) -> None:
    ended = program("server", "status")
    assert ended.code == 0
    assert "process 1, Tacit v: ready" in ended.out
    assert "superlink" in ended.out
    server("waiting")
    ended = program("server", "status")
    assert ended.code == 1
    assert "not ready" in ended.out
    assert "waiting (last exit -9)" in ended.out
    ended = program("server", "status", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["children"] == [child("waiting")]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("server", "status"), "tacit server start --dir server"),
        (("server", "stop"), "tacit server start --dir server"),
        (("client", "status"), "tacit client start --dir agent"),
        (("client", "pause"), "tacit client start --dir agent"),
        (("client", "resume"), "tacit client start --dir agent"),
        (("client", "stop"), "tacit client start --dir agent"),
    ],
)
def test_where_no_daemon_runs_each_verb_says_what_to_type(program, words: tuple[str, ...], remedy: str) -> None:
    ended = program(*words)
    assert ended.code == 1
    assert f"start it with `{remedy}`" in ended.err


def test_an_agent_is_paused_and_goes_on(program, agent: Agent) -> None:
    assert "at work" in program("client", "status").out
    assert program("client", "pause").code == 0
    assert agent.paused
    ended = program("client", "status")
    assert ended.code == 0
    assert "paused" in ended.out
    assert "assets: ward3 epsilon 1.5" in ended.out
    assert json.loads(program("client", "resume", "--json").out) == {"paused": False}
    assert not agent.paused


def test_asking_a_daemon_loads_neither_torch_nor_an_accountant(agent: Agent, tmp_path: Path) -> None:
    code = (
        "import sys; from tacit.commands.main import execute; assert execute(['client', 'status']) == 0\n"
        "print([m for m in ('torch', 'dp_accounting', 'numpy', 'flwr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("group", ["server", "client"])
def test_stop_waits_until_the_daemon_is_gone(program, tmp_path: Path, group: str) -> None:
    folder = tmp_path / {"server": "server", "client": "agent"}[group]
    code = (
        "import os, sys, threading; from pathlib import Path; from tacit.strategies.control import SOCKET, ControlServer\n"
        "from tacit.strategies.notify import READY, notify\n"
        "done = threading.Event()\n"
        "def stop(_):\n    done.set()\n    return {'pid': os.getpid()}\n"
        "with ControlServer(Path(sys.argv[1]) / SOCKET, {'stop': stop}):\n    notify(READY)\n    done.wait(60)\n"
    )
    process = detached([sys.executable, "-c", code, str(folder)], folder)
    ended = program(group, "stop", "--json")
    assert (ended.code, json.loads(ended.out)) == (0, {"stopped": process})
    assert {path.name for path in folder.iterdir()} == {"logs"}


def test_a_daemon_that_is_ready_lives_on_in_a_session_of_its_own(tmp_path: Path) -> None:
    process = detached([sys.executable, "-c", HELLO + TELL + STAY], tmp_path)
    try:
        assert os.getsid(process) == process
        assert (tmp_path / "logs" / "start.log").read_text() == "hello\n"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_a_daemon_that_ends_before_it_is_ready_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"ended with exit code 3 before it was ready(.|\n)*no certificate"):
        detached([sys.executable, "-c", "print('no certificate'); raise SystemExit(3)"], tmp_path)


def test_a_daemon_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"was not ready within 0\.5 s and was stopped"):
        detached([sys.executable, "-c", HELLO + STAY], tmp_path, patience=0.5)


def test_a_verb_is_this_installations_wherever_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "tacit").mkdir()
    (tmp_path / "tacit" / "__init__.py").write_text("raise SystemExit('a stranger')")
    done = subprocess.run(verb("--version"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip()
