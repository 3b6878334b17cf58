"""LogFile: what a child printed, in a file that never grows beyond its bounds."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

_LARGEST = 8 << 20  # bytes of one file
_KEPT = 3  # older files: name.1 is the youngest
_TAIL = 4096
SHOWN = 10  # last lines that a fault quotes: the reason stands at the end, and a message is cut off there


class LogFile:
    """A file of at most `largest` bytes with `kept` older ones beside it; only its user may read them.

    A full disk loses lines, never the child: what cannot be written is counted, and said once there is room again.
    """

    def __init__(self, path: Path, largest: int = _LARGEST, kept: int = _KEPT) -> None:
        self.path = path
        self._largest, self._kept, self._lost = largest, kept, 0
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._open()

    def write(self, content: bytes) -> None:
        """Append `content`, after turning the files over where it does not fit."""
        with self._lock:
            try:
                if self._file < 0:
                    self._file = self._open()
                size = os.fstat(self._file).st_size
                if size and size + len(content) > self._largest:
                    self._turn()
                said = f"[{self._lost} bytes were lost: the disk was full]\n".encode() if self._lost else b""
                _write(self._file, said + content)
                self._lost = 0
            except OSError:
                self._lost += len(content)

    def close(self) -> None:
        """Close the file; what is written later opens it again."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def tail(self, lines: int = SHOWN) -> str:
        """The last lines of the file, for a fault's message."""
        return tail(self.path, lines)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _turn(self) -> None:
        os.close(self._file)
        self._file = -1
        for number in range(self._kept, 0, -1):
            older = self.path if number == 1 else _numbered(self.path, number - 1)
            with contextlib.suppress(FileNotFoundError):
                older.replace(_numbered(self.path, number))
        self._file = self._open()


def tail(path: Path, lines: int = SHOWN) -> str:
    """The last `lines` lines of the file at `path`, of at most 4 KiB; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _write(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
