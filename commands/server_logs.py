"""`tacit server logs`: what the coordinator's programs said last."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import SERVER_FOLDER, Json, ServerFolder
from .logs import Follow, Lines, show_logs


def command(
    part: Annotated[
        str | None, typer.Argument(metavar="[PART]", help="superlink, coordinator, gateway, start; all if left out.")
    ] = None,
    folder: ServerFolder = SERVER_FOLDER,
    lines: Lines = 20,
    follow: Follow = False,
    as_json: Json = False,
) -> None:
    """Print the last lines that the daemon's programs wrote; they are kept in logs/, a few megabytes of each.

    Example: `tacit server logs coordinator --follow --dir server`
    """
    show_logs(folder, part, lines, follow, as_json)
