"""Tacit beside Flower, pfl, Opacus and a loop by hand, in one run on one machine: `python benchmarks/peers.py`.

What is trained stands in `works.py`, who trains it and how under `contenders/`. Everybody is a process or two of one thread
each (Flower: two actors), started once, warmed up, and idle while others have their turn; peers live in `.venv-peers`.
Medians over `--repeats` turns. It fails where a contender did; a figure that is missed is said to be, and fails nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from asked import machine, rates, speeds, values
from crew import OWN, PEERS, Contender, Crew, CrewError, crew, python_of

HERE = Path(__file__).resolve().parent
PATIENCE = 600.0  # seconds for the benchmarks that run by themselves


def contenders(work: str, quick: bool) -> list[Contender]:
    """Everybody who takes part in a work."""

    def tacit(level: str) -> Contender:
        return Contender(f"tacit {level}", "tacit_rounds.py", (work, level, "2"), OWN)

    def opacus(way: str, mode: str, family: str) -> Contender:
        return Contender(
            f"opacus {family}: {way}, {mode}", "opacus_steps.py", (work, way, mode), family=f"opacus {family}"
        )

    modes = ("hooks", "ew") if quick else ("hooks", "ew", "functorch")
    found = [tacit("plain"), tacit("owner"), tacit("example")]
    found += [Contender("flower plain", "flower_rounds.py", (work, "plain"))]
    found += [Contender(f"pfl plain, {n}", "pfl_rounds.py", (work, "plain", str(n))) for n in (1, 2)]
    if work == "W1":
        found += [Contender("flower owner", "flower_rounds.py", (work, "owner"))]
        found += [Contender("pfl owner, 2", "pfl_rounds.py", (work, "owner", "2"))]
        found += [Contender("loop", "by_hand.py", (work, "contiguous"))]
    else:
        layouts = ("contiguous", "channels-last")
        found += [Contender(f"loop, {one}", "by_hand.py", (work, one), family="loop") for one in layouts]
    found += [Contender(f"matrices {way}", "matrices.py", (work, way)) for way in ("mm", "onednn")]
    found += [opacus("fresh", mode, "fresh") for mode in modes]
    found += [opacus("reused", mode, "reused") for mode in modes]
    return found + [opacus(way, "ghost", "ghost") for way in ("fresh", "reused")]


def measured(crew: Crew, work: str, options: argparse.Namespace, home: Path) -> None:
    """Start the contenders of a work, let them take turns, and let them go."""
    wanted = [
        one for one in contenders(work, options.quick) if not options.only or any(w in one.key for w in options.only)
    ]
    if not wanted:
        return
    began = time.perf_counter()
    crew.join(wanted, 0.4 if options.quick else 1.0, home)
    for one in crew.running:
        told = ", ".join(
            f"{key} {value}" for key, value in one.about.items() if key in ("version", "processes", "engine")
        )
        print(f"{one.contender.key}: {told}; {one.rounds} rounds a turn", flush=True)
    joined = time.perf_counter()
    crew.take_turns(options.repeats)
    ended = time.perf_counter()
    crew.close()
    turns = [turn for key, turns in crew.turns.items() if key.startswith(work) for turn in turns]
    idle = sum(turn.others for turn in turns) / max(1e-9, sum(turn.seconds for turn in turns))
    print(
        f"{work}: {joined - began:.0f} s to start, {ended - joined:.0f} s of turns, meanwhile those who waited took "
        f"{100 * idle:.1f} % of a processor\n",
        flush=True,
    )  # fmt: skip


def beside(names: tuple[str, ...]) -> None:
    """Benchmarks of their own whose figures belong to the same table, as they print them."""
    for name in names:
        program = HERE / name
        if program.exists():
            done = subprocess.run(
                [str(python_of(OWN)), str(program)], capture_output=True, text=True, timeout=PATIENCE, check=False,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            print(f"{name}: {done.stdout.strip()}" + (f" (failed) {done.stderr[-1000:]}" if done.returncode else ""))


def report(crew: Crew, options: argparse.Namespace, load: tuple[float, float, float]) -> None:
    """Both tables, and all of it as JSON where a file is given."""
    after = os.getloadavg()
    print(f"\n{time.strftime('%d %B %Y')}, {machine()}, load {load[0]:.1f} before and {after[0]:.1f} after\n")
    print(speeds(crew))
    for family, tried in crew.tried.items():
        print(f"\n{family}, tried once: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in tried.items()))
    found = values(rates(crew))
    print("\n| work | Tacit against | reached | asked | goal | |\n|---|---|---|---|---|---|")
    for figure, value in found:
        print(figure.line(value))
    if options.json:
        whole = {
            "machine": machine(), "date": time.strftime("%Y-%m-%d"), "load": [load[0], after[0]],
            "clients_per_second": rates(crew),
            "turns": {key: [[t.clients, t.seconds, t.spent] for t in turns] for key, turns in crew.turns.items()},
            "figures": [{"row": f.row, "against": f.what, "reached": v, "asked": f.asked} for f, v in found],
        }  # fmt: skip
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


def stop(number: int, frame: FrameType | None) -> None:
    """Ended from outside: contenders are let go on the way out."""
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two shorter turns of everybody")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="WORDS", help='contenders whose name holds one: "W1 pfl"'
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all turns there too")
    options = parser.parse_args()
    options.repeats = min(options.repeats, 2) if options.quick else options.repeats
    try:
        python_of(OWN), python_of(PEERS)
    except CrewError as error:
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, stop)
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, crew() as found:
        for work in ("W1", "W2"):
            measured(found, work, options, Path(folder))
    if not options.only:
        beside(("discrete.py", "startup.py"))
    report(found, options, load)
    for fault in found.faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
