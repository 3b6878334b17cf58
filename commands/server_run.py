"""`tacit server run`: train over the enrolled owners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .faults import StoppedError
from .flags import SERVER_FOLDER, Json, Quiet, ServerFolder, Settings, overrides


def command(
    configuration: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The federation's TOML file.", show_default=False)
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(
            "--attach", metavar="NAME", help="Wait for a run of before; one that failed is tried again.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    folder: ServerFolder = SERVER_FOLDER,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder; by default one of its own under runs/.", show_default=False),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Ask the running server to train over all enrolled owners, wait, and leave the result, the model and a report.

    Ctrl-C stops the waiting only: the run goes on, and --attach waits for it again.

    Example: `tacit server run federation.toml --dir server`
    """
    if (configuration is None) == (attach is None):
        raise typer.BadParameter("give CONFIG, or --attach NAME for a run that goes on already")
    changes = overrides(settings)
    from ..config import load

    config = None if configuration is None else load(configuration, changes)
    from ..server.home import ServerHome
    from ..simulation.artefacts import append_row, begin, default_path, finish, fresh
    from ..simulation.up import ask_for, follow, result
    from .federation_table import Live
    from .screen import say, show_json
    from .summary import in_seconds, say_metrics

    home = ServerHome(folder.absolute()).checked()
    name = str(attach) if config is None else ask_for(home.root, config)
    try:
        with Live(quiet) as live:
            follow(home.root, name, live.watch)
    except KeyboardInterrupt:
        raise StoppedError(
            f"the run goes on; wait for it with:\ntacit server run --attach {name} --dir {folder}"
        ) from None
    run = result(home, name)
    kept = fresh(out if out is not None else default_path(run.config, Path("runs")))
    begin(kept, run.config, None)
    for row in run.rounds:
        append_row(kept, row)
    found = finish(kept, run, f"tacit server run {configuration or kept.config} --dir {folder}")
    if as_json:
        show_json({"run": name, "folder": str(kept.path), "report": str(kept.report), **found})
        return
    say(f"{name}: {run.rounds[-1].number} rounds{in_seconds(run)}")
    say_metrics(run.rounds[-1])
    for each in run.notes:
        say(f"Note: {each}")
    say(f"Report: {kept.report}")
