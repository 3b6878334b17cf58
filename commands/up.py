"""`tacit up`: a whole federation as real processes on this machine."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from .faults import StoppedError, Traced
from .flags import Configuration, InsecureSeed, Json, Quiet, Settings, overrides


def command(
    configuration: Configuration,
    owners: Annotated[int, typer.Option("--owners", min=1, help="How many owners, each with an agent of its own.")] = 3,
    insecure_seed: InsecureSeed = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder; by default one of its own under runs/.", show_default=False),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Keep the folders of coordinator and owners here; by default they are temporary.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Run the same file over real agents: TLS, enrolment, policies, ledgers, all on loopback. Ctrl-C stops them all.

    Each owner gets its share of the task's own data. The run folder holds the result, the model and a report as from
    `simulate`; with --insecure-seed the model is that of `simulate --engine in-memory --seed`, bit for bit.

    Example: `tacit up federation.toml --owners 3`
    """
    changes = overrides(settings)
    from ..config import load

    load(configuration, changes)  # a mistake in the file is told before torch is loaded
    from ..simulation.artefacts import append_row, begin, finish
    from ..simulation.kept import folder_for
    from ..simulation.run import config_of
    from ..simulation.site import Site
    from ..simulation.up import up
    from .federation_table import Live
    from .screen import say, show_json
    from .summary import claims_table, in_seconds, say_metrics

    changes["population.owners"] = owners
    folder = folder_for(configuration, out, set=changes)
    config, tasks = config_of(configuration, changes)
    again = f"tacit up {configuration} --owners {owners}"
    try:
        with Traced(folder.path), _placed(site) as root, Live(quiet) as live:
            run = up(configuration, owners, root, seed=insecure_seed, set=changes, watch=live.watch)
    except KeyboardInterrupt:
        kept = "; nothing was kept" if site is None else f"; the folders are in {site}"
        raise StoppedError(f"stopped, and every process with it{kept}") from None
    begin(folder, config, tasks)
    for row in run.rounds:
        append_row(folder, row)
    result = finish(folder, run, again)
    if as_json:
        show_json({"folder": str(folder.path), "report": str(folder.report), **result})
        return
    from .screen import out as console

    say(f"{run.rounds[-1].number} rounds over {owners} agents{in_seconds(run)}")
    say_metrics(run.rounds[-1])
    say()
    console().print(claims_table([figures.to_json() for figures in run.claims]))
    for each in run.notes:
        say(f"Note: {each}")
    say(f"Report: {folder.report}")
    if run.certificate:
        say(f"Certificate: tacit certificate verify {shlex.quote(str(folder.certificate))}")
    if site is not None:
        say(f"Ledgers: tacit ledger show --dir {shlex.quote(str(Site(site).owner(0).root))}")


@contextlib.contextmanager
def _placed(site: Path | None) -> Iterator[Path]:
    """The folder of all the processes; a temporary one leaves nothing behind."""
    if site is not None:
        yield site.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="tacit-up-") as made:
        yield Path(made) / "federation"
