"""Replies: the messages that this owner has made and may have to send again, each in a file of its own.

A reply lies on the disk before it leaves, readable by its owner only. It holds nothing but what leaves anyway, so it is not
encrypted. Its file is named after the ledger's line that paid for it.
"""

from __future__ import annotations

from pathlib import Path

from ..strategies import keyfile

_SUFFIX = ".reply"


class Replies:
    """The replies of one asset, in `folder` (mode 0700). Methods raise `OSError` where the disk fails."""

    def __init__(self, folder: Path) -> None:
        keyfile.folder(folder)
        self._folder = folder

    def keep(self, number: int, reply: bytes) -> None:
        """Store the reply of line `number`: on the disk whole when this returns."""
        keyfile.replace(self._path(number), reply)

    def read(self, number: int) -> bytes | None:
        """The reply of line `number`; None where it is not kept."""
        try:
            return self._path(number).read_bytes()
        except FileNotFoundError:
            return None

    def numbers(self) -> tuple[int, ...]:
        """The lines whose replies are kept, ascending."""
        names = (path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}"))
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def drop(self, number: int) -> None:
        """Forget the reply of line `number`, if it is kept."""
        self._path(number).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a crash left half-written."""
        for path in self._folder.glob(f".*{_SUFFIX}.*"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}{_SUFFIX}"
