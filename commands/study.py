"""`tacit study`: sweep a configuration and see which accuracy each ε buys."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import StoppedError, Traced
from .flags import Configuration, Json, Quiet, Seed, Settings, overrides
from .progress import clock
from .screen import note

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ..simulation.studies.study import Status, Study

_SHOWN = 20  # rows of the frontier on a terminal
_EVERY = 5.0  # seconds between lines where nothing is a terminal


class Search(StrEnum):
    """How settings are picked."""

    grid = "grid"
    random = "random"
    adaptive = "adaptive"


def command(
    configuration: Configuration,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            show_default=False,
            help="A key and its values, e.g. rounds.total=10,20,40, or its range, e.g. 'local.lr={from=0.1, to=3.0}'; "
            "repeatable, beside the file's [study.vary].",
        ),
    ] = None,
    search: Annotated[
        Search | None,
        typer.Option("--search", help="How settings are picked; the file's, or grid.", show_default=False),
    ] = None,
    points: Annotated[
        int | None, typer.Option("--points", min=1, help="random, adaptive: how many settings.", show_default=False)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Seeds a setting; the file's, or 3.", show_default=False)
    ] = None,
    target_epsilon: Annotated[
        float | None, typer.Option("--target-epsilon", help="Name the best setting within this ε.", show_default=False)
    ] = None,
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            "--target-accuracy", help="Name the cheapest setting that reaches this, e.g. 0.95.", show_default=False
        ),
    ] = None,
    predict: Annotated[
        int | None,
        typer.Option(
            "--predict",
            min=1,
            metavar="OWNERS",
            show_default=False,
            help="Extrapolate to so many owners, more than can be simulated; every number is then marked as that.",
        ),
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The study's folder; by default one under runs/ that follows from the study.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all settings to this file as well.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; by default one a core.", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try many settings over simulated owners and say which accuracy each ε buys, and what the search would cost.

    Every finished training is kept at once: after Ctrl-C the same command goes on, and a finished study answers other
    targets without training again. A study of digits: `examples/digits-study.toml`.

    Example: `tacit study federation.toml --vary rounds.total=20,40 --vary privacy.pipeline.1.noise_multiplier=1,2,4`

    Example: `tacit study federation.toml --search adaptive --points 60 --target-epsilon 2`
    """  # fmt: skip
    from ..config import load

    changes, varied = overrides(settings), varied_of(vary)
    load(configuration, changes)  # a mistake in the file is told before anything is loaded
    from ..simulation.artefacts import write_page
    from ..simulation.studies.findings import to_csv
    from ..simulation.studies.study import study

    again = reproduction(configuration)
    with Watched(quiet) as watched:
        try:
            with Traced(out):
                found = study(
                    configuration, vary=varied, search=search.value if search else None, points=points, seeds=seeds,
                    seed=seed, set=changes, predict=predict, target_epsilon=target_epsilon,
                    target_accuracy=target_accuracy, out=out, workers=workers, reproduce=again, watch=watched.watch,
                )  # fmt: skip
        except KeyboardInterrupt:
            kept = watched.done
            trials = "no training was finished" if not kept else f"{kept} of {watched.total} trainings are kept"
            raise StoppedError(f"{trials}; the same command goes on from there:\n{again}") from None
    if csv is not None:
        write_page(csv, to_csv(found.result))
    if as_json:
        from .screen import show_json

        show_json({"folder": str(found.folder.path), "report": str(found.folder.report), **found.result})
    else:
        _show(found, again)


def varied_of(vary: list[str] | None) -> dict[str, Any]:
    """The `--vary` options as a mapping; `10,20,40` is a list too. Raises `ConfigError`."""
    from ..config import ConfigError, override

    found: dict[str, Any] = {}
    for each in vary or []:
        key, equals, text = each.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--vary {each!r}: write key=values, for example --vary rounds.total=10,20,40")
        listed = text.strip() if text.strip()[:1] in ("[", "{") else f"[{text}]"
        _, value = override(f"{key}={listed}")
        if isinstance(value, str):  # words, as `--set` takes them
            value = [part.strip() for part in text.split(",")] if text.strip()[:1] not in ("[", "{") else value
        if key.strip() in found:
            raise ConfigError(f"--vary {key.strip()}: given twice; give all its values at once, with commas between")
        found[key.strip()] = value
    return found


def reproduction(configuration: Path) -> str:
    """The command line as it was given: the same one goes on with a study, or shows it again."""
    given = sys.argv[1:]
    return shlex.join(["tacit", *given] if given[:1] == ["study"] else ["tacit", "study", str(configuration)])


class Watched:
    """Shows trials as they end: how many, the best so far, and the time that is left. Always on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._said = 0.0
        self.done = 0
        self.total = 0

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, status: Status) -> None:
        """Called after every answer of a worker."""
        self.done, self.total = status.done, status.total
        if self._quiet:
            return
        left = "" if status.left != status.left else f"{clock(status.left)} left"
        doing = {"sketch": "checking settings", "price": "accounting", "curve": "drawing"}.get(status.doing, "")
        text = "  ".join(part for part in (status.best, doing, left) if part)
        if self._terminal:
            self._show(status, text)
        elif status.seconds - self._said > _EVERY or status.doing == "end":
            self._said = status.seconds
            note(f"training {status.done}/{status.total}  {text}")

    def _show(self, status: Status, text: str) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as RichProgress

            from .screen import err

            columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.fields[status]}", markup=False))
            self._bar = RichProgress(TextColumn("training"), *columns, console=err(), transient=True)
            self._task = self._bar.add_task("", total=status.total, completed=status.done, status="")
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=status.done, total=status.total, status=text)


def _show(found: Study, again: str) -> None:
    from ..simulation.numerals import epsilon_text, metric_name
    from ..simulation.studies import words
    from .screen import out, say, table

    result: Mapping[str, Any] = found.result
    metric, keys = str(result["metric"]), [axis["key"] for axis in result["study"]["axes"]]
    short, mark = words.short_keys(keys), words.marked(result)
    trials = sum(len(point["trials"]) for point in result["points"])
    say(f"{len(result['points'])} settings, {trials} trainings, {clock(result['cpu_seconds'])} of one core")
    rows = [
        [
            words.letter_of(result, point),
            *(words.value_text(point["values"].get(key)) for key in keys),
            words.mean_text(metric, point),
            epsilon_text(point["epsilon"]),
            epsilon_text(point["epsilon_unamplified"]),
            epsilon_text(point["epsilon_at_1e-5"]),
        ]
        for point in found.frontier[-_SHOWN:]
    ]
    head = ["", *(short[key] for key in keys), metric_name(metric), "ε", "ε, draw known", "ε at δ = 1e-5"]
    say(f"The frontier{mark}; every ε is {words.claim_text(result)}, ± the 95 % interval of the mean over seeds:")
    out().print(table(head, rows))
    if steps := words.step_rows(result):
        say("What more of each buys, everything else alike:")
        out().print(table(words.step_head(result), steps, left=2))
    for sentence in (*words.answers(result), *words.tuning_text(result)):
        say(sentence)
    for point in result["refused"][:_SHOWN]:
        say(f"Cannot be run: {words.setting_text(result, point)}: {point['reason']}")
    if text := words.extrapolated_text(result):
        say(text)
    say("Made with seeded randomness: it shows what a deployment would cost and reach; it protects nobody's real data.")
    say(f"Report: {found.folder.report}")
    say(f"Again:  {again}")
