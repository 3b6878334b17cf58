"""Supervisor: keeps the programs of one folder running, as one.

They start in order, each when the one before is ready; one that dies, or no longer says that it is ready, is started again
after a pause that doubles with each failure; they stop in reverse order. Nothing survives the supervisor: the kernel kills
the children when it dies (`leash`), and the next start on the folder clears away what could still be left (`strays`).

| state    | means                                                        |
|----------|--------------------------------------------------------------|
| starting | the process is there and not ready yet                       |
| running  | the process said that it is ready, lately                    |
| waiting  | the process died; the next is started after a pause          |
| stopped  | there is no process and there will be none                   |
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from .child import Child, Life, alive
from .logfile import LogFile
from .strays import Record, started, sweep

log = logging.getLogger(__name__)

State: TypeAlias = Literal["starting", "running", "waiting", "stopped"]
Observe: TypeAlias = Callable[[str, Mapping[str, Any]], None]
_RECORD = "children.json"
_SOON = 0.05  # seconds between two looks at a child that is starting


class StartError(RuntimeError):
    """A child did not come up; says what it said last."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. The pause before restart k after k failures in a row is min(`most`, `least` · 2^(k−1)); a child that lived for
    `settled` seconds has no failures any more. A running child is asked every `probe` seconds whether it is ready."""

    least: float = 0.2
    most: float = 30.0
    settled: float = 60.0
    probe: float = 5.0

    def pause(self, failures: int) -> float:
        """The pause after `failures` in a row."""
        return float(min(self.most, self.least * 2 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """What is known of a child. `seconds`: for how long it has been in this state; `last_exit`: negative for a signal."""

    name: str
    state: State
    pid: int | None
    seconds: float
    restarts: int
    last_exit: int | None
    log: str

    def to_json(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "name": self.name,
            "state": self.state,
            "pid": self.pid,
            "seconds": round(self.seconds, 1),
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "log": self.log,
        }


@dataclass(slots=True)
class _Seat:
    """A child's place: its process of now, and what became of the ones before."""

    child: Child
    log: LogFile
    state: State = "stopped"
    since: float = 0.0
    life: Life | None = None
    born: float = 0.0
    assured: float = 0.0  # when it last said that it is ready, or was started
    asked: float = 0.0
    due: float = 0.0
    failures: int = 0
    lives: int = 0
    last_exit: int | None = None

    def enter(self, state: State, now: float) -> None:
        self.state, self.since = state, now


