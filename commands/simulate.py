"""`tacit simulate`: train over a simulated population, with a report and a checkpoint."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import StoppedError, Traced
from .flags import Configuration, Device, Json, Quiet, Seed, Settings, overrides

if TYPE_CHECKING:
    from ..simulation.artefacts import RunFolder


class Engine(StrEnum):
    """Engines by name, as `prepare` takes them."""

    auto = "auto"
    low_rank = "low-rank"
    stacked = "stacked"
    example_level = "example-level"
    vmapped = "vmapped"
    plain_loop = "plain-loop"
    in_memory = "in-memory"


class Precision(StrEnum):
    """What large products are computed in, as `prepare` takes it."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def command(
    configuration: Configuration,
    seed: Seed = 0,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder; by default one of its own under runs/.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, or the newest of this configuration.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option("--engine", help="How owners are trained; auto takes the fastest that fits.")
    ] = Engine.auto,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            show_default=False,
            help="Processes that train owners; by default one for each core, once they pay. Changes no bit of the result.",
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision", help="What large products are computed in; half precision is for GPUs. Claims stay."
        ),
    ] = Precision.float32,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="HOST:PORT",
            show_default=False,
            help="Head of a Ray cluster whose CPUs train owners, e.g. 10.0.0.5:6379. Changes no bit of the result.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one model over many simulated owners and say what it cost in privacy.

    The run folder gets the resolved configuration, every evaluated round, a checkpoint, the model, a report and the
    result. The same seed gives the same bits. Ctrl-C stops cleanly; --resume goes on as if nothing had happened.

    Example: `tacit simulate federation.toml --seed 7 --set rounds.total=80`
    """
    changes = overrides(settings)
    from ..config import load

    load(configuration, changes)  # a mistake in the file is told before torch is loaded
    from ..simulation.kept import folder_for, folder_of, simulate_into
    from .progress import Progress
    from .summary import show_run, show_start

    find = folder_of if resume else folder_for
    folder = find(configuration, out, set=changes)
    again = reproduction(configuration, seed, settings, engine, device, precision)
    options: dict[str, Any] = {"seed": seed, "set": changes, "engine": engine.value, "device": device}
    options |= {"workers": workers, "precision": precision.value, "cluster": cluster, "resume": resume}
    with Progress(quiet) as progress:
        try:
            with Traced(folder.path):
                run, result = simulate_into(
                    folder,
                    configuration,
                    reproduce=again,
                    start=lambda simulation: None if quiet else show_start(simulation, folder),
                    watch=progress.watch,
                    **options,
                )
        except KeyboardInterrupt:
            raise StoppedError(stopped(folder, again)) from None
    if as_json:
        from .screen import show_json

        show_json({"folder": str(folder.path), "report": str(folder.report), **result})
    else:
        show_run(run, folder, again)


def reproduction(
    configuration: Path, seed: int, settings: list[str] | None, engine: Engine, device: str, precision: Precision
) -> str:
    """The command that makes the same run again."""
    words = ["tacit", "simulate", str(configuration), "--seed", str(seed)]
    for each in settings or []:
        words += ["--set", each]
    if engine is not Engine.auto:
        words += ["--engine", engine.value]
    if device != "auto":
        words += ["--device", device]
    if precision is not Precision.float32:
        words += ["--precision", precision.value]
    return shlex.join(words)


def stopped(folder: RunFolder, again: str) -> str:
    """What is kept of an interrupted run, and the command that goes on with it."""
    if not folder.checkpoint.exists():
        return "stopped before the first round was complete; nothing was kept"
    place = shlex.quote(str(folder.path))
    return (
        f"the checkpoint in {folder.path} holds every whole round so far; go on with:\n{again} --resume --out {place}"
    )
