"""`tacit client pause`: leave requests waiting."""

from __future__ import annotations

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Answer no request from the next one on; what is under way is finished, because it is charged already.

    Example: `tacit client pause --dir agent`
    """
    from ..client.control import ask
    from .screen import say, show_json

    answer = ask(folder, "pause")
    if as_json:
        show_json(answer)
        return
    say(f"Paused; go on with `tacit client resume --dir {folder}`")
