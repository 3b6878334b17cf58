"""Federation: a configuration turned into the objects that run. The one place that checks soundness across rooms."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Config, ConfigError, Row, chosen, described
from ..privacy.accounting.calibrate import noise_multiplier
from ..privacy.accounting.figures import account_within
from ..privacy.claim import Claim, ClaimError, Observer
from ..privacy.event import Event, NonPrivate, Nothing
from ..privacy.participation import PARTICIPATIONS, Participation, ParticipationError
from ..privacy.pipeline import Pipeline, PipelineError, Stage, pipeline
from ..privacy.schedule import Schedule
from ..privacy.secagg.parameters import ParameterError
from ..privacy.stages.encode import Encode
from ..privacy.stages.mask import Mask
from ..privacy.stages.measure import measure_in
from ..privacy.stages.table import STAGES
from ..tasks.catalogue import lookup
from ..tasks.metrics import LossOnly
from ..tasks.partition import PARTITIONS, Partition
from ..tasks.task import Task, TaskError, initial
from ..tasks.version import code_of
from .algorithms import ALGORITHMS, Algorithm
from .learner import Learner
from .masking import parameters_of
from .messages import Recipe
from .solvers import SOLVERS, Solver
from .terms import Terms

CALIBRATE = "calibrate"


class OverBudgetError(ConfigError):
    """The schedule costs more than its budget; nothing was run."""


@dataclass(frozen=True, slots=True)
class Federation:
    """Everything that a run needs, derived from one configuration.

    `schedule` holds the round's pipeline traced from the solver's Signal; `units` is N, the number of protected units;
    `code` the version of the code that is the task.
    """

    config: Config
    task: Task
    partition: Partition
    solver: Solver
    algorithm: Algorithm
    schedule: Schedule
    observer: Observer
    units: int
    delta: float
    code: str

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of the first round."""
        return self.schedule.pipeline

    @property
    def population(self) -> int:
        """Number of owners."""
        return self.schedule.population

    @property
    def attempts(self) -> int:
        """How often a round below quorum is tried.

        Once where owners noise their own messages: each message is a release to whoever reads it, and a second one, with
        fresh noise, would be a second release (PRIVACY.md 15) that no round's charge covers.
        """
        final = self.pipeline.final
        own = final.prior is not None or any(noise.place == "owner" for noise in final.noise)
        return 1 if own else self.config.rounds.attempts

    def round_event(self, concrete: Pipeline) -> Event:
        """The event of one round of `concrete` for the budget's observer; without a budget, also where no claim exists.

        Raises `ClaimError` for a budget that has no sound claim.
        """
        schedule = replace(self.schedule, pipeline=concrete)
        try:
            return schedule.round_events(self.observer, self.config.privacy.relation)[0]
        except ClaimError as error:
            if self.config.private:
                raise
            return NonPrivate(str(error))

    def recipe(self, concrete: Pipeline) -> Recipe:
        """What one round asks of an owner, as data."""
        return Recipe(
            solver=described(self.solver, "use", SOLVERS),
            algorithm=described(self.algorithm, "use", ALGORITHMS),
            pipeline=tuple(described(stage, "stage", STAGES) for stage in concrete.stages),
            least=self.pipeline.source.least,
            most=self.pipeline.source.most,
            terms=self.terms,
        )

    @property
    def terms(self) -> Terms:
        """What holds for every round."""
        config = self.config
        return Terms(
            task={"use": config.task.use, **config.task.options},
            code=self.code,
            relation=config.privacy.relation,
            participation=described(self.schedule.participation, "use", PARTICIPATIONS),
            population=self.population,
            rounds=self.schedule.rounds,
        )

    def epsilon(self, rounds: int) -> float:
        """ε of the budget's claim after so many rounds; raises `ClaimError` where nothing can be said."""
        relation = self.config.privacy.relation
        event = self.schedule.events(self.observer, relation, rounds)[0]
        return account_within(event, relation, self.delta, self.schedule.delta_extra(rounds)).epsilon

    def claims(self, rounds: int | None = None) -> tuple[Claim, ...]:
        """The claim for every observer, the budget's first; an observer for whom nothing sound can be said has none."""
        relation = self.config.privacy.relation
        others = [who for who in ("analyst", "server", "owners") if who != self.observer.who]
        observers = [self.observer, *(Observer(who, self.observer.colluders) for who in others)]  # type: ignore[arg-type]  # of Who
        found: list[Claim] = []
        for observer in observers:
            # Without a budget, a combination of which nothing can be said is run all the same.
            with contextlib.suppress(*(() if self.config.private else (ClaimError,))):
                found.append(self.schedule.claim(observer, relation, rounds))
        return tuple(found)


