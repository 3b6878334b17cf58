"""Service: a supervisor as a daemon. One per folder, with its control socket, its signals, and word to who started it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..strategies.control import SOCKET, ControlServer, Methods
from ..strategies.lock import FolderLock
from ..strategies.notify import ALIVE, READY, STOPPING, notify, watchdog
from .audit import Audit, AuditError
from .child import Child
from .control import methods
from .rate import Rate
from .supervisor import Observe, Pace, Supervisor

log = logging.getLogger(__name__)

AUDIT = "audit.jsonl"
_A_MINUTE = 120  # events that the audit log takes in a minute; of more it holds their number
_BEAT = 1.0  # seconds between two looks at whether all is well


def serve(
    folder: Path, children: Sequence[Child], further: Methods | None = None, pace: Pace | None = None,
    observe: Observe | None = None,
) -> None:  # fmt: skip
    """Run `children` in `folder` until SIGTERM, SIGINT, or the method `stop`; for a main thread. Beside its own, the control
    socket answers the `further` methods; what happens is told to `observe` too.

    Raises `LockError` where another process works in this folder, `StartError`, `StrayError`, `AuditError`, `OSError`.
    """
    os.umask(0o077)  # what this process writes from now on is its user's only
    with FolderLock(folder):
        audit = Audit(folder / AUDIT)
        supervisor = Supervisor(folder, children, pace=pace, observe=_noting(audit, observe))
        with (
            _stopped_by_signals(supervisor),  # outermost: a second signal must not disturb the end of the children
            supervisor,
            ControlServer(folder / SOCKET, {**methods(supervisor), **(further or {})}) as control,
        ):
            audit.secure("server-starting")
            supervisor.start()
            if supervisor.ready():
                control.serving(True)
                audit.secure("server-ready")
                notify(READY)

            def beat() -> None:
                control.serving(supervisor.ready())
                notify(ALIVE)

            supervisor.watch(beat, min(_BEAT, watchdog() or _BEAT))
            control.serving(False)
            notify(STOPPING)
        audit.secure("server-stopped")


def _noting(audit: Audit, further: Observe | None) -> Observe:
    rate = Rate(_A_MINUTE)

    def observe(event: str, facts: Mapping[str, Any]) -> None:
        if further is not None:
            further(event, facts)
        if not rate.passes():
            return
        try:
            if held := rate.held():
                audit.note("events-not-noted", count=held)
            audit.note(event, **facts)
        except AuditError as error:  # a full disk must not end what still runs
            log.error("%s", error)

    return observe


@contextlib.contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        supervisor.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
