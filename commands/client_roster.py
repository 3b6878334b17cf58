"""`tacit client roster`: which of the other owners count, because somebody here checked them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import CLIENT_FOLDER, ClientFolder, Json
from .group import group

if TYPE_CHECKING:
    from ..client.identity import Identity
    from ..strategies.roster import Entry

Name = Annotated[str, typer.Argument(metavar="NAME", help="The owner, as `client roster show` lists it.")]
Fingerprint = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="All of what that owner read out to you, not what the list shows.")
]

app = group("roster", "The other owners: compare fingerprints, approve.")


@app.command("show")
def show(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """List the owners that the coordinator says there are, with their fingerprints and what each one is to you.

    Only approved ones count where a guarantee needs honest others. `changed`: approved before, under another key.

    Example: `tacit client roster show --dir agent`
    """
    from ..client.roster import approvals, current

    identity = _identity(folder)
    kept, known = current(identity), approvals(identity)
    _shown([(each, known.standing(each, identity.entry).value) for each in kept.entries], kept.version, as_json)


@app.command("update")
def update(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Fetch the newest roster from the coordinator. An older one, or another of the same version, is refused.

    Example: `tacit client roster update --dir agent`
    """
    from ..client.enrolment import newest_roster
    from ..client.roster import approvals, take

    identity = _identity(folder)
    kept = take(identity, newest_roster(identity, time.time()))
    known = approvals(identity)
    _shown([(each, known.standing(each, identity.entry).value) for each in kept.entries], kept.version, as_json)


@app.command("approve")
def approve(name: Name, fingerprint: Fingerprint, folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Let an owner count from now on. Type the fingerprint that it read out to you, by telephone for example.

    Example: `tacit client roster approve ward-3 K7QM-2F3A-XW5P-9HRT-B6DE-04ZN --dir agent`
    """
    from ..client.roster import approve as approving
    from .screen import say, show_json

    entry = approving(_identity(folder), name, fingerprint)
    if as_json:
        show_json({"name": entry.name, "fingerprint": entry.fingerprint, "standing": "approved"})
        return
    say(f"{entry.name} is approved")


@app.command("revoke")
def revoke(name: Name, folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Take an approval back: the owner no longer counts here. The coordinator is not told.

    Example: `tacit client roster revoke ward-3 --dir agent`
    """
    from ..client.roster import revoke as revoking
    from .screen import say, show_json

    revoking(_identity(folder), name)
    if as_json:
        show_json({"name": name, "standing": "unapproved"})
        return
    say(f"{name} is no longer approved")


def _identity(folder: Path) -> Identity:
    from ..client.home import ClientHome
    from ..client.identity import load

    return load(ClientHome(folder.absolute()), time.time())


def _shown(entries: list[tuple[Entry, str]], version: int, as_json: bool) -> None:
    from .screen import out, show_json, table

    rows = [
        {"number": each.number, "name": each.name, "fingerprint": each.fingerprint, "standing": standing}
        for each, standing in entries
    ]
    if as_json:
        show_json({"version": version, "owners": rows})
        return
    cells = [(str(row["name"]), str(row["standing"]), str(row["fingerprint"])) for row in rows]
    out().print(table(("owner", "standing", "fingerprint"), cells, left=3))