def build(config: Config, folder: Path | None = None, task: Task | None = None) -> Federation:
    """The federation of `config`; user tasks are looked up in `folder` first.

    `task`: what `config.task` names, where it was looked up before; whoever builds many keeps its data in memory so.

    Raises `ConfigError` (key, value, remedy) for whatever cannot be run or claimed soundly. A `"calibrate"` in a stage or
    the solver is solved here: the smallest noise whose ε, over all rounds, is within the budget.
    """
    try:
        task = task or lookup(config.task.use, folder, **config.task.options)
        code = code_of(config.task.use)
    except TaskError as error:
        raise ConfigError(f"task: {error}") from error
    participation: Participation = chosen(config.rounds.participation, "use", PARTICIPATIONS, "rounds.participation")
    partition: Partition = task.partition
    if config.population.partition is not None:
        partition = chosen(config.population.partition, "use", PARTITIONS, "population.partition")
    algorithm: Algorithm = chosen(config.strategy, "use", ALGORITHMS, "strategy")
    owners = config.population.owners
    try:
        participation.check(owners)
    except ParticipationError as error:
        raise ConfigError(f"rounds.{error}") from error
    algorithm = algorithm.for_cohort(min(1.0, participation.expected(owners) / owners))
    units = owners if config.privacy.unit == "owner" else task.unit_count
    delta = config.privacy.delta_for(units)
    dim = task.trainable(initial(task, 0)).dim
    observer = Observer(config.budget.observer, config.budget.colluders)

    def assemble(rows: Callable[[Row], Row]) -> tuple[Solver, Schedule]:
        solver: Solver = chosen(rows(config.local), "use", SOLVERS, "local")
        most = participation.most(owners)
        least = max(1, math.floor(config.rounds.quorum * min(most, participation.expected(owners))))
        stages: list[Stage] = [
            _completed(chosen(rows(row), "stage", STAGES, f"privacy.pipeline.{index}"), config)
            for index, row in enumerate(config.privacy.pipeline)
        ]
        try:
            source = replace(
                solver.declare(algorithm.width * dim, least, most), expected=participation.expected(owners)
            )
            return solver, Schedule(pipeline(source, stages), participation, owners, config.rounds.total)
        except PipelineError as error:
            raise ConfigError(f"privacy.pipeline: {error}") from error

    settled = _settled(config, observer, delta, assemble)
    solver, schedule = assemble(settled)
    federation = Federation(config, task, partition, solver, algorithm, schedule, observer, units, delta, code)
    _check(federation)
    return federation


def _completed(stage: Stage, config: Config) -> Stage:
    """A stage with what it leaves to other parts of the configuration."""
    if isinstance(stage, Mask) and stage.colluders is None:
        return replace(stage, colluders=config.budget.colluders)
    return stage


