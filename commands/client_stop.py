"""`tacit client stop`: end the owner's agent."""

from __future__ import annotations

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Stop the running agent and wait until it is gone. What it has charged stays charged.

    Example: `tacit client stop --dir agent`
    """
    from ..client.control import stop
    from .screen import say, show_json

    process = stop(folder)
    if as_json:
        show_json({"stopped": process})
        return
    say(f"Stopped (process {process}); start it again with `tacit client start --dir {folder}`")
