"""Figures of a deployment, with stock Flower measured in the same run: loopback, databases in files, medians.

    python benchmarks/deployment.py --quick     # small rounds and a model of 100 MB
    python benchmarks/deployment.py             # more rounds, 1 GB, 30 owners for 50 rounds, real agents, idle daemons
    python benchmarks/deployment.py --only model

Prints a table of Markdown: what was measured, what was reached, what is asked for. The ratios compare what ran minutes apart
on the same machine. Ends with 1 where a figure is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from daemons import idle, real_rounds
from loopback import Measured, loopback
from stock import flower


@dataclass(slots=True)
class Table:
    """The figures so far; whether all that were asked for were reached."""

    held: bool = True
    spent: list[str] = field(default_factory=list)

    def row(self, what: str, reached: str, asked: str = "", holds: bool | None = None) -> None:
        """One figure. Without `asked` it is only told."""
        mark = "" if holds is None else (" (held)" if holds else " (MISSED)")
        self.held = self.held and holds is not False
        print(f"| {what} | {reached} | {asked}{mark} |", flush=True)

    def spending(self, what: str, measured: Measured) -> None:
        """What the programs spent, for the end of the output."""
        parts = (f"{name} {seconds:.2f} s" for name, seconds in measured.spent.items())
        peaks = (f"{name} {size:.0f} MB" for name, size in measured.peaks.items())
        self.spent.append(f"{what}: processor a round {', '.join(parts)}; peak {', '.join(peaks)}")


def middle(seconds: list[float]) -> float:
    return statistics.median(seconds)


def span(seconds: list[float]) -> str:
    return f"{middle(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} rounds)"


def small(table: Table, quick: bool) -> None:
    """Rounds of next to nothing."""
    with flower(2) as stock:
        theirs = stock.run(0.0, 1, 3 if quick else 5).seconds
    table.row("stock Flower: no-op round, 2 owners", span(theirs))
    for owners, limits in ((2, {1: 0.5, 4: 2.0}), (10, {1: 3.0, 4: 10.0})):
        with loopback(owners) as here:
            for phases, limit in limits.items():
                ours = here.run(0.0, phases, 15)
                table.spending(f"{owners} owners, {phases} phases", ours)
                what = "no-op round" if phases == 1 else "four-phase round"
                found = middle(ours.seconds)
                table.row(f"{what}, {owners} owners", span(ours.seconds), f"≤ {limit:g} s", found <= limit)
                if (owners, phases) == (2, 1):
                    ratio = middle(theirs) / found
                    table.row("the same against stock", f"{ratio:.0f} ×", "≥ 12 ×", ratio >= 12)


def model(table: Table, quick: bool) -> None:
    """A model of 100 MB, both ways, with two owners."""
    rounds = 3 if quick else 5
    with loopback(2) as here:
        ours = here.run(100.0, 1, rounds, warm=1)
    with flower(2) as stock:
        many, one = stock.run(100.0, 20, rounds), stock.run(100.0, 1, rounds)
    table.spending("2 owners, 100 MB", ours)
    table.row("100 MB, 2 owners", span(ours.seconds))
    for name, theirs, least in (("20 arrays", many, 1.5), ("one array", one, 2.5)):
        table.row(f"stock Flower: 100 MB in {name}, 2 owners", span(theirs.seconds))
        ratio = middle(theirs.seconds) / middle(ours.seconds)
        table.row(f"100 MB against stock, {name}", f"{ratio:.2f} ×", f"≥ {least:g} ×", ratio >= least)
        table.row(f"stock Flower: coordinator's peak, {name}", f"{theirs.peak / 100:.1f} × the model")
    factor = ours.peaks["coordinator"] / 100
    table.row("coordinator's peak memory, 100 MB", f"{factor:.1f} × the model", "≤ 6 ×", factor <= 6)
    table.row("an agent's peak memory, 100 MB", f"{ours.peaks['agents'] / 100:.1f} × the model")


def large(table: Table, quick: bool) -> None:
    """A model of 1 GB."""
    with loopback(2) as here:
        ours = here.run(1000.0, 1, 2, warm=0)
    table.spending("2 owners, 1 GB", ours)
    factor = ours.peaks["coordinator"] / 1000
    table.row("1 GB, 2 owners", span(ours.seconds))
    table.row("coordinator's peak memory, 1 GB", f"{factor:.1f} × the model", "≤ 6 ×", factor <= 6)
    table.row("an agent's peak memory, 1 GB", f"{ours.peaks['agents'] / 1000:.1f} × the model")


def many(table: Table, quick: bool) -> None:
    """Thirty owners: fifty rounds of nodes that share two processes, then real agents, a process each."""
    rounds = 10 if quick else 50
    with loopback(30) as here:
        ours = here.run(0.0, 1, rounds)
    table.spending("30 owners", ours)
    table.row("30 owners in 2 processes, no-op", span(ours.seconds), "50 rounds", len(ours.seconds) == 50 or None)
    if not quick:
        table.row("30 real agents, a process each, training (`tacit up`)", span(real_rounds(30, 10)))


def still(table: Table, quick: bool) -> None:
    """Daemons with nothing to do."""
    for program, share in idle(20.0 if quick else 60.0).items():
        agent = program.startswith("agent")
        table.row(
            f"idle {program}", f"{share:.2f} % of a core", "≤ 1 %" if agent else "", share <= 1 if agent else None
        )


PARTS: dict[str, Callable[[Table, bool], None]] = {
    "small": small, "model": model, "large": large, "many": many, "idle": still,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    table = Table()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print("| what | reached | asked |\n|---|---|---|", flush=True)
    for name in arguments.only or (("small", "model") if arguments.quick else PARTS):
        PARTS[name](table, arguments.quick)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end", *table.spent, sep="\n")
    sys.exit(not table.held)


if __name__ == "__main__":
    main()
