"""Strays: processes that a killed supervisor left behind, found and ended without ever hitting anybody else's.

A supervisor writes a `Record` before its first child starts: a random mark, which every child carries in its environment
and hands down to its own children, and of each child its process id, start time and command line. A process is a stray if it
carries the mark, or if it is of this boot, with that id, that start time and that command line. A process id alone says
nothing: it may be someone else's by now. The signal goes through a descriptor of the process (pidfd) that was taken
before the last look, so no other process can get it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .whole import write_whole

MARK = "TACIT_SUPERVISED"
_PROC = Path("/proc")
_GONE = 5.0  # seconds until a killed process must be gone


class StrayError(RuntimeError):
    """What an earlier supervisor left behind cannot be cleared away."""


@dataclass(frozen=True, slots=True)
class Started:
    """A child as the record has it. `start`: clock ticks since boot."""

    pid: int
    start: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What one life of a supervisor started."""

    mark: str
    boot: str
    children: Mapping[str, Started] = field(default_factory=dict)

    @classmethod
    def fresh(cls) -> Record:
        """The record of a new life."""
        return cls(secrets.token_hex(16), _boot())

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """The record at `path`, None where there is none; raises `StrayError` where it is damaged."""
        try:
            found = json.loads(path.read_bytes())
            children = {
                str(name): Started(int(row["pid"]), int(row["start"]), tuple(map(str, row["argv"])))
                for name, row in found["children"].items()
            }
            return cls(str(found["mark"]), str(found["boot"]), children)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StrayError(
                f"{path}: damaged, so processes of an earlier start cannot be told from others; look for them with "
                f"`ps -eo pid,args`, end them, and remove this file"
            ) from error

    def save(self, path: Path) -> None:
        """Write the record whole or not at all; raises `OSError`."""
        write_whole(path, json.dumps(asdict(self), separators=(",", ":")).encode())

    def with_child(self, name: str, started: Started | None) -> Record:
        """This record with another process, or none, under `name`."""
        others = {key: value for key, value in self.children.items() if key != name}
        return replace(self, children=others if started is None else {**others, name: started})


def sweep(record: Record) -> list[int]:
    """Kill the strays of `record` and wait until they are gone; their process ids. Raises `StrayError` if one stays."""
    ended: list[int] = []
    until = time.monotonic() + _GONE
    while found := list(_strays(record)):  # again, because a stray may have started another meanwhile
        for process in found:
            _kill(process, record)
        ended += [process for process in found if process not in ended]
        if time.monotonic() > until:
            raise StrayError(f"processes {found} of an earlier start do not end; end them, or restart the machine")
    return ended


def started(pid: int, argv: tuple[str, ...]) -> Started | None:
    """The process `pid` that was just started to become `argv`; None where it is gone already."""
    start = _start(pid)
    return None if start is None else Started(pid, start, argv)


def _strays(record: Record) -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _is_stray(int(entry.name), record):
            yield int(entry.name)


def _is_stray(pid: int, record: Record) -> bool:
    folder = _PROC / str(pid)
    try:
        if folder.stat().st_uid != os.getuid() or _stat(pid)[0] in "ZX":
            return False
        if f"{MARK}={record.mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
            return True
        command = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return record.boot == _boot() and any(
        child.pid == pid and child.start == _start(pid) and _ends_with(command, child.argv)
        for child in record.children.values()
    )


def _ends_with(command: list[bytes], argv: tuple[str, ...]) -> bool:
    # A script's command line has its interpreter before it, and one that is still on its way through the leash that one.
    return command[-len(argv) :] == [os.fsencode(word) for word in argv]


def _kill(pid: int, record: Record) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if _is_stray(pid, record):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], 1.0)
        finally:
            os.close(descriptor)


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str]:
    # The second field is the name in brackets, which may itself hold spaces and brackets.
    return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _start(pid: int) -> int | None:
    try:
        return int(_stat(pid)[19])
    except (FileNotFoundError, ProcessLookupError):
        return None
