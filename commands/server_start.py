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
        from .detach import detached, verb
        from .screen import say, show_json

        seeded = [] if insecure_seed is None else ["--insecure-seed", str(insecure_seed)]
        place = folder.absolute()
        process = detached(verb("server", "start", "--dir", str(place), *seeded), place)
        if as_json:
            show_json({"pid": process, "folder": str(place)})
        else:
            say(f"ready: process {process}; `tacit server stop --dir {folder}` ends it")
        return
    from ..server.daemon import run
    from .screen import logged

    logged()
    run(folder, insecure_seed)
