"""Control: a socket of one's own, exactly the given methods, and clear words where nobody answers."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tacit.strategies import control
from tacit.strategies.control import (
    SOCKET,
    ControlError,
    ControlServer,
    DeclinedError,
    NotRunningError,
    RunningError,
)


def declining(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise DeclinedError("approve the run first")


def breaking(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ZeroDivisionError("a fault of ours")


METHODS = {"echo": lambda asked: {"said": asked}, "no": declining, "break": breaking, "list": lambda _: [1]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / SOCKET


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    with ControlServer(path, METHODS) as made:
        yield made


def ask(path: Path, method: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return control.call(path, method, request, start="tacit server start HERE", timeout=10.0)


@pytest.mark.parametrize("value", [{}, {"a": [1, 2.5, None, True]}, {"ε": "δ"}, {"long": "x" * 1_000_000}])
def test_what_is_asked_arrives_and_what_is_answered_comes_back(
    server: ControlServer, path: Path, value: dict[str, Any]
) -> None:
    assert ask(path, "echo", value) == {"said": value}


def test_the_socket_is_its_users_only_and_nothing_else_is_left_beside_it(server: ControlServer, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [SOCKET]


def test_the_folder_of_a_socket_is_made_for_its_user_only(tmp_path: Path) -> None:
    with ControlServer(tmp_path / "new" / SOCKET, METHODS):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_health_is_what_the_daemon_says_of_itself(server: ControlServer, path: Path) -> None:
    assert not control.healthy(path, start="")
    server.serving(True)
    assert control.healthy(path, start="")
    server.serving(False)
    assert not control.healthy(path, start="")


def test_where_nobody_runs_the_error_says_what_to_type(path: Path) -> None:
    with pytest.raises(NotRunningError, match="start it with `tacit server start HERE`"):
        ask(path, "echo")


def test_a_dead_daemons_socket_is_nobody_and_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunningError):
        ask(path, "echo")
    with ControlServer(path, METHODS):
        assert ask(path, "echo") == {"said": {}}
    assert not path.exists()


def test_a_living_daemons_socket_is_not_taken(server: ControlServer, path: Path) -> None:
    with pytest.raises(RunningError, match="stop it first"):
        ControlServer(path, METHODS)
    assert ask(path, "echo") == {"said": {}}


def test_closing_leaves_anothers_socket_alone(path: Path) -> None:
    first = ControlServer(path, METHODS)
    path.unlink()
    with ControlServer(path, METHODS):
        first.close()
        assert ask(path, "echo") == {"said": {}}


def test_the_daemons_no_reaches_the_caller_in_its_words(server: ControlServer, path: Path) -> None:
    with pytest.raises(DeclinedError, match=r"^approve the run first$"):
        ask(path, "no")


def test_a_method_that_is_not_in_the_mapping_does_not_exist(server: ControlServer, path: Path) -> None:
    with pytest.raises(ControlError, match="knows no close"):
        ask(path, "close")


@pytest.mark.parametrize("method", ["break", "list"])
def test_a_fault_in_the_daemon_is_an_error_here(server: ControlServer, path: Path, method: str) -> None:
    with pytest.raises(ControlError):
        ask(path, method)
    assert ask(path, "echo") == {"said": {}}


def test_a_daemon_that_hangs_is_said_to_hang(path: Path) -> None:
    release = threading.Event()

    def hang(_: Mapping[str, Any]) -> Mapping[str, Any]:
        release.wait(30)
        return {}

    with ControlServer(path, {"hang": hang}):
        with pytest.raises(ControlError, match=r"did not answer hang within 0\.2 s"):
            control.call(path, "hang", start="", timeout=0.2)
        release.set()


def test_a_file_that_is_no_socket_is_named(path: Path) -> None:
    path.write_text("")
    with pytest.raises(ControlError, match="is no socket"):
        ask(path, "echo")


@pytest.mark.parametrize("name", ["a" * 120, "odd % # ? name", "ünï"])
def test_a_folders_name_may_be_long_and_odd(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / SOCKET
    with ControlServer(path, METHODS):
        assert ask(path, "echo") == {"said": {}}


def test_two_daemons_are_never_mistaken_for_each_other(tmp_path: Path) -> None:
    def names(name: str) -> control.Methods:
        return {"name": lambda _: {"name": name}}

    with ControlServer(tmp_path / "a" / SOCKET, names("a")), ControlServer(tmp_path / "b" / SOCKET, names("b")):
        for _ in range(10):
            assert ask(tmp_path / "a" / SOCKET, "name") == {"name": "a"}
            assert ask(tmp_path / "b" / SOCKET, "name") == {"name": "b"}


def test_no_descriptor_is_left_open(server: ControlServer, path: Path) -> None:
    ask(path, "echo")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        ask(path, "echo")
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # gRPC keeps a few of its own


def test_stop_returns_when_the_process_is_gone(path: Path) -> None:
    program = (
        "import os, sys, threading; from pathlib import Path; from tacit.strategies.control import ControlServer\n"
        "done = threading.Event()\n"
        "def stop(_):\n    done.set()\n    return {'pid': os.getpid()}\n"
        "with ControlServer(Path(sys.argv[1]), {'stop': stop}) as server:\n"
        "    print('up', flush=True)\n    done.wait(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert control.stop(path, start="", timeout=30.0) == process.pid
        assert process.poll() is not None or process.wait(1.0) == 0
    assert not path.exists()


def test_a_process_that_does_not_stop_is_named(path: Path) -> None:
    here = ControlServer(path, {"stop": lambda _: {"pid": os.getpid()}})
    with here, pytest.raises(ControlError, match=f"kill -9 {os.getpid()}"):
        control.stop(path, start="", timeout=0.1)


def test_what_a_killed_daemon_left_half_made_is_no_hindrance(path: Path) -> None:
    (path.parent / f".{SOCKET}.new").mkdir()
    (path.parent / f".{SOCKET}.new" / SOCKET).write_text("")
    with ControlServer(path, METHODS):
        assert [each.name for each in path.parent.iterdir()] == [SOCKET]


def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(OSError, match="proc"):
        ControlServer(Path("/proc/self") / SOCKET, METHODS)
