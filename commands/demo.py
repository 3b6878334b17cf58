"""`tacit demo`: both settings on real data, in under a minute, offline."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import StoppedError, Traced
from .flags import Json, Quiet, Seed

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from ..server.coordinator import Round
    from ..simulation.result import RoundRow, Run
    from ..simulation.run import Simulation

SETTINGS = {
    "digits": "479 owners of three images each; hidden: whether an owner took part",
    "breast-cancer": "5 institutions of 91 records each; hidden: whether a record was used",
}


def command(
    seed: Seed = 0,
    out: Annotated[Path, typer.Option("--out", help="Where the run folders go.")] = Path("runs/demo"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train two private models on real bundled data and write their reports, offline, in under a minute.

    Many small owners learn to read digits, protected owner by owner; a few institutions learn to diagnose, protected record
    by record. Every ε that is printed is derived from what ran.

    Example: `tacit demo`
    """
    from ..config import parse
    from .starters import STARTERS

    if not quiet:
        from .screen import note

        note("Two private trainings on real data, offline:")
        for name, words in SETTINGS.items():
            note(f"  {name}: {words}")
    from ..simulation.artefacts import default_path, fresh
    from ..simulation.kept import simulate_into

    board = Board(list(SETTINGS), quiet)
    done: dict[str, tuple[Run, dict[str, Any], Path]] = {}
    with board:
        for name in SETTINGS:
            config = parse(STARTERS[name], name=name)
            folder = fresh(default_path(config, out))
            again = f"tacit init {name} --task {name} && tacit simulate {name}/federation.toml --seed {seed}"
            try:
                with Traced(folder.path):
                    run, result = simulate_into(folder, config, seed=seed, reproduce=again, watch=board.watch(name))
            except KeyboardInterrupt:
                raise StoppedError(f"the demo was stopped; what it left lies in {out}/ and can be removed") from None
            done[name] = (run, result, folder.report)
    if as_json:
        from .screen import show_json

        show_json({name: {"report": str(report), **result} for name, (_, result, report) in done.items()})
        return
    from .screen import say

    for name, (run, _, report) in done.items():
        say(sentence(name, run, report))
    say("Next, your own: tacit init mine && tacit simulate mine/federation.toml")


def sentence(name: str, run: Run, report: Path) -> str:
    """What happened in one setting."""
    from .progress import epsilon

    claim, first = run.claims[0].claim, run.claims[0]
    return (
        f"{name}: {100 * run.final.accuracy:.1f} % right on unseen data, ε = {epsilon(first.epsilon)} "
        f"(δ = {first.delta:.2g}) for every {claim.unit}, against the {claim.observer}. {report}"
    )


@dataclass(slots=True)
class Row:
    """One setting on the board."""

    status: str = "waiting"
    rounds: str = ""
    metric: str = ""
    epsilon: str = ""
    rate: str = ""
    told: int = 0  # the last round that a plain line was printed for


class Board:
    """A live table with one row per setting on a terminal; a line per tenth of a run elsewhere."""

    def __init__(self, names: list[str], quiet: bool) -> None:
        self._rows = {name: Row() for name in names}
        self._quiet = quiet
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if not self._quiet and sys.stderr.isatty():
            from rich.live import Live

            from .screen import err

            self._live = Live(self._table(), console=err(), refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            for row in self._rows.values():
                row.status = "done" if row.status == "writing the report" else row.status
            self._live.update(self._table())
            self._live.stop()

    def watch(self, name: str) -> Any:
        """The watch of one setting."""

        def seen(simulation: Simulation, record: Round, row: RoundRow | None) -> None:
            from .progress import epsilon

            here = self._rows[name]
            finished = record.number == simulation.total
            here.status = "writing the report" if finished else "training"
            here.rounds = f"{record.number}/{simulation.total}"
            here.rate = f"{simulation.trained / max(simulation.seconds, 1e-9):,.0f}"
            if row is not None:
                here.metric, here.epsilon = f"{100 * row.metrics['accuracy']:.1f} %", epsilon(row.epsilon)
            for other in self._rows.values():
                if other is not here and other.status == "writing the report":
                    other.status = "done"
            if self._live is not None:
                self._live.update(self._table())
            elif not self._quiet and row is not None and record.number - here.told >= simulation.total / 5:
                here.told = record.number
                from .screen import note

                note(f"{name}  round {here.rounds}  accuracy {here.metric}  ε {here.epsilon}  {here.rate} owners/s")

        return seen

    def _table(self) -> Table:
        from .screen import table

        rows = [[name, r.status, r.rounds, r.metric, r.epsilon, r.rate] for name, r in self._rows.items()]
        return table(["setting", "", "round", "accuracy", "ε so far", "owners/s"], rows, left=2)
