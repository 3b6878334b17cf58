"""`tacit server stop`: end the coordinator's daemon."""

from __future__ import annotations

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(folder: ServerFolder = SERVER_FOLDER, as_json: Json = False) -> None:
    """Stop the running server and wait until nothing of it is left. A run that is under way goes on at the next start.

    Example: `tacit server stop --dir server`
    """
    from ..server.control import stop
    from .screen import say, show_json

    process = stop(folder)
    if as_json:
        show_json({"stopped": process})
        return
    say(f"Stopped (process {process}); start it again with `tacit server start --dir {folder}`")
