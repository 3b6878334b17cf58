"""The `tacit` program: parses the command line and maps outcomes to exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import compare, demo, doctor, evaluate, export, init, plan, simulate
from .ending import Ending
from .faults import Traced

app = typer.Typer(
    name="tacit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, init, simulate, plan, doctor, compare, export, evaluate):
    app.command(verb.NAME)(verb.command)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Federated learning with derived privacy.

    Owners keep their data; one model is trained over all of it; every printed ε is derived from what ran.
    New here? Type `tacit demo`.
    """
    if version:
        from .. import __version__

        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> None:
    """Run the program; leaves the process with its exit code."""
    # A service manager stops with SIGTERM; it is to leave a checkpoint just as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; prints its result or its fault and returns the exit code."""
    ending = Ending(as_json="--json" in arguments)
    program = typer.main.get_command(app)
    with ending, Traced():
        code = program.main(list(arguments), prog_name="tacit", standalone_mode=False)
        ending.code = code if isinstance(code, int) else 0
    return ending.code
