"""The server as a daemon, on real processes: whatever is killed, what should run runs, and what should not does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tacit.server import audit, control
from tacit.server.service import AUDIT
from tacit.strategies.control import SOCKET, ControlError, NotRunningError

SERVE = """
import json, logging, sys
from pathlib import Path
from tacit.server.child import Child, listening
from tacit.server.service import serve
from tacit.server.supervisor import Pace

logging.basicConfig(level="INFO")
folder, rows = Path(sys.argv[1]), json.loads(sys.argv[2])
children = [
    Child(
        row["name"], (sys.executable, "-c", row["code"], *row.get("arguments", [])), grace=row.get("grace", 5.0),
        patience=row.get("patience", 20.0), **({"ready": listening("127.0.0.1", row["port"])} if "port" in row else {}),
    )
    for row in rows
]
serve(folder, children, pace=Pace(least=0.05, most=0.2, probe=0.1))
"""
Row = dict[str, Any]
SLEEP = "import time; print('at work', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()[0].close()"
)
PARENT = (  # has a child in its own session, and one that has left it
    "import subprocess, sys, time; c = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "ps = [subprocess.Popen(c), subprocess.Popen(c, start_new_session=True)]\n"
    "open(sys.argv[1], 'w').write(' '.join(str(p.pid) for p in ps)); time.sleep(600)"
)
ORDER = (
    "import signal, sys, time\ndef end(*_):\n    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
    "signal.signal(signal.SIGTERM, end); open(sys.argv[1], 'a').write(sys.argv[2]); time.sleep(600)"
)
A, B = {"name": "a", "code": SLEEP}, {"name": "b", "code": SLEEP}


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition` holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs: it exists and is no zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """A server in a process of its own."""

    def __init__(self, folder: Path, rows: Sequence[Row], environment: dict[str, str]) -> None:
        self.folder, self.output = folder, folder.with_name("said")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(folder), json.dumps(rows)], stdout=output, stderr=output,
                env={**os.environ, **environment},
            )  # fmt: skip

    def ready(self) -> bool:
        """Whether it says that it serves."""
        assert self.process.poll() is None, self.said()
        with suppress(ControlError):
            return control.healthy(self.folder)
        return False

    def said(self) -> str:
        return self.output.read_text()

    def children(self) -> dict[str, Row]:
        """The children as `status` has them."""
        return {row["name"]: row for row in control.ask(self.folder, "status")["children"]}

    def pids(self) -> dict[str, int]:
        return {name: row["pid"] for name, row in self.children().items()}

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


Start = Callable[..., Daemon]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a server."""
    path = tmp_path / "server"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts daemons on `folder` that do not outlive the test."""
    begun: list[Daemon] = []

    def begin(*rows: Row, wait: bool = True, environment: dict[str, str] | None = None) -> Daemon:
        daemon = Daemon(folder, rows, environment or {})
        begun.append(daemon)
        if wait:
            eventually(daemon.ready)
        return daemon

    yield begin
    for daemon in begun:
        daemon.process.send_signal(signal.SIGTERM)
        try:
            daemon.process.wait(20.0)
        except subprocess.TimeoutExpired:
            daemon.kill()


def test_a_child_that_is_killed_is_started_again_and_the_others_are_let_be(start: Start, folder: Path) -> None:
    daemon = start(A, B)
    before = daemon.pids()
    os.kill(before["a"], signal.SIGKILL)
    eventually(lambda: daemon.children()["a"]["restarts"] == 1 and daemon.ready())
    after = daemon.children()
    assert after["b"]["pid"] == before["b"]
    assert after["a"]["pid"] != before["a"]
    assert after["a"]["last_exit"] == -signal.SIGKILL
    assert alive(after["a"]["pid"])
    ended = [entry["facts"] for entry in audit.entries(folder / AUDIT) if entry["event"] == "child-ended"]
    assert ended == [{"child": "a", "exit": -signal.SIGKILL}]


def test_children_die_with_a_supervisor_that_is_killed_and_the_next_start_runs(start: Start) -> None:
    daemon = start(A, B)
    before = daemon.pids()
    daemon.kill()
    eventually(lambda: not any(alive(pid) for pid in before.values()))
    again = start(A, B)
    assert set(again.pids().values()).isdisjoint(before.values())


def test_the_next_start_clears_away_what_survived_a_kill(start: Start, tmp_path: Path) -> None:
    daemon = start({"name": "a", "code": PARENT, "arguments": [str(tmp_path / "pids")]})
    eventually(lambda: len((tmp_path / "pids").read_text().split()) == 2 if (tmp_path / "pids").exists() else False)
    strays = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    daemon.kill()
    eventually(lambda: not alive(daemon.process.pid))
    assert all(alive(pid) for pid in strays)  # nobody's children now: the kernel's promise is not inherited
    start(A)
    assert not any(alive(pid) for pid in strays)


def test_an_innocent_process_with_a_recorded_number_is_not_touched(start: Start, folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL) as innocent:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        row = {"pid": innocent.pid, "start": 1, "argv": [sys.executable, "-c", SLEEP]}
        (folder / "children.json").write_text(json.dumps({"mark": "0" * 32, "boot": boot, "children": {"a": row}}))
        start(A)
        assert innocent.poll() is None
        innocent.kill()


def test_two_starts_on_one_folder_are_refused(start: Start) -> None:
    daemon = start(A)
    before = daemon.pids()
    second = start(A, wait=False)
    assert second.process.wait(30.0) == 1
    assert f"process {daemon.process.pid} works in this folder already" in second.said()
    assert daemon.ready()
    assert daemon.pids() == before


@pytest.mark.parametrize("how", ["stop", "SIGTERM", "SIGINT"])
def test_a_stopped_server_leaves_nothing_behind(start: Start, folder: Path, tmp_path: Path, how: str) -> None:
    daemon = start({"name": "a", "code": PARENT, "arguments": [str(tmp_path / "pids")]}, B)
    eventually(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2)
    pids = [*daemon.pids().values(), *map(int, (tmp_path / "pids").read_text().split())]
    if how == "stop":
        assert control.stop(folder, 30.0) == daemon.process.pid
    else:
        daemon.process.send_signal(signal.Signals[how])
    assert daemon.process.wait(30.0) == 0
    assert not any(alive(pid) for pid in pids)
    assert {path.name for path in folder.iterdir()} == {"lock", "logs", AUDIT}
    with pytest.raises(NotRunningError, match=f"tacit server start --dir {folder}"):
        control.ask(folder, "status")
    events = [entry["event"] for entry in audit.entries(folder / AUDIT)]
    assert events[0] == "server-starting"
    assert events[-1] == "server-stopped"


def test_children_start_in_order_and_stop_in_reverse(start: Start, tmp_path: Path) -> None:
    order, said = tmp_path / "order", [{"name": name, "code": ORDER} for name in "abc"]
    daemon = start(*({**row, "arguments": [str(order), row["name"]]} for row in said))
    eventually(lambda: order.exists() and len(order.read_text()) == 3)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(30.0)
    assert order.read_text()[3:] == "cba"


def test_a_child_that_does_not_listen_to_reason_is_killed(start: Start) -> None:
    daemon = start({"name": "a", "code": DEAF, "grace": 0.2})
    pid = daemon.pids()["a"]
    eventually(lambda: Path(daemon.children()["a"]["log"]).read_text())
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(30.0) == 0
    assert not alive(pid)


def test_a_child_that_hangs_is_killed_and_started_again(start: Start) -> None:
    port = free_port()
    daemon = start({"name": "a", "code": LISTEN, "arguments": [str(port)], "port": port, "patience": 4.0})
    before = daemon.pids()["a"]
    os.kill(before, signal.SIGSTOP)
    fill = [socket.socket() for _ in range(200)]  # the kernel goes on accepting until the backlog is full
    try:
        for each in fill:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        eventually(lambda: not alive(before))
    finally:
        for each in fill:
            each.close()
    eventually(lambda: daemon.children()["a"]["state"] == "running" and daemon.ready())
    assert daemon.children()["a"]["restarts"] >= 1


def test_a_server_is_ready_only_while_every_child_is(start: Start) -> None:
    port = free_port()
    slow = {"name": "a", "code": f"import time; time.sleep(0.5)\n{LISTEN}", "arguments": [str(port)], "port": port}
    daemon = start(slow)
    os.kill(daemon.pids()["a"], signal.SIGKILL)
    eventually(lambda: not daemon.ready())
    eventually(daemon.ready)


FAILING = "import time; time.sleep(0.3); raise SystemExit('no such certificate')"


@pytest.mark.parametrize(("code", "said"), [(FAILING, "no such certificate"), (SLEEP, "did not come up (SIGKILL)")])
def test_a_child_that_does_not_come_up_ends_the_start_with_its_own_words(start: Start, code: str, said: str) -> None:
    daemon = start(B, {"name": "a", "code": code, "port": free_port(), "patience": 2.0}, wait=False)
    assert daemon.process.wait(60.0) == 1
    assert said in daemon.said()
    assert not (daemon.folder / SOCKET).exists()
    assert not (daemon.folder / "children.json").exists()


def test_a_foreign_program_in_a_childs_place_is_not_taken_for_it(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        daemon = start({"name": "a", "code": SLEEP, "port": foreign.getsockname()[1]}, wait=False)
        assert daemon.process.wait(60.0) == 1
    assert "another program answers in its place already" in daemon.said()


def test_who_started_it_is_told_when_it_is_ready_and_its_children_tell_nobody(start: Start, tmp_path: Path) -> None:
    look = "import os, time; print([k for k in os.environ if k.startswith(('NOTIFY', 'WATCH'))], flush=True); time.sleep(600)"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30.0)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = start({"name": "a", "code": look}, environment=environment)
        assert listener.recv(100) == b"READY=1"
        assert [listener.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        log = Path(daemon.children()["a"]["log"])
        eventually(lambda: log.read_text() == "[]\n")
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: listener.recv(100) == b"STOPPING=1")


def test_every_file_is_its_users_only(start: Start, folder: Path) -> None:
    daemon = start(A)
    eventually(lambda: Path(daemon.children()["a"]["log"]).read_text() == "at work\n")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if not path.is_dir()}
    assert set(modes) == {"lock", SOCKET, AUDIT, "children.json", "a.log"}
    assert set(modes.values()) == {0o600}


def test_a_damaged_record_of_children_is_not_guessed_at(start: Start, folder: Path) -> None:
    (folder / "children.json").write_text("{")
    daemon = start(A, wait=False)
    assert daemon.process.wait(30.0) == 1
    assert "damaged" in daemon.said()
    assert "remove this file" in daemon.said()


def test_a_full_disk_ends_nothing_that_runs(start: Start, folder: Path) -> None:
    daemon = start(A, B)
    before = daemon.pids()
    (folder / AUDIT).unlink()
    (folder / AUDIT).symlink_to("/dev/full")
    (folder / "logs" / "a.log").unlink()
    (folder / "logs" / "a.log").symlink_to("/dev/full")
    os.kill(before["a"], signal.SIGKILL)
    eventually(lambda: daemon.children()["a"]["restarts"] == 1 and daemon.ready())
    assert daemon.pids()["b"] == before["b"]
    assert "child-ended cannot be recorded" in daemon.said()
    (folder / AUDIT).unlink()


def test_a_second_signal_does_not_disturb_the_end(start: Start) -> None:
    daemon = start(A, {"name": "b", "code": DEAF, "grace": 0.5})
    pids = daemon.pids()
    eventually(lambda: Path(daemon.children()["b"]["log"]).read_text())
    daemon.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(30.0) == 0
    assert not any(alive(pid) for pid in pids.values())
