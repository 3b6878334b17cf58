"""`tacit client approve`: a person decides on a run, where the policy says `approve_first`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="The run to decide on; without it, all are listed.", show_default=False),
    ] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Deny it instead, from its next round on.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Decide without asking back.")] = False,
    folder: ClientFolder = CLIENT_FOLDER,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show what a run would do, its claim at the smallest cohort and what is spent; then approve or deny it.

    The agent need not run for this, and heeds the decision at the next request.

    Example: `tacit client approve digits-20260801-120000 --dir agent`
    """
    from ..client.approvals import Approvals
    from ..client.home import ClientHome
    from .screen import out, say, show_json, table

    approvals = Approvals(ClientHome(folder).checked().pending)
    if run is None:
        noted = approvals.all()
        if as_json:
            show_json({"runs": [each.to_json() for each in noted]})
        elif not noted:
            say("no run has asked")
        else:
            cells = [(each.run, each.verdict, str(each.offer.get("asset", ""))) for each in noted]
            out().print(table(("run", "decision", "asset"), cells, left=3))
        return
    found = approvals.find(run)
    if found is not None and not as_json:
        say(json.dumps(found.offer, indent=1))  # in ASCII: what a server wrote must not move the cursor
    if found is not None and not yes and not as_json:
        typer.confirm("Deny this?" if deny else "Approve this?", abort=True)
    decide = approvals.deny if deny else approvals.approve
    decided = decide(run, found.digest if found is not None else "")
    if as_json:
        show_json(decided.to_json())
    else:
        say(f"{run} is {decided.verdict}")
