"""Ending: how a command line ends. Turns whatever came out of a verb into one screen of text and an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import click

from .faults import FAILED, INTERRUPTED, REFUSED, USAGE, Fault, code_of, fault_of
from .screen import err, show_json

if TYPE_CHECKING:
    from rich.console import Console

TITLES: Mapping[int, str] = {
    FAILED: "failed",
    USAGE: "cannot be run like this",
    REFUSED: "refused by a budget or a policy",
    INTERRUPTED: "stopped",
}
_INTERRUPTED = "interrupted before there was anything to keep; nothing was left half-written"
_LONGEST = 12  # lines: a fault is one screen, whatever was wrong with the file


class Ending:
    """A stretch of work that ends in `code`. Foreseen errors end here, shown; what nobody foresaw goes through.

    A context manager, because an `except` would have to name what it cannot import without loading torch.
    """

    def __init__(self, as_json: bool) -> None:
        self.code = 0
        self._as_json = as_json

    def __enter__(self) -> Ending:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        fault = _fault(error)
        if fault is None:
            return False
        self.code = fault.code
        show(fault, self._as_json)
        return True


def _fault(error: BaseException | None) -> Fault | None:
    """The fault of an error that ends a command line; None where there is none, or nobody foresaw it."""
    if error is None:
        return None
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):  # click turns the one into the other
        return Fault(INTERRUPTED, "Interrupted", _INTERRUPTED)
    if isinstance(error, click.ClickException):
        return Fault(USAGE, type(error).__name__, _usage(error))
    return fault_of(error) if code_of(error) is not None else None


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = f"; `{context.command_path} --help` shows what it takes" if context is not None else ""
    return error.format_message().rstrip(".") + where


def show(fault: Fault, as_json: bool) -> None:
    """Print a fault: to standard error for people, as JSON to standard output for programs."""
    if as_json:
        show_json(fault.to_json())
        return
    from rich.text import Text

    console = err()
    style = "yellow" if fault.code == INTERRUPTED else "bold red"
    console.print(Text.assemble(("tacit", "bold"), ": ", (TITLES[fault.code], style)))
    lines = fault.message.splitlines() or [fault.kind]
    if len(lines) > _LONGEST:
        lines = [*lines[:_LONGEST], f"… and {len(lines) - _LONGEST} more; mend these first"]
    for each in lines:
        _indented(console, each)


def _indented(console: Console, line: str) -> None:
    from rich.padding import Padding
    from rich.text import Text

    # Padding folds at the console's width, which only a terminal has.
    console.print(Padding(Text(line), (0, 0, 0, 2), expand=False) if console.is_terminal else Text(f"  {line}"))
