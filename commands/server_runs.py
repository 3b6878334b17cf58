"""`tacit server runs`: what the coordinator was asked to train."""

from __future__ import annotations

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(folder: ServerFolder = SERVER_FOLDER, as_json: Json = False) -> None:
    """List every run, oldest first: how far it is, or how it ended and why.

    Example: `tacit server runs --dir server`
    """
    from ..server.control import ask
    from .screen import out, say, show_json, table

    found = ask(folder, "runs")
    if as_json:
        show_json(found)
        return
    if not found["runs"]:
        say("no runs yet; `tacit server run CONFIG` asks for one")
        return
    cells = [(each["run"], each["state"], f"{each['round']}/{each['rounds']}", each["why"]) for each in found["runs"]]
    out().print(table(("run", "state", "round", "why"), cells, left=4))
