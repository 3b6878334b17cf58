"""`tacit ledger anchor`: an anchor that was lost, made anew."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from .flags import Json
from .ledger_place import LEDGER_FOLDER, LedgerFolder, places


def command(
    ledger: Annotated[str, typer.Argument(metavar="ASSET", help="The asset; `server` for a coordinator's ledger.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make it without asking back.")] = False,
    folder: LedgerFolder = LEDGER_FOLDER,
    as_json: Json = False,
) -> None:
    """Make the anchor of a ledger anew, where it was lost. First make sure that the ledger is the newest there was.

    Whether an older one was put back, nobody can tell afterwards; the ledger keeps a line that says who did this. An anchor
    that only moved to another place is copied there instead.

    Example: `tacit ledger anchor ward3 --dir agent`
    """
    from ..config import ConfigError
    from ..privacy.ledger.store import Store
    from ..strategies import keyfile
    from .screen import say, show_json

    found = {_name(each.path): each for each in places(None, folder)}
    place = found.get(ledger)
    if place is None or place.anchor is None:
        raise ConfigError(f"{ledger!r} has no ledger in {folder}; there are: {', '.join(found) or 'none'}")
    if not yes and not as_json:
        typer.confirm(f"Is {place.path} the newest copy that there ever was?", abort=True)
    with Store(place.path, ledger, key=keyfile.ed25519_key(Path(folder) / "keys" / "signing.key")) as store:
        made = store.anchor_anew(place.anchor, getpass.getuser())
    if as_json:
        show_json({"ledger": str(place.path), "anchor": str(place.anchor), "line": made.number})
    else:
        say(f"{place.anchor}: made anew; line {made.number} of {place.path} says so")


def _name(path: Path) -> str:
    return "server" if path.name == "ledger.sqlite" else path.stem
