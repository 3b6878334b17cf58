"""Planner: which engine trains a run's owners, and why, by a stated rule.

The first engine of `ENGINES` that accepts the work and says that it pays is taken; an engine that is asked for by name is
taken whenever it accepts. The plain loop accepts everything and stands last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...client.worker import Plan
from ...config import ConfigError
from ...privacy.pipeline import Pipeline
from ...privacy.stages.central import CentralGaussian
from ...privacy.stages.clip import Clip
from ...privacy.stages.correlated import CorrelatedGaussian
from ...strategies.learner import Learner
from ..population import Population
from .engine import Engine
from .example_level import ExampleLevel
from .low_rank import LowRank
from .plain import PlainLoop
from .precision import FULL, PRECISIONS
from .stacked import Stacked
from .vmapped import Vmapped

AUTO = "auto"


class EngineError(ConfigError):
    """An engine was asked for that cannot do the work; says why, and what can."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine and, in one line, why this one."""

    engine: Engine
    why: str
    precision: str = "float32"

    @property
    def name(self) -> str:
        """What results and checkpoints call it: another precision gives other bits."""
        return self.engine.name if self.precision == "float32" else f"{self.engine.name} in {self.precision}"


ENGINES: tuple[Engine, ...] = (LowRank(), Stacked(), ExampleLevel(), Vmapped(), PlainLoop())
NAMES = tuple(engine.name for engine in ENGINES)


def chosen_engine(
    plan: Plan, learner: Learner, population: Population, name: str = AUTO, precision: str = "float32"
) -> Choice:
    """The engine called `name`, or the one that the rule finds, with its large products in `precision`.

    Raises `EngineError` for one that cannot do the work, or not so.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"precision = {precision!r}: unknown; give one of {', '.join(PRECISIONS)}")
    choice = _chosen(plan, learner, population, name)
    if PRECISIONS[precision] == FULL:
        return choice
    engine = choice.engine
    if not isinstance(engine, LowRank | Stacked | PlainLoop):
        raise EngineError(
            f'precision = "{precision}": {engine.name} computes in float32 alone; leave it out, or give engine = '
            '"plain-loop"'
        )
    return Choice(replace(engine, precision=PRECISIONS[precision]), choice.why, precision)


def _chosen(plan: Plan, learner: Learner, population: Population, name: str) -> Choice:
    if name != AUTO:
        named = next((engine for engine in ENGINES if engine.name == name), None)
        if named is None:
            raise ValueError(f"engine = {name!r}: unknown; give auto, in-memory or one of {', '.join(NAMES)}")
        reason = named.accepts(plan, learner, population)
        if reason is not None:
            raise EngineError(f'engine = "{name}": {reason}; leave it out and a fitting one is taken')
        return Choice(_on(named, learner), f"asked for{_layers(named, plan, learner, population)}")
    passed: list[str] = []
    for engine in (_on(engine, learner) for engine in ENGINES):
        reason = engine.accepts(plan, learner, population) or engine.pays(plan, learner, population)
        if reason is None:
            return Choice(engine, ("; ".join(passed) or engine.purpose) + _layers(engine, plan, learner, population))
        passed.append(f"not {engine.name}: {reason}")
    raise EngineError(f"no engine takes this work ({'; '.join(passed)})")


def _layers(engine: Engine, plan: Plan, learner: Learner, population: Population) -> str:
    """What becomes of each layer, where layers are treated apart."""
    return f" ({engine.layers(plan, learner, population)})" if isinstance(engine, LowRank | Vmapped) else ""


def _on(engine: Engine, learner: Learner) -> Engine:
    """The engine as it is for the learner's device."""
    return engine.on(learner.device) if isinstance(engine, Vmapped) else engine


def stays_factored(pipeline: Pipeline) -> bool:
    """Whether nothing of the owner half needs the vectors themselves: clips, then at most a central noise at the end."""
    *before, last = pipeline.stages or (None,)
    fits = last is None or type(last) in (Clip, CentralGaussian, CorrelatedGaussian)
    return fits and all(type(stage) is Clip for stage in before) and pipeline.source.unit == "owner"
