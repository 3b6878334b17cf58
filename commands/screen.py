"""Screen: where text goes. Results to standard output, progress and errors to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNSEEN_WIDTH = 120  # of tables that no terminal shows


def out() -> Console:
    """The console of results; made anew, because the stream may have been replaced since."""
    return _console(sys.stdout)


def err() -> Console:
    """The console of progress and errors."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    """A console that folds lines on a terminal only: in a file or a pipe, a path or a command stays in one piece."""
    from rich.console import Console

    terminal = stream.isatty()
    width = None if terminal or "COLUMNS" in os.environ else _UNSEEN_WIDTH
    return Console(file=stream, highlight=False, soft_wrap=not terminal, width=width)


def say(text: str = "") -> None:
    """A line of a result, as it is: nothing in it is read as markup."""
    out().print(text, markup=False)


def note(text: str = "") -> None:
    """A line beside the result, on standard error."""
    err().print(text, markup=False)


def show_json(value: Any) -> None:
    """`value` as JSON on standard output, with nothing around it."""
    from ..simulation.document import dumps

    sys.stdout.write(dumps(value) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, title: str | None = None) -> Table:
    """A plain table: the first `left` columns are text, the rest numbers. Cells are never read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for index, name in enumerate(head):
        made.add_column(Text(name), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def logged() -> None:
    """A daemon's log goes to standard error, a line an event; what Flower's client says of each call does not."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
