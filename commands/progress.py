"""Progress: a live line on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from .screen import err, note

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ..server.coordinator import Round
    from ..simulation.result import RoundRow
    from ..simulation.run import Simulation


class Progress:
    """Shows rounds as they end: metric, ε so far, owners a second, and the time that is left."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()  # asked now: a bar that is shown stands before the stream and denies it
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._last: RoundRow | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, simulation: Simulation, record: Round, row: RoundRow | None) -> None:
        """Called after every round; `row` where it was evaluated."""
        if self._quiet:
            return
        self._last = row or self._last
        if not self._terminal:
            if row is not None:
                note(f"round {record.number}/{simulation.total}  {self._status(simulation, record)}")
            return
        if self._bar is None:
            self._bar, self._task = _bar(simulation.total, record.number - 1)
        if self._task is not None:
            self._bar.update(self._task, completed=record.number, status=self._status(simulation, record))

    def _status(self, simulation: Simulation, record: Round) -> str:
        parts = [] if self._last is None else [headline(self._last), f"ε {epsilon(self._last.epsilon)}"]
        rate = simulation.trained / simulation.seconds if simulation.seconds else 0.0
        if record.number == simulation.total and self._terminal:
            return "  ".join([*parts, "accounting, writing the report"])
        left = simulation.seconds / record.number * (simulation.total - record.number)
        return "  ".join([*parts, f"{rate:,.0f} owners/s", f"{clock(left)} left"])


def _bar(total: int, done: int) -> tuple[Bar, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("round"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[status]}", markup=False),
        console=err(),
        transient=True,
    )
    task = bar.add_task("", total=total, completed=done, status="")
    bar.start()
    return bar, task


def headline(row: RoundRow) -> str:
    """The metric that people look at first; where no public data was measured on, what the owners found."""
    from ..simulation.numerals import estimate_text

    if "accuracy" in row.metrics:
        return f"accuracy {100 * row.metrics['accuracy']:.1f} %"
    if row.metrics:
        return f"loss {row.metrics['loss']:.4g}"
    return "".join(f"owners' {name} {estimate_text(name, each)}" for name, each in list(row.measured.items())[:1])


def epsilon(value: float | str | None) -> str:
    """ε to three digits, rounded up: what is printed must not promise more than what was derived."""
    from ..simulation.numerals import epsilon_text

    return epsilon_text(value)


def clock(seconds: float) -> str:
    """A duration as people read it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
