"""`tacit server revoke`: an owner no longer takes part."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The owner, as `server owners` lists it.")],
    folder: ServerFolder = SERVER_FOLDER,
    as_json: Json = False,
) -> None:
    """Revoke an owner: its next request is refused, it leaves the roster, its open invitation is void.

    What it contributed before stays in the models that were made with it. To let it in again with new keys, invite it
    again.

    Example: `tacit server revoke ward-3 --dir server`
    """
    from ..server.home import ServerHome
    from ..server.registry import Registry
    from .screen import say, show_json

    with Registry(ServerHome(folder).checked().registry) as registry:
        owner = registry.revoke(name, time.time())
    if as_json:
        show_json({"name": owner.name, "number": owner.number, "revoked": owner.revoked})
        return
    say(f"{owner.name} is revoked; its next request is refused")
