"""`tacit client enroll`: become an owner of a federation."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="What the coordinator handed over; `-` reads it from standard input.")
    ],
    again: Annotated[
        bool, typer.Option("--again", help="For a new certificate; keys, ledgers and approvals in the folder stay.")
    ] = False,
    folder: ClientFolder = CLIENT_FOLDER,
    as_json: Json = False,
) -> None:
    """Make this owner's keys here, and have the coordinator certify them. No private key leaves the folder.

    The token says whom to trust: a server that is not the one that made it is sent nothing. If the connection breaks,
    type the same command again. A commented `agent.toml` is left to be filled in, unless there is one.

    Example: `tacit client enroll tacit1-… --dir agent`
    """
    from ..client.enrolment import enrol, renew
    from ..client.home import ClientHome
    from ..client.starter import write_starter
    from ..strategies.token import parse
    from .screen import say, show_json

    text = sys.stdin.readline() if token == "-" else token
    made = (renew if again else enrol)(parse(text), ClientHome(folder.absolute()), time.time())
    begun = write_starter(made.home)
    if as_json:
        show_json(
            {
                "folder": str(made.home.root), "name": made.name, "number": made.coordinator.number,
                "fingerprint": made.entry.fingerprint, "gateway": made.coordinator.gateway,
                "expires": made.expires.isoformat(), "settings": str(made.home.settings_file),
            }
        )  # fmt: skip
        return
    say(f"Enrolled as {made.name}; the keys are in {made.home.keys}, and a copy of them belongs in your backup")
    say(f"Your fingerprint:  {made.entry.fingerprint}")
    say("Read it to the other owners over another channel, and check theirs:")
    say(f"                   tacit client roster show --dir {folder}")
    if begun:
        say(f"Then say what you permit, and where the data is, in {made.home.settings_file}")
