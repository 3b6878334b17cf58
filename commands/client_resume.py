"""`tacit client resume`: answer requests again."""

from __future__ import annotations

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Answer requests again after `tacit client pause`.

    Example: `tacit client resume --dir agent`
    """
    from ..client.control import ask
    from .screen import say, show_json

    answer = ask(folder, "resume")
    if as_json:
        show_json(answer)
        return
    say("At work again")
