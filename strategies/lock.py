"""FolderLock: one daemon per folder. Held by the kernel for as long as the process lives, so no crash leaves it behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

LOCK = "lock"


class LockError(RuntimeError):
    """Another process works in this folder."""


class FolderLock:
    """The right to work in `folder`; the lock file in it holds the process id for people to read."""

    def __init__(self, folder: Path) -> None:
        """Raises `LockError` where another process has the right, `OSError` where the file cannot be made."""
        path = folder / LOCK
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            process = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise LockError(
                f"{folder}: process {process} works in this folder already; stop it first, or choose another folder"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the right back. The file stays: removing it would let two processes lock two files of one name."""
        os.ftruncate(self._file, 0)
        os.close(self._file)
