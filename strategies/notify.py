"""Notify: what a daemon tells whoever started it, by systemd's protocol (sd_notify(3)): ready, alive, stopping.

One datagram to the Unix socket that `NOTIFY_SOCKET` names. Who is not there to be told is no fault of the daemon, so
nothing here raises.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # not for children: only the daemon itself may speak


def notify(*states: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send `states`, such as `READY` or `"STATUS=two owners"`; False where nobody could be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    name = "\0" + address[1:] if address.startswith("@") else address  # @: Linux's abstract names
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as said:
        said.sendto("\n".join(states).encode(), name)
        return True
    return False


def watchdog(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two `ALIVE`, half of what systemd waits for; None where it does not watch this process."""
    period, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not period.isdigit() or (process and process != str(os.getpid())):
        return None
    return int(period) / 2e6 or None
