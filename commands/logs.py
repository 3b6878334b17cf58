"""Logs: the last lines of what the programs of a folder printed; shared by `tacit server logs` and `tacit client logs`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

_WIDEST = 1 << 20  # bytes that are looked through for a file's last lines
_LOOK = 0.5  # seconds between two looks for new lines

Lines: TypeAlias = Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines of each.")]
Follow: TypeAlias = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed, until Ctrl-C.")]


class NoLogError(Exception):
    """There is no such log in the folder."""


def show_logs(folder: Path, part: str | None, lines: int, follow: bool, as_json: bool) -> None:
    """Print the logs in `folder`/logs, all of them or that of one `part`. Raises `NoLogError`."""
    from .screen import say, show_json

    found = {path.stem: path for path in sorted((folder / "logs").glob("*.log"))}
    if part is not None and part not in found:
        known = ", ".join(found) or "none"
        raise NoLogError(f"{part!r}: no such log in {folder / 'logs'}; there are: {known}")
    if not found:
        raise NoLogError(
            f"{folder / 'logs'}: no logs; what a program in the foreground prints goes to its terminal or journal"
        )
    wanted = found if part is None else {part: found[part]}
    ends = {name: path.stat().st_size for name, path in wanted.items()}
    tails = {name: last_lines(path, lines) for name, path in wanted.items()}
    if as_json:
        show_json({"logs": tails})
        return
    for name, each in tails.items():
        if len(wanted) > 1:
            say(f"== {name}")
        for line in each:
            say(line)
    if follow:
        _follow(wanted, ends)


def last_lines(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of the file at `path`, of at most 1 MiB, without control characters."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _WIDEST))
        return [_plain(line) for line in file.read().decode("utf-8", "replace").splitlines()[-lines:]]


def _follow(wanted: Mapping[str, Path], ends: dict[str, int]) -> None:
    """Print what is appended; a file that was turned over is read from its beginning."""
    from .screen import say

    while True:
        for name, path in wanted.items():
            size = path.stat().st_size if path.exists() else 0
            start = ends[name] if size >= ends[name] else 0
            if size == start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                text = file.read(_WIDEST)
            ends[name] = start + len(text)
            for line in text.decode("utf-8", "replace").splitlines():
                say(f"{name}: {_plain(line)}" if len(wanted) > 1 else _plain(line))
        time.sleep(_LOOK)


def _plain(line: str) -> str:
    """A line without what a terminal would act on."""
    return "".join(each if each.isprintable() or each == "\t" else "�" for each in line)
