"""`tacit server start`: the coordinator as a daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import SERVER_FOLDER, InsecureSeed, Json, ServerFolder


def command(
    folder: ServerFolder = SERVER_FOLDER,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is ready; the daemon goes on.")
    ] = False,
    insecure_seed: InsecureSeed = None,
    as_json: Json = False,
) -> None:
    """Run SuperLink, coordinator, gateway and enrolment of a folder, and keep them running. Ctrl-C stops them all.

    Runs that had not ended go on where they were.

    Example: `tacit server start --dir server --detach`
    """
    if detach:
        from .detach import start

        start("server", folder, insecure_seed, as_json)
        return
    from ..server.daemon import run
    from .screen import logged

    logged()
    run(folder, insecure_seed)
