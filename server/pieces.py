"""Pieces: the bodies of large frames on the coordinator's disk. The letters that name them pass the SuperLink; they do not.

| where                | holds                                   | written by               | read by                       |
|----------------------|-----------------------------------------|--------------------------|-------------------------------|
| `out/<name>`         | pieces of a phase's requests            | the coordinator          | every owner that can name it  |
| `in/<sender>/<name>` | pieces of that owner's reply            | the gateway, as they come | the coordinator              |
| `room`               | how many pieces each owner may have here | the coordinator         | the gateway                   |

A piece's name is its SHA-256, and a file has it only once it is whole. Nothing is synced to the disk: whoever reads a piece
hashes it, so that what a crash of the machine leaves under a name is found, and asked for again. All of it is deleted when a
phase ends. An owner's further pieces push out its own oldest ones, so that what it left behind never stands in its way.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..strategies.codec import CodecError
from ..strategies.parcel import PIECE, opened

_PARALLEL = 2
_LATELY = 5.0  # seconds: a piece at 1 MiB/s, the slowest line that a large model is meant for


def sender(key: bytes) -> str:
    """The folder of the node with this public key (PEM)."""
    return hashlib.sha256(key).hexdigest()


class Upload:
    """A piece on its way in. It lies under its name once `finish` says so; `close` deletes what is not finished."""

    def __init__(self, folder: Path, name: str, room: int) -> None:
        self._folder, self._name, self._room = folder, name, room
        self._hash, self._size = hashlib.sha256(), 0
        for each in (folder.parent, folder):
            each.mkdir(exist_ok=True, mode=0o700)
        self._path = folder / f".{os.urandom(8).hex()}.tmp"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, chunk: bytes) -> bool:
        """Whether the piece is still no longer than one may be. Raises `OSError` where the disk is full."""
        self._size += len(chunk)
        if self._size > PIECE:
            return False
        self._hash.update(chunk)
        _write(self._file, memoryview(chunk))
        return True

    def finish(self) -> bool:
        """Whether what came is the piece of that name, which is now there. Raises `OSError`."""
        if not self._size or self._hash.hexdigest() != self._name:
            return False
        self._path.rename(self._folder / self._name)
        others = [path for path in _whole(self._folder) if path.name != self._name]
        if len(others) >= self._room:
            others.sort(key=_age)
            for path in others[: len(others) - self._room + 1]:
                path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Nothing more comes."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The store in the folder `root`, which is for this user only. A coordinator and a gateway each hold one."""

    root: Path

    # The coordinator's side.

    def admit(self, largest: int) -> None:
        """From now on owners may leave replies of `largest` bytes here. Raises `OSError`."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _file(self.root / "room", memoryview(b"%d" % (largest // PIECE + 2)))

    def publish(self, pieces: Mapping[str, memoryview]) -> None:
        """Let owners fetch `pieces` (by name). Raises `OSError` where the disk is full."""
        folder = self.root / "out"
        for each in (self.root, folder):
            each.mkdir(exist_ok=True, mode=0o700)
        for name, piece in pieces.items():
            _file(folder / name, piece)

    def frame(self, letter: bytes, sender: str, largest: int) -> bytes | memoryview:
        """The frame of a letter whose pieces its `sender` left here.

        Raises `CodecError` where it is none of ours, larger than `largest` bytes, or a piece is not here or damaged.
        """
        names, head = opened(letter, largest)
        if not names:
            return head
        folder = self.root / "in" / sender
        try:
            sizes = [(folder / name.hex()).stat().st_size for name in names]
        except FileNotFoundError:
            raise CodecError("a letter that names a piece which its sender did not leave here") from None
        if any(size != PIECE for size in sizes[:-1]) or not 0 < sizes[-1] <= PIECE:
            raise CodecError(f"a piece of {min(sizes)} bytes within a frame; only the last may be shorter than {PIECE}")
        frame = np.empty(len(head) + sum(sizes), np.uint8).data
        frame[: len(head)] = head

        def fill(index: int) -> None:
            start = len(head) + index * PIECE
            part = frame[start : start + sizes[index]]
            try:
                with (folder / names[index].hex()).open("rb", buffering=0) as file:
                    read = file.readinto(part)
            except FileNotFoundError:
                raise CodecError("a piece that its sender pushed out again") from None
            if read != len(part) or hashlib.sha256(part).digest() != names[index]:
                raise CodecError("a piece that is damaged on the disk")

        with ThreadPoolExecutor(_PARALLEL) as workers:
            list(workers.map(fill, range(len(names))))
        return frame

    def coming(self, sender: str) -> bool:
        """Whether a piece of this sender began or ended lately: a slow line, not a lost message."""
        try:
            return abs(time.time() - (self.root / "in" / sender).stat().st_mtime) < _LATELY
        except OSError:
            return False

    def clear(self) -> None:
        """A phase is over: nobody needs any of its pieces."""
        for folder in (self.root / "out", *self._senders()):
            for path in _whole(folder):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """The run is over: nobody leaves anything here any more."""
        (self.root / "room").unlink(missing_ok=True)
        self.clear()

    # The gateway's side.

    def sweep(self) -> None:
        """Delete what a killed gateway had not finished."""
        for folder in self._senders():
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def published(self, name: str) -> BinaryIO | None:
        """A published piece, opened; None where there is none of that name."""
        try:
            return (self.root / "out" / name).open("rb", buffering=0)
        except FileNotFoundError:
            return None

    def upload(self, sender: str, name: str) -> Upload | None:
        """A piece that `sender` begins to send; None where no run takes any. Raises `OSError`."""
        try:
            room = int((self.root / "room").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return Upload(self.root / "in" / sender, name, room)

    def _senders(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from (self.root / "in").iterdir()


def _whole(folder: Path) -> list[Path]:
    """The finished files of a folder."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _file(path: Path, content: memoryview) -> None:
    """The file at `path`, whole or not at all."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(file, content)
        finally:
            os.close(file)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)


def _write(file: int, content: memoryview) -> None:
    while content:
        content = content[os.write(file, content) :]
