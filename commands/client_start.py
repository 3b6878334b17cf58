"""`tacit client start`: the owner's agent as a daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import CLIENT_FOLDER, ClientFolder, InsecureSeed, Json


def command(
    folder: ClientFolder = CLIENT_FOLDER,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the coordinator knows this agent; it goes on.")
    ] = False,
    insecure_seed: InsecureSeed = None,
    as_json: Json = False,
) -> None:
    """Take part: answer what the policy in `agent.toml` permits, and charge it to the ledger of the asset first.

    It needs `agent.toml` in the folder, with `[policy]` and an `[assets.NAME]`. Where the coordinator is away, it waits.

    Example: `tacit client start --dir agent --detach`
    """
    if detach:
        from .detach import start

        start("client", folder, insecure_seed, as_json)
        return
    from ..client.agent import serve
    from .screen import logged

    logged()
    serve(folder, insecure_seed)