def _settled(
    config: Config,
    observer: Observer,
    delta: float,
    assemble: Callable[[Callable[[Row], Row]], tuple[Solver, Schedule]],
) -> Callable[[Row], Row]:
    """What replaces `noise_multiplier = "calibrate"` in a row: the identity where nothing asks for it."""
    rows = [config.local, *config.privacy.pipeline]
    asking = [row for row in rows if row.get("noise_multiplier") == CALIBRATE]
    if not asking:
        return lambda row: row
    if len(asking) > 1:
        raise ConfigError('noise_multiplier = "calibrate" stands in two places; one of them must be a number')
    if not config.private:
        raise ConfigError('noise_multiplier = "calibrate" needs a finite budget.epsilon to be solved from')

    def with_noise(z: float) -> Callable[[Row], Row]:
        return lambda row: {**row, "noise_multiplier": z} if row.get("noise_multiplier") == CALIBRATE else row

    known = _carried(assemble, with_noise)

    def event(z: float) -> Event:
        try:
            _, schedule = assemble(with_noise(z))
        except ConfigError:
            # More than the ring or sampler can carry, or less than the lattice shows: the search turns back here.
            return Nothing() if z > known else NonPrivate("too little noise to be drawn exactly")
        try:
            return schedule.events(observer, config.privacy.relation)[0]
        except ClaimError as error:
            raise ConfigError(f"privacy: {error}") from error

    _refuse_nothing(config, assemble(with_noise(known))[1], observer)
    relation, target, left = config.privacy.relation, config.budget.epsilon, delta
    while left > 0:
        z = noise_multiplier(event, relation, left, target)
        extra = assemble(with_noise(z))[1].delta_extra()
        if account_within(event(z), relation, delta, extra).epsilon <= target:
            return with_noise(z)
        # What the samplers' approximations take of δ, as in `account_within`; more each time, so that the search ends.
        left = min(left - delta / 64, delta - (1 + math.exp(min(target * (1 + 1e-5) + 1e-5, 700.0))) * extra)
    raise ConfigError(
        f'noise_multiplier = "calibrate": at budget.epsilon = {target:g} the noise is so small that rounding onto the lattice '
        f"uses up δ = {delta:.3g}; lower the budget, or give a number"
    )


def _carried(
    assemble: Callable[[Callable[[Row], Row]], tuple[Solver, Schedule]],
    with_noise: Callable[[float], Callable[[Row], Row]],
) -> float:
    """A noise multiplier with which the pipeline can be built; raises the `ConfigError` of 1.0 where none is found."""
    for z in (1.0, 4.0, 0.25, 16.0, 0.0625):
        with contextlib.suppress(ConfigError):
            assemble(with_noise(z))
            return z
    assemble(with_noise(1.0))
    raise ConfigError('noise_multiplier = "calibrate": no noise goes through this pipeline; give a number')


def _refuse_nothing(config: Config, schedule: Schedule, observer: Observer) -> None:
    """Raise `ConfigError` for a finite budget against an observer who sees something without noise."""
    try:
        event = schedule.round_events(observer, config.privacy.relation)[0]
    except ClaimError as error:
        raise ConfigError(f"privacy: {error}") from error
    if isinstance(event, NonPrivate):
        raise ConfigError(_unreachable(config, event.reason))


def _unreachable(config: Config, why: str) -> str:
    return (
        f"budget.epsilon = {config.budget.epsilon:g} for the observer {config.budget.observer!r} cannot be met: {why}; "
        f"budget for another observer, add noise that this one cannot see behind, or say epsilon = inf"
    )


def _check(federation: Federation) -> None:
    """Soundness across rooms: each fault is a `ConfigError` with key, value and remedy."""
    config = federation.config
    signal = federation.pipeline.final
    if config.private and signal.unit != config.privacy.unit:
        raise ConfigError(
            f"privacy.unit = {config.privacy.unit!r}, but local.use = {config.local['use']!r} makes contributions that are "
            f"bounded per {signal.unit}; change one of the two"
        )
    federation.algorithm.check(federation.solver)
    federation.solver.check(initial(federation.task, 0))
    if config.privacy.unit == "example" and federation.partition.synthetic:
        raise ConfigError(
            'population.partition.use = "bootstrap" gives one example to several owners, and privacy.unit = "example" counts '
            'it at one; deal each example once (iid, dirichlet), or protect owners: privacy.unit = "owner"'
        )
    _check_adapting(federation.pipeline)
    _check_masks(federation)
    _check_measured(federation)
    if config.private:
        _refuse_nothing(config, federation.schedule, federation.observer)


