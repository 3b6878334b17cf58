"""`tacit evaluate`: a trained model on other data."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import Json, RunPath


def command(
    run: RunPath,
    on: Annotated[
        str, typer.Option("--on", metavar="SOURCE", help="test, csv:PATH, npz:PATH, text:PATH or population:K/N.")
    ] = "test",
    as_json: Json = False,
) -> None:
    """Measure the model of a run on the public test data, or on a file of your own.

    What is printed is computed from that data without noise: it is for whoever may see the data, and not covered by the
    run's claims.

    Example: `tacit evaluate runs/breast-cancer-20261123-101500 --on csv:ward3.csv`
    """
    from ..simulation.numerals import metric_name, metric_text
    from ..simulation.saved import saved_run
    from .screen import out, say, show_json, table

    metrics = saved_run(run).metrics(on)
    if as_json:
        show_json({"run": str(run), "on": on, "metrics": metrics})
        return
    rows = [[metric_name(name), metric_text(name, value)] for name, value in metrics.items()]
    out().print(table(["measure", on], rows))
    if on != "test":
        say("Computed without noise: show it only to those who may see the data.")
