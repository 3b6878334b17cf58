"""`tacit audit`: an empirical lower bound on ε beside the claim."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .faults import FAILED
from .flags import Device, Json, Seed, Settings, overrides


class Sight(StrEnum):
    """What the guesser sees."""

    both = "both"
    white_box = "white-box"
    black_box = "black-box"


def command(
    what: Annotated[
        Path, typer.Argument(metavar="RUN|CONFIG", help="A run folder, whose configuration is audited, or a TOML file.")
    ],
    canaries: Annotated[
        int, typer.Option("--canaries", min=2, help="How many units of ours take part by a coin.")
    ] = 1000,
    view: Annotated[
        Sight,
        typer.Option("--view", help="What the guesser sees: every released sum, the final model, or both in turn."),
    ] = Sight.both,
    seed: Seed = 0,
    settings: Settings = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Where the page goes; by default audit.html in the run folder.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Insert canaries into a simulated run and try to tell which took part: does the claimed ε survive?

    A run is audited by its configuration, which is trained anew with canaries in it: the run's own model has nothing to guess.
    Prints a 95 % lower bound on ε, the largest that it could have shown, and how well members are told from others. Exit code
    1 where the bound exceeds the claim; 0 where it does not, or had no power to.

    Example: `tacit audit federation.toml --canaries 1000 --html audit.html`
    """
    changes = overrides(settings)
    config, tasks, place = read(what, changes, html)
    from ..simulation.artefacts import write_page
    from ..simulation.audits.audit import VIEWS, audit
    from ..simulation.audits.report import report
    from ..simulation.document import dumps
    from .screen import show_json

    views = VIEWS if view is Sight.both else tuple(each for each in VIEWS if each == view.value)
    found = audit(config, canaries=canaries, seed=seed, device=device, views=views, tasks=tasks)
    told = json.loads(dumps(found.to_json()))
    again = reproduction(what, canaries, view, seed, settings)
    if place is not None:
        write_page(place, report(told, again))
    if as_json:
        show_json({**told, "html": None if place is None else str(place)})
    else:
        show(told, place)
    if found.verdict == "fail":
        raise typer.Exit(FAILED)


def read(what: Path, changes: Mapping[str, Any], html: Path | None) -> tuple[Any, Path | None, Path | None]:
    """The configuration of a file or of a run, the folder of its own tasks, and where the page goes."""
    from ..config import load, parse

    if not what.is_dir():
        return load(what, changes), what.resolve().parent, html
    from ..simulation.artefacts import RunFolder, saved_config, saved_origin

    folder = RunFolder(what)
    config = parse(saved_config(folder).to_toml(), changes)
    return config, saved_origin(folder), html if html is not None else what / "audit.html"


def reproduction(what: Path, canaries: int, view: Sight, seed: int, settings: list[str] | None) -> str:
    """The command that makes the same audit again."""
    words = ["tacit", "audit", str(what), "--canaries", str(canaries), "--seed", str(seed)]
    if view is not Sight.both:
        words += ["--view", view.value]
    for each in settings or []:
        words += ["--set", each]
    return shlex.join(words)


def show(told: Mapping[str, Any], page: Path | None) -> None:
    """The audit on a terminal."""
    from ..simulation.audits.words import ANEW, overall, verdict_sentence
    from ..simulation.numerals import epsilon_text, lower_text, small_text
    from .screen import out, say, table

    claim, views = told["claim"], told["views"]
    say(f"{told['canaries']} canary {claim['unit']}s in {told['rounds']} rounds, observer {claim['observer']}")
    say(ANEW)
    for note in told["notes"]:
        say(note)
    rows = [
        ["ε claimed", *(epsilon_text(claim["epsilon"]) for _ in views)],
        [f"ε shown ({100 * told['level']:g} % certain)", *(lower_text(found["bound"]) for found in views.values())],
        ["   by the simple form", *(lower_text(found["bound_simple"]) for found in views.values())],
        ["   by the whole curve", *(lower_text(found["bound_curve"]) for found in views.values())],
        ["could have shown", *(lower_text(found["reach"]) for found in views.values())],
        ["estimate, no bound", *(epsilon_text(found["estimate"]) for found in views.values())],
        ["δ", *(small_text(claim["delta"]) for _ in views)],
        ["right guesses", *(f"{found['right']} of {found['guesses']}" for found in views.values())],
        ["TPR at 1 % FPR", *(f"{100 * found['roc']['tpr_at']['0.01']:.1f} %" for found in views.values())],
        ["   permitted", *(f"{100 * told['permitted']['0.01']:.1f} %" for _ in views)],
        ["verdict", *(str(found["verdict"]) for found in views.values())],
    ]
    out().print(table(["", *views], rows))
    say(verdict_sentence(overall(told)))
    if page is not None:
        say(f"Page: {page}")
