"""Result: what a run found, as Python values and as `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..config import Config
from ..privacy.accounting.figures import Figures
from ..tasks.task import Task, initial

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One evaluated round: its number, metrics on public data, the ε of the budget's claim so far, seconds since the start.

    `measured` is what owners found of the model that the round began with: a noised `value` with the noise's standard
    `error`, by name. Nothing here names or counts the owners of a secretly drawn cohort.
    """

    number: int
    metrics: Mapping[str, float]
    epsilon: float
    seconds: float
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as `rounds.jsonl` and `result.json` hold it."""
        row = {"round": self.number, "metrics": dict(self.metrics), "epsilon": self.epsilon, "seconds": self.seconds}
        return row | ({"measured": {name: dict(each) for name, each in self.measured.items()}} if self.measured else {})


@dataclass(frozen=True, slots=True)
class Timing:
    """`seconds` of training, in all sessions together; owners trained a second."""

    seconds: float
    clients_per_second: float


@dataclass(frozen=True, slots=True)
class Run:
    """A finished (or stopped) run. `seed` is None where the randomness was the operating system's.

    `spread` holds each simulated owner's own metric on its own data, which only a simulator can see; `curves` the ε of
    every claim over rounds; `certificate` what real agents and their coordinator signed of it, empty for a simulation.
    """

    config: Config
    seed: int | None
    engine: str
    rounds: tuple[RoundRow, ...]
    claims: tuple[Figures, ...]
    timing: Timing
    weights: Tensor = field(repr=False)
    task: Task = field(repr=False)
    notes: tuple[str, ...] = ()
    spread: Mapping[str, Any] = field(default_factory=dict, repr=False)
    signals: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    curves: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    certificate: bytes = field(default=b"", repr=False)

    @property
    def final(self) -> SimpleNamespace:
        """Metrics of the last evaluation as attributes: `run.final.accuracy`."""
        return SimpleNamespace(**self.rounds[-1].metrics)

    def model(self) -> nn.Module:
        """The trained module; what does not train is as the seed made it."""
        module = initial(self.task, self.seed or 0)
        self.task.trainable(module).unflatten_into(module, self.weights)
        return module

    def table(self) -> pd.DataFrame:
        """Evaluated rounds as a table: one row a round, a column a metric. Needs pandas (`pip install tacit[notebook]`)."""
        import pandas as pd

        rows = [
            {
                "round": row.number,
                **row.metrics,
                **_columns(row.measured),
                "epsilon": row.epsilon,
                "seconds": row.seconds,
            }
            for row in self.rounds
        ]
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """The content of `result.json`."""
        return {
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "engine": self.engine,
            "rounds": [row.to_json() for row in self.rounds],
            "final": dict(self.rounds[-1].metrics),
            "privacy": [figures.to_json() for figures in self.claims],
            "curves": [dict(curve) for curve in self.curves],
            "pipeline": [dict(signal) for signal in self.signals],
            "spread": dict(self.spread),
            "notes": list(self.notes),
            "timing": {"seconds": self.timing.seconds, "clients_per_second": self.timing.clients_per_second},
        }


def _columns(measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`owners_accuracy`, `owners_accuracy_error`, …"""
    values = {f"owners_{name}": each["value"] for name, each in measured.items()}
    return values | {f"owners_{name}_error": each["error"] for name, each in measured.items()}
