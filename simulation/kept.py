"""Kept run: a simulation that leaves a run folder, and goes on from one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from .artefacts import RunFolder, append_row, begin, default_path, discard, finish, fresh, newest, resumable, write_rows
from .result import Run
from .run import Simulation, Source, Watch, config_of, prepare

Start: TypeAlias = Callable[[Simulation], None]


def folder_for(source: Source, out: Path | None, runs: Path = Path("runs"), **options: Any) -> RunFolder:
    """Where a new run of `source` goes: `out`, or a folder of its own under `runs`. Raises `ConfigError` if it is taken."""
    return fresh(out if out is not None else default_path(config_of(source, options.get("set"))[0], runs))


def folder_of(source: Source, out: Path | None, runs: Path = Path("runs"), **options: Any) -> RunFolder:
    """The run of `source` to go on with: the one in `out`, or the newest under `runs`. Raises `ConfigError` if none is."""
    config = config_of(source, options.get("set"))[0]
    return newest(config, runs) if out is None else resumable(out, config)


def simulate_into(
    folder: RunFolder,
    source: Source,
    *,
    reproduce: str = "",
    start: Start | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> tuple[Run, dict[str, Any]]:
    """Run `source` (all of it, or with `resume=True` the rest) and leave everything in `folder`.

    Returns the run and the content of `result.json`; `options` are those of `prepare`. On any way out the checkpoint holds
    the last whole round; a run that did not complete its first round leaves nothing. `reproduce` is the command that the
    report names.
    """
    resume = bool(options.pop("resume", False))
    _, tasks = config_of(source, options.get("set"))
    simulation = prepare(source, checkpoint=folder.checkpoint, resume=resume, **options)
    if not resume:
        begin(folder, simulation.federation.config, tasks)
    try:
        write_rows(folder, simulation.rows)
        if start is not None:
            start(simulation)
        # Closed here, so that the checkpoint is written now and not when a traceback is forgotten.
        with closing(simulation.rounds(watch)) as rows:
            for row in rows:
                append_row(folder, row)
    except BaseException:
        if not folder.checkpoint.exists():
            discard(folder)
        raise
    run = simulation.result()
    return run, finish(folder, run, reproduce)
