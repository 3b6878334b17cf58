"""Tacit beside Flower, pfl, Opacus and a loop by hand, in one run on one machine: `python benchmarks/peers.py`.

What is trained stands in `works.py`, who trains it and how under `contenders/`. Everybody is a process or two of one thread
each (Flower: two actors), started once, warmed up, and stopped while others have their turn; peers live in `.venv-peers`.
Medians over `--repeats` turns. It fails where a contender did; a figure that is missed is said to be, and fails nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from asked import ALONE, machine, rates, shown, speeds, values
from crew import OWN, PEERS, Contender, Crew, CrewError, crew, python_of

HERE = Path(__file__).resolve().parent
PATIENCE = 600.0  # seconds for the benchmarks that run by themselves


def contenders(work: str, quick: bool) -> list[Contender]:
    """Everybody who takes part in a work; where it is to be `quick`, in the settings alone that are known to be best."""

    def tacit(level: str) -> Contender:
        return Contender(f"tacit {level}", "tacit_rounds.py", (work, level, "2"), OWN)

    def opacus(family: str, way: str, mode: str) -> Contender:
        name = f"opacus {family}: {mode}" if way == family else f"opacus {family}: {way}"
        return Contender(name, "opacus_steps.py", (work, way, mode), family="" if quick else f"opacus {family}")

    found = [tacit("plain"), tacit("owner"), tacit("example")]
    found += [Contender(f"flower {level}", "flower_rounds.py", (work, level)) for level in ("plain", "owner")]
    found += [Contender(f"pfl plain, {n}", "pfl_rounds.py", (work, "plain", str(n))) for n in (1, 2)]
    found += [Contender("pfl owner, 2", "pfl_rounds.py", (work, "owner", "2"))]
    layouts = ("contiguous",) if quick or work == "W1" else ("contiguous", "channels-last")
    family = "loop" if len(layouts) > 1 else ""
    found += [Contender(f"loop, {layout}", "by_hand.py", (work, layout), family=family) for layout in layouts]
    found += [Contender(f"matrices {way}", "matrices.py", (work, way)) for way in ("mm", "onednn")]
    if quick:  # what was fastest where all were tried
        mode = "hooks" if work == "W1" else "ew"
        return [*found, opacus("fresh", "fresh", mode), opacus("ghost", "reused", "ghost")]
    found += [opacus(way, way, mode) for way in ("fresh", "reused") for mode in ("hooks", "ew", "functorch")]
    return found + [opacus("ghost", way, "ghost") for way in ("fresh", "reused")]


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
    taken = crew.take_turns(options.repeats)
    ended = time.perf_counter()
    crew.close()
    turns = [turn for key, turns in crew.turns.items() if key.startswith(work) for turn in turns]
    idle = sum(turn.others for turn in turns) / max(1e-9, sum(turn.seconds for turn in turns))
    print(
        f"{work}: {joined - began:.0f} s to start, {ended - joined:.0f} s for {taken} turns, meanwhile those who waited took "
        f"{100 * idle:.1f} % of a processor\n",
        flush=True,
    )  # fmt: skip


def beside(program: str) -> float | None:
    """The ratio that a benchmark of its own ends with (`… 1.23 ×`); None where it does not exist or fails."""
    if not (HERE / program).exists():
        return None
    done = subprocess.run(
        [str(python_of(OWN)), str(HERE / program)], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    print(f"{program}: {(done.stdout if not done.returncode else done.stderr[-1000:]).strip()}", flush=True)
    found = re.findall(r"([\d.]+) ×", done.stdout)
    return float(found[-1]) if found and not done.returncode else None


def report(crew: Crew, options: argparse.Namespace, load: tuple[float, float, float]) -> None:
    """Both tables, and all of it as JSON where a file is given."""
    after = os.getloadavg()
    print(f"\n{time.strftime('%d %B %Y')}, {machine()}, load {load[0]:.1f} before and {after[0]:.1f} after\n")
    print(speeds(crew))
    for family, tried in crew.tried.items():
        print(f"\n{family}, tried once: " + ", ".join(f"{name} {shown(rate)}" for name, rate in tried.items()))
    found = values(rates(crew))
    found += [(figure, None if options.only else beside(program)) for program, figure in ALONE.items()]
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
    report(found, options, load)
    for fault in found.faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
