"""The `tacit` program: parses the command line and maps outcomes to exit codes."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="tacit", no_args_is_help=True, add_completion=False, help="Federated learning with derived privacy."
)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Federated learning with derived privacy."""
    if version:
        from .. import __version__

        typer.echo(__version__)


def run() -> None:
    """Run the program; leaves the process with its exit code."""
    app()
