"""Trial: one setting of a study, first sketched (what mechanism is it?), then priced, then trained under a seed.

Everything here takes and gives plain JSON values, because it runs in worker processes; a fault of the setting is an answer
with its `reason`, so that it is listed and not dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ...config import Config, ConfigError, chosen, parse
from ...privacy.accounting.figures import HEADLINE_DELTA, account_within
from ...privacy.accounting.relation import AccountingError
from ...privacy.claim import ClaimError
from ...privacy.event import from_json, to_json
from ...privacy.participation import PARTICIPATIONS, Participation, ParticipationError, repeated
from ...privacy.pipeline import PipelineError
from ...privacy.signal import Relation
from ...server.coordinator import RoundError
from ...strategies.federation import Federation, build
from ...tasks.catalogue import lookup
from ...tasks.examples import DataError
from ...tasks.task import Task, TaskError
from ..curves import points
from ..run import prepare
from ..transport import SimulationError
from .extrapolation import enlarged, noise_scale

# What a setting may be wrong about; anything else is a fault of the program and ends the study.
FAULTS = (
    ConfigError, ClaimError, PipelineError, ParticipationError, AccountingError, TaskError, DataError, RoundError,
    SimulationError,
)  # fmt: skip
_LONGEST = 300  # characters of a reason


@dataclass(slots=True)
class Bench:
    """What a worker holds for the whole study: the configuration and the task, whose data is loaded once."""

    base: Config
    folder: Path | None
    predict: int | None = None
    text: str = field(init=False, repr=False)
    task: Task = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.text = self.base.to_toml()
        try:
            self.task = lookup(self.base.task.use, self.folder, **self.base.task.options)
        except TaskError as error:
            raise ConfigError(f"task: {error}") from error

    @property
    def ratio(self) -> float:
        """How many owners each simulated one stands for."""
        return 1.0 if self.predict is None else self.predict / self.base.population.owners

    def config(self, values: Mapping[str, Any]) -> Config:
        """The configuration of a setting; raises `ConfigError`."""
        return parse(self.text, values)

    def federation(self, values: Mapping[str, Any]) -> Federation:
        """What is accounted: the setting itself, or the larger population that it stands for; raises `ConfigError`."""
        config = self.config(values)
        if self.predict is not None:
            config = enlarged(config, self.predict)
        return build(config, self.folder, self.task)


def sketch(bench: Bench, values: Mapping[str, Any]) -> dict[str, Any]:
    """The mechanism of a setting, with its noise solved where it was to be; `reason` where it cannot be run soundly.

    `mechanism` holds all that ε depends on, so that settings with equal ones share their accounting.
    """
    try:
        federation = bench.federation(values)
        relation = federation.config.privacy.relation
        once, plain = federation.schedule.round_events(federation.observer, relation)
        participation, rounds = federation.schedule.participation, federation.schedule.rounds
        # Where all rounds are one event, that is charged once, however many of them are run.
        times = (lambda _: 1) if federation.schedule.upfront else participation.times
        noise = _noise(federation)
        asked = drawn = 1.0
        if bench.predict is not None:
            asked = noise_scale(federation, participation_of(bench, values))
            drawn = drawable(bench, values, noise, asked)
    except FAULTS as error:
        return {"reason": _reason(error)}
    claim = federation.schedule.claim(federation.observer, relation)
    return {
        "mechanism": {
            "once": to_json(once), "once_unamplified": to_json(plain), "times": times(rounds),
            "relation": relation, "delta": federation.delta, "delta_extra": federation.schedule.delta_extra(1),
        },
        "unit": claim.unit, "relation": relation, "observer": federation.observer.who, "adversary": claim.adversary,
        "colluders": federation.observer.colluders,
        "noise": noise, "noise_scale": drawn, "noise_held": drawn > asked, "units": federation.units,
        "cohort": participation.expected(federation.population),
        "at": [[number, times(number)] for number in points(rounds)],
    }  # fmt: skip


def drawable(bench: Bench, values: Mapping[str, Any], noise: Mapping[str, float], scale: float) -> float:
    """The first of `scale`, 2 · `scale`, … 1 at which the simulated federation can draw its noise.

    A lattice has a least noise. Above what was asked for, a setting is trained with more noise than the large population has,
    so its accuracy is a lower estimate.
    """
    while scale < 1:
        try:
            build(bench.config({**values, **_scaled(noise, scale)}), bench.folder, bench.task)
        except FAULTS:
            scale = min(1.0, 2 * scale)
        else:
            break
    return scale


def _scaled(noise: Mapping[str, float], scale: float) -> dict[str, float]:
    return {key: number * scale for key, number in noise.items()}


def participation_of(bench: Bench, values: Mapping[str, Any]) -> float:
    """The expected cohort of the population that is simulated."""
    config = bench.config(values)
    drawn: Participation = chosen(config.rounds.participation, "use", PARTICIPATIONS, "rounds.participation")
    drawn.check(config.population.owners)
    return drawn.expected(config.population.owners)


def noise_keys(config: Config) -> list[str]:
    """The keys at which noise multipliers stand."""
    found = [f"privacy.pipeline.{i}" for i, row in enumerate(config.privacy.pipeline) if "noise_multiplier" in row]
    found += ["local"] if "noise_multiplier" in config.local else []
    return [f"{key}.noise_multiplier" for key in found]


def _noise(federation: Federation) -> dict[str, float]:
    """The solved noise multiplier at every key that has one."""
    found = {}
    for key in noise_keys(federation.config):
        part: object = (
            federation.solver if key.startswith("local") else federation.pipeline.stages[int(key.split(".")[2])]
        )
        found[key] = float(getattr(part, "noise_multiplier"))  # noqa: B009  # a field of noise stages and solvers only
    return found


def price(mechanism: Mapping[str, Any]) -> dict[str, Any]:
    """ε of a mechanism: as claimed, with the draw known, at δ = 1e-5, and the lower end. ∞ where nothing is private."""
    delta, relation = float(mechanism["delta"]), cast(Relation, mechanism["relation"])
    times, extra = int(mechanism["times"]), float(mechanism["delta_extra"]) * int(mechanism["times"])
    once, plain = from_json(mechanism["once"]), from_json(mechanism["once_unamplified"])
    try:
        found = account_within(repeated(once, times), relation, delta, extra)
        known = found if plain == once else account_within(repeated(plain, times), relation, delta, extra)
        headline = account_within(repeated(once, times), relation, HEADLINE_DELTA, extra)
    except AccountingError as error:
        return {"reason": _reason(error)}
    return {
        "epsilon": found.epsilon,
        "epsilon_lower": found.lower,
        "epsilon_unamplified": known.epsilon,
        "epsilon_at_1e-5": headline.epsilon,
        "accountant": found.accountant,
    }


def curve(mechanism: Mapping[str, Any], at: Sequence[Sequence[int]]) -> dict[str, Any]:
    """ε over rounds; `at` holds rows of a number of rounds and how often one unit is in these at most."""
    delta, relation = float(mechanism["delta"]), cast(Relation, mechanism["relation"])
    once, extra = from_json(mechanism["once"]), float(mechanism["delta_extra"])
    found = [account_within(repeated(once, times), relation, delta, extra * times).epsilon for _, times in at]
    return {"rounds": [number for number, _ in at], "epsilon": found}


def train(
    bench: Bench, values: Mapping[str, Any], noise: Mapping[str, float], scale: float, seed: int
) -> dict[str, Any]:
    """The final metrics of a setting under a seed, exactly those of `tacit simulate` with the same keys and seed.

    All rounds are run, whatever the budget: a study is to show what lies beyond it too; ε was priced before.
    """
    started = time.process_time()
    changes = {**values, **_scaled(noise, scale)}
    try:
        config = bench.config(changes)
        on = sorted({*config.evaluation.on, "public-test"})
        last = {"evaluation.every": config.rounds.total, "evaluation.on": on}
        simulation = prepare(
            bench.config({**changes, **last}), seed=seed, device="cpu", workers=1, task=bench.task,
            afforded=_all_rounds,
        )  # fmt: skip
        for _ in simulation.rounds():
            continue
    except FAULTS as error:
        stand = f"the simulated owners stand for a population {bench.ratio:,.4g} times as large, with less noise: "
        return {"reason": ("" if bench.predict is None else stand) + _reason(error)}
    metrics = dict(simulation.rows[-1].metrics)
    return {"metrics": metrics, "engine": simulation.engine, "seconds": time.process_time() - started}


def _all_rounds(federation: Federation) -> tuple[int, list[str]]:
    return federation.schedule.rounds, []


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
