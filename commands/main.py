"""The `tacit` program: parses the command line and maps outcomes to exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import click
import typer
from typer.utils import get_params_from_function

from .audit import command as audit
from .certificate import app as certificate
from .client import app as client
from .compare import command as compare
from .demo import command as demo
from .doctor import command as doctor
from .ending import Ending
from .evaluate import command as evaluate
from .export import command as export
from .faults import INTERRUPTED, Traced
from .init import command as init
from .ledger import app as ledger
from .plan import command as plan
from .server import app as server
from .simulate import command as simulate
from .study import command as study
from .up import command as up

VERBS: Mapping[str, Callable[..., None]] = {
    "demo": demo,
    "init": init,
    "simulate": simulate,
    "study": study,
    "up": up,
    "plan": plan,
    "doctor": doctor,
    "audit": audit,
    "compare": compare,
    "export": export,
    "evaluate": evaluate,
}
GROUPS: Mapping[str, typer.Typer] = {
    "server": server,
    "client": client,
    "ledger": ledger,
    "certificate": certificate,
}

app = typer.Typer(
    name="tacit",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, verb in VERBS.items():
    app.command(name)(verb)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


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
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; prints its result or its fault and returns the exit code."""
    ending = Ending(as_json="--json" in arguments)
    program = _program()
    with ending, Traced():
        code = program.main(list(arguments), prog_name="tacit", standalone_mode=False)
        if code == INTERRUPTED:  # how typer puts a KeyboardInterrupt that no verb had words for
            raise KeyboardInterrupt
        ending.code = code if isinstance(code, int) else 0
    return ending.code


def _program() -> click.Command:
    """The program as click runs it, with the help of its arguments.

    Click 8.5 gives arguments a help of their own, empty, in which the one that this typer sets is lost.
    """
    program = typer.main.get_command(app)
    _explain(app, program)
    return program


def _explain(described: typer.Typer, group: click.Command) -> None:
    """Give the arguments of all verbs below `group` the help that `described` has for them."""
    commands = group.commands if isinstance(group, click.Group) else {}
    for verb in described.registered_commands:
        if verb.name is None or verb.callback is None:
            continue
        declared = get_params_from_function(verb.callback)
        for parameter in commands[verb.name].params:
            if isinstance(parameter, click.Argument) and parameter.name is not None:
                parameter.help = declared[parameter.name].default.help
    for inner in described.registered_groups:
        if inner.name is not None and inner.typer_instance is not None:
            _explain(inner.typer_instance, commands[inner.name])