class Supervisor:
    """Keeps `children` running. `start`, `watch` and `close` belong to one thread, best the main one: the children die with
    it. `stop`, `ready` and `status` may be called from any thread, `stop` from a signal handler too.

    The caller holds the `FolderLock` of `folder`. `observe(event, facts)` is told what happens, for audit and metrics.
    """

    def __init__(
        self, folder: Path, children: Sequence[Child], *, pace: Pace | None = None, observe: Observe | None = None
    ) -> None:
        self._folder, self._pace = folder, pace or Pace()
        self._observe = observe or _unobserved
        self._seats = [_Seat(child, LogFile(folder / "logs" / f"{child.name}.log")) for child in children]
        self._record = Record.fresh()
        self._stopping = threading.Event()
        self._awake, self._wake = socket.socketpair()
        self._wake.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Clear away what an earlier supervisor left, then start the children in order, each when the last is ready.

        Raises `StartError` where one does not come up in time, `StrayError`, `OSError`; `close` is still due.
        """
        left = Record.load(self._folder / _RECORD)
        if left is not None and (ended := sweep(left)):
            log.warning("ended %d processes that an earlier start had left behind", len(ended))
            self._observe("strays-ended", {"count": len(ended)})
        self._record.save(self._folder / _RECORD)
        for seat in self._seats:
            if seat.child.ready is not alive and seat.child.ready():
                raise StartError(
                    f"{seat.child.name}: another program answers in its place already; end it, or change the port"
                )
            self._launch(seat)
            while seat.state != "running" and not self._stopping.is_set():
                self._step()
                if seat.state == "waiting":
                    raise StartError(_unready(seat))
                self._rest(_SOON)
            if self._stopping.is_set():
                return

    def watch(self, beat: Callable[[], None] = lambda: None, every: float | None = None) -> None:
        """Keep the children running until `stop`; call `beat` at each change of `ready` and every `every` seconds."""
        due, was = 0.0, self.ready()
        while not self._stopping.is_set():
            self._step()
            now, ready = time.monotonic(), self.ready()
            if ready != was or (every is not None and now >= due):
                beat()
                due, was = now + (every or 0.0), ready
            self._rest(min(self._next(), due - now) if every is not None else self._next())

    def stop(self) -> None:
        """End `start` or `watch` soon; returns at once."""
        self._stopping.set()
        try:
            self._wake.send(b"\0")
        except (BlockingIOError, OSError):  # awake already, or closed
            return

    def ready(self) -> bool:
        """Whether every child runs."""
        return not self._stopping.is_set() and all(seat.state == "running" for seat in self._seats)

    def status(self) -> list[ChildStatus]:
        """Each child, in the order in which they start."""
        now = time.monotonic()
        return [
            ChildStatus(
                seat.child.name, seat.state, life.pid if (life := seat.life) is not None else None, now - seat.since,
                max(0, seat.lives - 1), seat.last_exit, str(seat.log.path),
            )
            for seat in self._seats
        ]  # fmt: skip

    def close(self) -> None:
        """End all children in reverse order and leave nothing behind."""
        self._stopping.set()
        for seat in reversed(self._seats):
            if seat.life is not None:
                if not seat.life.ended():
                    seat.life.ask()
                if not seat.life.wait(seat.child.grace):
                    log.warning("%s did not end within %g s and is killed", seat.child.name, seat.child.grace)
                self._bury(seat)
            seat.enter("stopped", time.monotonic())
            seat.log.close()
        sweep(self._record)  # a child's own children that have left its session
        (self._folder / _RECORD).unlink(missing_ok=True)
        self._awake.close()
        self._wake.close()

    def _step(self) -> None:
        """Move every seat by what has happened since."""
        for seat in self._seats:
            now = time.monotonic()
            if seat.life is None:
                if seat.state == "waiting" and now >= seat.due:
                    self._launch(seat)
            elif seat.life.ended():
                self._failed(seat, now)
            elif seat.state == "starting" or now >= seat.asked + self._pace.probe:
                self._probe(seat, now)

    def _probe(self, seat: _Seat, now: float) -> None:
        seat.asked = now
        if seat.child.ready():
            seat.assured = now
            if seat.state == "starting":
                seat.enter("running", now)
                self._observe("child-ready", {"child": seat.child.name})
        elif now > seat.assured + seat.child.patience:
            log.warning("%s has not been ready for %g s and is killed", seat.child.name, seat.child.patience)
            self._failed(seat, now)

    def _launch(self, seat: _Seat) -> None:
        now = time.monotonic()
        seat.born = seat.assured = now
        seat.lives += 1
        try:
            seat.life = life = Life(seat.child, self._record.mark, seat.log)
        except OSError as error:  # no memory, no processes, no descriptors: as passing as a death
            seat.log.write(f"[cannot be started: {error}]\n".encode())
            self._failed(seat, now)
            return
        seat.enter("starting", now)
        self._note(seat.child.name, life.pid, seat.child.argv)
        log.info("%s started as process %d", seat.child.name, life.pid)

    def _failed(self, seat: _Seat, now: float) -> None:
        self._bury(seat)
        seat.failures = 1 if now - seat.born > self._pace.settled else seat.failures + 1
        pause = self._pace.pause(seat.failures)
        seat.due = now + pause
        seat.enter("waiting", now)
        log.warning("%s ended (%s); again in %.1f s", seat.child.name, _exit(seat.last_exit), pause)
        self._observe("child-ended", {"child": seat.child.name, "exit": seat.last_exit})

    def _bury(self, seat: _Seat) -> None:
        life, seat.life = seat.life, None
        if life is not None:
            seat.last_exit = life.bury()
            self._note(seat.child.name, None, ())

    def _note(self, name: str, pid: int | None, argv: tuple[str, ...]) -> None:
        """Keep the record true. A full disk is no reason to let a child be: the mark finds its processes without it."""
        self._record = self._record.with_child(name, None if pid is None else started(pid, argv))
        try:
            self._record.save(self._folder / _RECORD)
        except OSError as error:
            log.warning("the record of children cannot be written: %s", error)

    def _next(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        due = [seat.due if seat.life is None else seat.asked + self._pace.probe for seat in self._seats]
        soon = now + _SOON if any(seat.state == "starting" for seat in self._seats) else float("inf")
        return max(0.0, min([soon, *due, now + self._pace.probe]) - now)

    def _rest(self, seconds: float) -> None:
        """Wait until a child ends, `stop` is called, or `seconds` have passed."""
        ends = [seat.life.descriptor for seat in self._seats if seat.life is not None]
        select.select([self._awake.fileno(), *ends], [], [], max(0.0, seconds))


def _unobserved(_: str, __: Mapping[str, Any]) -> None:
    return


def _exit(code: int | None) -> str:
    if code is None:
        return "it could not be started"
    return f"exit code {code}" if code >= 0 else f"{signal.Signals(-code).name}"


def _unready(seat: _Seat) -> str:
    said = seat.log.tail() or "it printed nothing"
    return f"{seat.child.name} did not come up ({_exit(seat.last_exit)}); the end of {seat.log.path}:\n{said}"
