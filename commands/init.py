"""`tacit init`: a commented configuration to start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .flags import Json


class Starter(StrEnum):
    """Tasks that a configuration can be started from."""

    digits = "digits"
    breast_cancer = "breast-cancer"
    topics = "topics"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder for federation.toml; made if need be.")],
    task: Annotated[Starter, typer.Option("--task", help="What is to be learned.")] = Starter.digits,
    as_json: Json = False,
) -> None:
    """Write a commented federation.toml that `tacit simulate` runs as it is.

    Three starting points: many small owners (digits), a few institutions (breast-cancer), text (topics). An existing file
    is never overwritten.

    Example: `tacit init hospital --task breast-cancer`
    """
    from .screen import say, show_json
    from .starters import STARTERS, write_starter

    path = write_starter(folder, STARTERS[task.value])
    if as_json:
        show_json({"file": str(path), "task": task.value})
        return
    say(f"Wrote {path}")
    say(f"Look at its cost first:  tacit plan {path}")
    say(f"Then train:              tacit simulate {path}")
