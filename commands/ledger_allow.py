"""`tacit ledger allow`: an owner lets more, or less, be spent of an asset."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated

import typer

from .flags import CLIENT_FOLDER, Json
from .ledger_place import AssetName, OwnersFolder


def command(
    asset: AssetName,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who decides; you, if left out.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Decide without asking back.")] = False,
    folder: OwnersFolder = CLIENT_FOLDER,
    as_json: Json = False,
) -> None:
    """Note in the ledger, signed, that the budgets of agent.toml count from now on, and in whose name.

    The agent refuses to start while the file permits more than the ledger. Edit the file first, then allow it here; what was
    spent stays spent.

    Example: `tacit ledger allow ward3 --by "Data protection officer" --dir agent`
    """
    from ..client.budget import allow, more_than_allowed
    from ..client.home import ClientHome
    from ..client.settings import load_settings
    from ..client.vault import open_vault
    from ..config import ConfigError
    from ..privacy.ledger.field import EntryError
    from .screen import say, show_json

    home = ClientHome(Path(folder).absolute())
    settings = load_settings(home.settings_file)
    if asset not in settings.assets:
        raise ConfigError(f"{asset!r} is no asset of {home.settings_file}; there are: {', '.join(settings.assets)}")
    name = getpass.getuser() if by is None else by
    with open_vault(home, settings.ledger.anchor, asset) as store:
        more = more_than_allowed(store, settings.policy)
        if more and not yes and not as_json:
            typer.confirm(f"Allow {'; '.join(more)}?", abort=True)
        try:
            allow(store, settings.policy, name, time.time)
        except EntryError as error:
            raise ConfigError(f"--by: {error}") from error
        line = store.head[0]
    if as_json:
        show_json({"asset": asset, "by": name, "more": list(more), "line": line})
    else:
        say(
            f"{asset}: agent.toml is allowed by {name}{': ' + '; '.join(more) if more else ', which is no more than before'}"
        )
