"""The supervisor's pace, and what it knows of its children."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.server.child import Child
from tacit.server.supervisor import Pace, StartError, Supervisor

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


@given(st.integers(1, 10_000), st.floats(0.001, 10), st.floats(10, 1000))
def test_pauses_grow_and_are_bounded(failures: int, least: float, most: float) -> None:
    pace = Pace(least, most)
    assert least <= pace.pause(failures) <= pace.pause(failures + 1) <= most


def test_status_is_known_before_during_and_after(tmp_path: Path) -> None:
    seen: list[tuple[str, object]] = []
    supervisor = Supervisor(
        tmp_path, [Child("a", SLEEP), Child("b", SLEEP)], observe=lambda event, facts: seen.append((event, facts))
    )
    with supervisor:
        assert [(each.state, each.pid) for each in supervisor.status()] == [("stopped", None)] * 2
        supervisor.start()
        assert supervisor.ready()
        assert [each.name for each in supervisor.status()] == ["a", "b"]
        assert all(each.state == "running" and each.pid and each.restarts == 0 for each in supervisor.status())
    assert not supervisor.ready()
    assert [each.state for each in supervisor.status()] == ["stopped"] * 2
    assert seen == [("child-ready", {"child": "a"}), ("child-ready", {"child": "b"})]


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = r"a did not come up \(exit code 126\)(.|\n)*/nowhere/at/all: No such file"
    child = Child("a", ("/nowhere/at/all",), ready=lambda: False)
    with Supervisor(tmp_path, [child]) as supervisor, pytest.raises(StartError, match=said):
        supervisor.start()


def test_a_stop_during_the_start_ends_it(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, [Child("a", SLEEP, ready=lambda: supervisor.stop() or False), Child("b", SLEEP)])
    with supervisor:
        supervisor.stop()
        supervisor.start()
        assert supervisor.status()[1].state == "stopped"
        assert not supervisor.ready()


def test_secrets_of_the_environment_are_in_no_text_of_a_child() -> None:
    child = Child("a", SLEEP, environment={"TOKEN": "s3cret"})
    assert "s3cret" not in repr(child)
