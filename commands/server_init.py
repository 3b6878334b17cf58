"""`tacit server init`: a coordinator's folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .flags import Json


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder of the coordinator.")],
    host: Annotated[
        str, typer.Option("--host", help="Name or address of this machine that owners connect to.")
    ] = "localhost",
    address: Annotated[
        str, typer.Option("--address", help="Where owners' agents connect, host:port.")
    ] = "0.0.0.0:8443",
    enrolment: Annotated[str, typer.Option("--enrolment", help="Where owners enrol, host:port.")] = "0.0.0.0:8444",
    as_json: Json = False,
) -> None:
    """Make a coordinator's folder: keys, certificate authority, settings, a systemd unit.

    Nothing that exists is overwritten. Whoever has the folder is the coordinator: back it up, show it to nobody.

    Example: `tacit server init server --host fl.example.org`
    """
    from ..server.founding import found
    from .screen import say, show_json

    made = found(folder, host, address, enrolment, time.time())
    if as_json:
        files = {"settings": str(made.home.settings_file), "unit": str(made.home.unit_file)}
        show_json({"folder": str(made.home.root), "authority": made.pin.hex(), "host": host, **files})
        return
    say(f"Made {made.home.root}: keep it secret, and keep a copy")
    if host == "localhost":
        say("Owners on other machines cannot reach `localhost`: set `host` in its server.toml before you invite them")
    say(f"Invite an owner:  tacit server enroll NAME --dir {folder}")
    say(f"Start:            tacit server start --dir {folder}")
    say(f"As a service:     see the first line of {made.home.unit_file}")
