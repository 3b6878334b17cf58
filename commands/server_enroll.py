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
    again: Annotated[
        bool, typer.Option("--again", help="For an owner that is enrolled, whose certificate is to be made anew.")
    ] = False,
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
        here = office(home, registry)
        token = (here.invite_again if again else here.invite)(name, hours * 3600.0)
    if as_json:
        show_json({"name": name, "token": token.text(), "address": token.address, "hours": hours})
        return
    say(token.text())
    typed = "tacit client enroll TOKEN" + (" --again" if again else "")
    note(f"For {name}, once, within {hours:g} hours, at {token.address}. At the owner:  {typed}")
