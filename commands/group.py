"""Group: several verbs under one word, such as `tacit server`; the word alone shows them."""

from __future__ import annotations

import typer


def group(name: str, purpose: str) -> typer.Typer:
    """An empty group; `purpose` is its line of help."""
    made = typer.Typer(name=name, help=purpose)

    def shown(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    made.callback(invoke_without_command=True, help=purpose)(shown)
    return made
