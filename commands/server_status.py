"""`tacit server status`: whether the coordinator serves, and how its programs are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(folder: ServerFolder = SERVER_FOLDER, as_json: Json = False) -> None:
    """Ask the running server how it is. Exit code 0 only where everything runs, so this is a probe too.

    Example: `tacit server status --dir server`
    """
    from ..server.control import ask
    from .screen import out, say, show_json, table

    status = ask(folder, "status")
    if as_json:
        show_json(status)
    else:
        say(f"process {status['pid']}, Tacit {status['version']}: {'ready' if status['ready'] else 'not ready'}")
        out().print(
            table(("program", "state", "process", "for", "restarts", "log"), map(_row, status["children"]), left=2)
        )
    if not status["ready"]:
        raise typer.Exit(1)


def _row(child: Mapping[str, Any]) -> tuple[str, ...]:
    state, ended = child["state"], child["last_exit"]
    said = f"{state} (last exit {ended})" if state != "running" and ended is not None else state
    process = "" if child["pid"] is None else str(child["pid"])
    return child["name"], said, process, f"{child['seconds']:.0f} s", str(child["restarts"]), child["log"]
