"""`tacit server enroll`: an invitation for one owner."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the owner is called in this federation.")],
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=720.0, help="How long the token can be used.")
    ] = 24.0,
    folder: ServerFolder = SERVER_FOLDER,
    as_json: Json = False,
) -> None:
    """Invite an owner: print a token that it enrols with, once and before it expires.

    Hand it over where only the owner reads it. It replaces one for the same name that was not used. The server need
    not run for this, but has to when the owner enrols.

    Example: `tacit server enroll ward-3 --dir server`
    """
    from ..server.enrolment import office
    from ..server.home import ServerHome
    from ..server.registry import Registry
    from .screen import note, say, show_json

    home = ServerHome(folder).checked()
    with Registry(home.registry) as registry:
        token = office(home, registry).invite(name, hours * 3600.0)
    if as_json:
        show_json({"name": name, "token": token.text(), "address": token.address, "hours": hours})
        return
    say(token.text())
    note(f"For {name}, once, within {hours:g} hours, at {token.address}. At the owner:  tacit client enroll TOKEN")
