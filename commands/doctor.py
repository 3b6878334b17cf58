"""`tacit doctor`: what is wrong here, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .faults import FailedError
from .flags import Json


def command(
    out: Annotated[Path, typer.Option("--out", help="The folder that runs would be written to.")] = Path(),
    as_json: Json = False,
) -> None:
    """Check this machine: Python, packages, memory, disk, entropy, CUDA, and two self-checks with known answers.

    Whatever is wrong comes with the command that mends it. Leaves with 1 if anything is.

    Example: `tacit doctor`
    """
    from ..simulation.health import Check, checks
    from .screen import out as console
    from .screen import show_json

    found: list[Check] = []
    screen = None if as_json else console()
    for check in checks(out):
        found.append(check)
        if screen is not None:
            from rich.text import Text

            sign, style = {"ok": ("✓", "green"), "note": ("!", "yellow"), "wrong": ("✗", "red")}[check.verdict]
            screen.print(Text.assemble((sign, style), f" {check.name}  ", (check.found, "dim")))
            if check.remedy:
                screen.print(Text(f"    {check.remedy}", style="bold"))
    wrong = [check.name for check in found if check.verdict == "wrong"]
    if as_json:
        show_json({"healthy": not wrong, "checks": [check.to_json() for check in found]})
        if wrong:
            raise typer.Exit(1)
        return
    if wrong:
        raise FailedError(
            f"{len(wrong)} of {len(found)} checks failed: {', '.join(wrong)}; the lines above say what to do"
        )
    if screen is not None:
        screen.print("All is well. Next: tacit demo", style="bold")
