"""Whole files: written entirely or not at all, whatever happens meanwhile, for this user only (mode 0600)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, entirely or not at all. Raises `OSError` and leaves the old file where it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb", opener=_closed) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _closed(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