def _check_masks(federation: Federation) -> None:
    """Raise `ConfigError` where the largest cohort cannot be masked as the pipeline says."""
    if federation.pipeline.final.masked is None:
        return
    members = federation.schedule.participation.most(federation.population)
    try:
        parameters_of(federation.pipeline, members)
    except ParameterError as error:
        quorum = federation.config.rounds.quorum
        raise ConfigError(
            f"privacy.pipeline: mask: {error} (least is rounds.quorum = {quorum:g} of the expected cohort; up to {members} "
            f"owners take part)"
        ) from error


def _check_adapting(line: Pipeline) -> None:
    """Raise `ConfigError` for a step of the lattice that does not follow a norm that changes between rounds.

    The charge of every round is that of the first one, so the integers may not change with the norm.
    """
    adapting = any(stage.initial() for stage in line.stages)
    for index, stage in enumerate(line.stages):
        if adapting and isinstance(stage, Encode) and stage.step is not None:
            raise ConfigError(
                f"privacy.pipeline.{index}.step = {stage.step:g}: it stays while adaptive-clip changes the norm, and the noise "
                f"in steps would no longer be what is charged; leave step out, which then follows the norm"
            )


def _check_measured(federation: Federation) -> None:
    """Raise `ConfigError` unless what is to be evaluated at the owners is what they measure."""
    found, on = measure_in(federation.pipeline), federation.config.evaluation.on
    if "owners" in on and found is None:
        raise ConfigError(
            'evaluation.on = "owners", but nothing is measured there; put { stage = "measure" } into privacy.pipeline, behind '
            "the clip and before encode and noise"
        )
    if found is None:
        return
    if "owners" not in on:
        raise ConfigError(
            f"evaluation.on = {list(on)!r}, but a measure in privacy.pipeline makes owners evaluate, and widens the noise; add "
            f'"owners" to evaluation.on, or take the stage out'
        )
    if "accuracy" in found[0].of and isinstance(federation.task.metrics, LossOnly):
        raise ConfigError(
            f"privacy.pipeline: measure: of = {list(found[0].of)!r}, but nothing is right or wrong in task "
            f'{federation.task.name}; give of = ["loss"]'
        )


def affordable_rounds(federation: Federation) -> tuple[int, list[str]]:
    """How many of the configured rounds the budget pays for, and what there is to say about it.

    Raises `ConfigError` where not one fits, or not all of them under `on_exhausted = "refuse"`.
    """
    config = federation.config
    total, budget = config.rounds.total, config.budget.epsilon
    if not config.private:
        return total, ["budget.epsilon = inf: this run is not private, whatever its pipeline adds"]
    epsilon = federation.epsilon
    whole = epsilon(total)
    if whole <= budget:
        return total, []
    if config.budget.on_exhausted == "refuse":
        raise OverBudgetError(
            f"budget.epsilon = {budget:g}, but {total} rounds cost ε = {whole:.4g}; raise the budget, add noise "
            f'(noise_multiplier = "calibrate" solves it), run fewer rounds, or set budget.on_exhausted = "stop"'
        )
    fits, exceeds = 0, total
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        fits, exceeds = (middle, exceeds) if epsilon(middle) <= budget else (fits, middle)
    if fits == 0:
        raise OverBudgetError(f"budget.epsilon = {budget:g}, but a single round costs ε = {epsilon(1):.4g}; add noise")
    return fits, [f"the budget ε = {budget:g} pays for {fits} of {total} rounds; the run stops there"]


def learner_for(task: Task, seed: int, device: str = "cpu") -> Learner:
    """The task's model as everybody starts from it under `seed`, ready for owners to take turns with."""
    module = initial(task, seed, device)
    correct = None if isinstance(task.metrics, LossOnly) else task.metrics.correct
    return Learner(module, task.loss, task.trainable(module), device, correct)
