"""Summary: what a run is before it starts, and what came of it, in a screen of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .progress import clock, epsilon
from .screen import err, note, out, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from ..privacy.pipeline import Stage
    from ..simulation.artefacts import RunFolder
    from ..simulation.result import RoundRow, Run
    from ..simulation.run import Simulation
    from ..strategies.federation import Federation


def show_start(simulation: Simulation, folder: RunFolder) -> None:
    """The pipeline, the engine and the size of the run, on standard error."""
    federation = simulation.federation
    done = simulation.progress.round
    console = err()
    rounds = f"{simulation.total} rounds" if not done else f"rounds {done + 1} to {simulation.total}"
    name = federation.config.name or federation.task.name
    console.print(
        f"[bold]{_escaped(name)}[/bold]: {federation.population} owners, {rounds}, engine {simulation.engine}"
    )
    note(f"  engine  {simulation.engine}: {simulation.why}")
    note(f"  workers {simulation.processes}")
    for side, line in zip(("owner ", "server"), halves(federation), strict=True):
        note(f"  {side}  {line}")
    for each in _masks(federation):
        note(f"  masks   {each}")
    for each in simulation.notes:
        note(f"  note    {each}")
    note(f"  folder  {folder.path}")


def _masks(federation: Federation) -> tuple[str, ...]:
    """What the masks withstand and cost; nothing where there are none."""
    from ..strategies.masking import outlook

    schedule = federation.schedule
    found = outlook(schedule.pipeline, schedule.participation.most(schedule.population))
    return () if found is None else found.words()


def halves(federation: Federation) -> tuple[str, str]:
    """The pipeline read left to right at the owner, and right to left at the server, as two lines."""
    from ..privacy.pipeline import Stage

    stages = federation.pipeline.stages
    at_owner = [str(federation.config.local["use"]), *map(_stage, stages), "Σ"]
    at_server = [
        "Σ",
        *(_stage(stage) for stage in reversed(stages) if type(stage).receive is not Stage.receive),
        str(federation.config.strategy["use"]),
    ]
    return " → ".join(at_owner), " → ".join(at_server)


def _stage(stage: Stage) -> str:
    from ..privacy.stages.table import to_row

    row = dict(to_row(stage))
    name = row.pop("stage")
    inside = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {' and '.join(value)}"
        if isinstance(value, tuple) else f"{key} {value}" for key, value in row.items()
    )  # fmt: skip
    return f"{name}({inside})" if inside else str(name)


def in_seconds(run: Run) -> str:
    """ " in 3 s", or nothing where the time would tell how many owners were drawn in secret."""
    return "" if math.isnan(run.timing.seconds) else f" in {clock(run.timing.seconds)}"


def show_run(run: Run, folder: RunFolder, again: str) -> None:
    """The result: metrics, claims, notes, where the report is."""
    last = run.rounds[-1]
    say(
        f"{last.number} rounds in {clock(run.timing.seconds)}, {run.timing.clients_per_second:,.0f} owners a second, "
        f"seed {run.seed}"
    )
    say_metrics(last)
    say()
    out().print(claims_table([figures.to_json() for figures in run.claims]))
    for each in run.notes:
        say(f"Note: {each}")
    say("Made with seeded randomness: it shows what a deployment would cost and reach; it protects nobody's real data.")
    say(f"Report: {folder.report}")
    say(f"Again:  {again}")


def say_metrics(row: RoundRow) -> None:
    """What an evaluated round found: on public test data, and at the owners, whose numbers are noised."""
    from ..simulation.numerals import estimate_text, metric_name

    if row.metrics:
        say(metrics_line(row.metrics))
    if row.measured:
        told = "   ".join(f"{metric_name(name)} {estimate_text(name, each)}" for name, each in row.measured.items())
        say(f"measured by the owners before round {row.number}, ± its noise:   {told}")


def metrics_line(metrics: Mapping[str, Any]) -> str:
    """All metrics of one evaluation, the leading one first."""
    from ..simulation.numerals import metric_name, metric_text

    first = [name for name in ("accuracy", "loss") if name in metrics]
    names = [*first, *(name for name in metrics if name not in first)]
    return "   ".join(f"{metric_name(name)} {metric_text(name, metrics[name])}" for name in names)


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """One row per observer: ε, ε had the draw of owners been known, and ε at δ = 1e-5."""
    first = claims[0]
    rows = [
        [
            str(claim["observer"]),
            epsilon(claim["epsilon"]),
            epsilon(claim["epsilon_unamplified"]),
            epsilon(claim["epsilon_at_1e-5"]),
            str(claim["accountant"]),
        ]
        for claim in claims
    ]
    title = f"Privacy of one {first['unit']}, {first['relation']}, δ = {first['delta']:.2g}"
    return table(["observer", "ε", "ε, draw known", "ε at δ = 1e-5", "accountant"], rows, title=title)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
