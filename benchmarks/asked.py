"""Asked: the figures that the project set itself against its peers, and which of them a run holds."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crew import Crew, Turn
from works import WORKS

Rates = Mapping[str, float]  # clients a second by contender


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one row: `of` computes it from rates (`KeyError` where somebody did not take part); `most` where less is
    better. `form` shows it, `asked` and `goal` are what was set."""

    row: str
    what: str
    of: Callable[[Rates], float]
    asked: float
    goal: float | None
    form: str = "{:.1f} ×"
    most: bool = False

    def line(self, value: float | None) -> str:
        """A line of the table."""
        if value is None:
            return (
                f"| {self.row} | {self.what} | not measured | {self._bound(self.asked)} | {self._bound(self.goal)} | |"
            )
        held, best = self._holds(value, self.asked), self._holds(value, self.goal)
        word = "missed" if not held else "held, goal too" if best and self.goal is not None else "held"
        bounds = f"{self._bound(self.asked)} | {self._bound(self.goal)}"
        return f"| {self.row} | {self.what} | {self.form.format(value)} | {bounds} | {word} |"

    def _holds(self, value: float, bound: float | None) -> bool:
        return bound is None or (value <= bound if self.most else value >= bound)

    def _bound(self, bound: float | None) -> str:
        return "" if bound is None else ("≤ " if self.most else "≥ ") + self.form.format(bound)


def over(one: str, *others: str) -> Callable[[Rates], float]:
    """How many times as fast `one` is as the fastest of `others` that took part, names by their beginnings."""

    def of(rates: Rates) -> float:
        found = [rate for name, rate in rates.items() if name.startswith(others)]
        if not found:
            raise KeyError(others)
        return rates[one] / max(found)

    return of


def percent(one: str, other: str) -> Callable[[Rates], float]:
    """`one` in percent of `other`."""
    return lambda rates: 100 * rates[one] / rates[other]


def slower(one: str, other: str) -> Callable[[Rates], float]:
    """How much more time `one` takes than `other`, in percent."""
    return lambda rates: 100 * (rates[other] / rates[one] - 1)


FIGURES = (
    Figure("W1 plain", "Flower", over("W1 tacit plain", "W1 flower plain"), 350, None),
    Figure("W1 plain", "pfl, better of 1 and 2 processes", over("W1 tacit plain", "W1 pfl plain"), 9, 15),
    Figure("W1 plain", "loop by hand on 2 processes", over("W1 tacit plain", "W1 loop"), 5, None),
    Figure("W1 plain", "fp32 limit, torch.mm", percent("W1 tacit plain", "W1 matrices mm"), 48, 60, "{:.0f} %"),
    Figure(
        "W1 owner-level DP", "more time than plain", slower("W1 tacit owner", "W1 tacit plain"), 15, 5, "{:.0f} %", True
    ),
    Figure("W1 example-level DP-SGD", "Opacus, fresh per client", over("W1 tacit example", "W1 opacus fresh"), 10, 15),
    Figure("W1 example-level DP-SGD", "Opacus, ghost clipping", over("W1 tacit example", "W1 opacus ghost"), 6.5, 10),
    Figure("W2 plain", "pfl, better of 1 and 2 processes", over("W2 tacit plain", "W2 pfl plain"), 1.25, 1.4, "{:.2f} ×"),
    Figure("W2 plain", "loop by hand on 2 processes", over("W2 tacit plain", "W2 loop"), 1.25, 1.4, "{:.2f} ×"),
    Figure("W2 plain", "Flower", over("W2 tacit plain", "W2 flower plain"), 8, None),
    Figure("W2 plain", "fp32 limit, torch.mm", percent("W2 tacit plain", "W2 matrices mm"), 68, 80, "{:.0f} %"),
    Figure("W2 example-level DP-SGD", "Opacus at its best", over("W2 tacit example", "W2 opacus"), 2, 4, "{:.2f} ×"),
)  # fmt: skip
# Figures that benchmarks of their own find, by program.
ALONE = {
    "discrete.py": Figure(
        "digits, discrete noise, 20 bits, cohort 100", "time of owner-level DP", over(""), 2, 1.3, "{:.2f} ×", True
    ),
    "startup.py": Figure(
        "start-up of `tacit simulate`", "imports alone, processor time", over(""), 1.4, 1.1, "{:.2f} ×", True
    ),
}


def clock(turns: Sequence[Turn]) -> float:
    """Clients a second, median of turns."""
    return statistics.median(turn.clients / turn.seconds for turn in turns)


def processor(turns: Sequence[Turn]) -> float:
    """Clients for one second of both processors, median of turns: the clock of a machine that does nothing else."""
    return statistics.median(2 * turn.clients / max(turn.spent, 0.005) for turn in turns)


def rates(crew: Crew) -> dict[str, float]:
    """Clients a second of everybody."""
    return {key: clock(turns) for key, turns in crew.turns.items()}


def values(found: Rates) -> list[tuple[Figure, float | None]]:
    """Every figure that these rates give."""
    result: list[tuple[Figure, float | None]] = []
    for figure in FIGURES:
        try:
            result.append((figure, figure.of(found)))
        except KeyError:
            result.append((figure, None))
    return result


def shown(rate: float) -> str:
    """Clients a second, to three digits or the whole."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 10 else f"{rate:.2f}"


def speeds(crew: Crew) -> str:
    """The table of contenders."""
    lines = [
        "| contender | clients/s | clients/s of 2 processors | Tacit is | rounds a turn |",
        "|---|---|---|---|---|",
    ]
    found = rates(crew)
    for key, turns in crew.turns.items():
        work, name = WORKS[key.split()[0]], key.split()[1:]
        own = f"{work.name} tacit {_level(name)}"
        ratios = ["", ""]
        if own in found and name[0] != "tacit":
            ratios = [f"{found[own] / found[key]:.2f} ×", f"{processor(crew.turns[own]) / processor(turns):.2f} ×"]
        lines.append(f"| {key} | {shown(found[key])} | {shown(processor(turns))} | {ratios[0]} | {ratios[1]} |")
    return "\n".join(lines)


def _level(name: Sequence[str]) -> str:
    if name[0] == "opacus":
        return "example"
    return "owner" if name[0] in ("flower", "pfl") and name[1].startswith("owner") else "plain"


def machine() -> str:
    """What this ran on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{os.cpu_count()} × {name}"
