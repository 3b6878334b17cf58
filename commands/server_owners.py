"""`tacit server owners`: who is enrolled, and who is invited."""

from __future__ import annotations

import time

from .flags import SERVER_FOLDER, Json, ServerFolder


def command(folder: ServerFolder = SERVER_FOLDER, as_json: Json = False) -> None:
    """List the owners with their fingerprints, and the invitations that still count.

    Example: `tacit server owners --dir server`
    """
    from ..server.anchors import forks
    from ..server.home import ServerHome
    from ..server.registry import Registry
    from .screen import out, say, show_json, table

    with Registry(ServerHome(folder).checked().registry) as registry:
        owners, invited, forked = registry.owners(), registry.invitations(time.time()), forks(registry)
    if as_json:
        rows = [
            {
                "number": each.number, "name": each.name, "fingerprint": each.entry.fingerprint,
                "enrolled": each.enrolled, "revoked": each.revoked,
            }
            for each in owners
        ]  # fmt: skip
        notices = [
            {"owner": each.owner, "seen": each.seen, "notices": [each.first.text(), each.second.text()]}
            for each in forked
        ]
        show_json(
            {
                "owners": rows, "invited": [{"name": each.name, "expires": each.expires} for each in invited],
                "forks": notices,
            }
        )  # fmt: skip
        return
    if not owners and not invited:
        say(f"Nobody yet. Invite an owner:  tacit server enroll NAME --dir {folder}")
        return
    shown = [
        (each.name, "enrolled" if each.revoked is None else "revoked", each.entry.fingerprint, _day(each.enrolled))
        for each in owners
    ] + [(each.name, "invited", "", f"until {_day(each.expires)}") for each in invited]
    out().print(table(("owner", "standing", "fingerprint", "since"), shown, left=4))
    for each in forked:
        say(
            f"{each.owner} signed two different lines {each.first.number} of one ledger ({_day(each.seen)}): it went on with "
            f"two copies of it. Ask its administrator; --json shows both"
        )


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
