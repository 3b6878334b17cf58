"""Notify: systemd's datagrams, and silence where nobody listens."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tacit.strategies.notify import ALIVE, READY, notify, watchdog


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@tacit-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if abstract else name)
        assert notify(READY, "STATUS=two owners", environment={"NOTIFY_SOCKET": name})
        assert listener.recv(100) == b"READY=1\nSTATUS=two owners"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_to_tell_is_no_fault(environment: dict[str, str]) -> None:
    assert not notify(ALIVE, environment=environment)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_asks(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog(environment) == seconds
