"""Run: one simulated federation, round by round, that can stop anywhere and go on bit-identically."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..client.worker import Plan
from ..config import Config, ConfigError, load, parse
from ..privacy.accounting.figures import Figures, figures
from ..privacy.claim import ClaimError
from ..privacy.entropy import SeededEntropy
from ..privacy.event import to_json
from ..privacy.ledger.memory import MemoryLedger, entry_from
from ..server.checkpoint import CheckpointError, save
from ..server.checkpoint import load as load_checkpoint
from ..server.coordinator import Coordinator, Progress, Round, restored
from ..server.masked import MaskedRounds
from ..server.phases import Protocol, plain_round
from ..strategies.budget import budget_for
from ..strategies.federation import Federation, affordable_rounds, build, learner_for
from ..tasks.device import device_named
from ..tasks.evaluation import evaluate, owner_means, per_example
from ..tasks.metrics import worst_decile
from ..tasks.task import Task, initial
from .circle import SimulatedRoster
from .cluster import Cluster, joined
from .curves import curves
from .engines.planner import AUTO, chosen_engine
from .memory import keep_freed_memory
from .population import Availability, Population, dealt
from .result import RoundRow, Run, Timing
from .team import Team, processors
from .transport import InMemory, SimulationError, Vectorised
from .work import Work, finite

_CHECKPOINT_EVERY = 5.0  # seconds between checkpoints; one is also written at every interruption

Watch: TypeAlias = "Callable[[Simulation, Round, RoundRow | None], None]"
Source: TypeAlias = str | Path | Config
Afforded: TypeAlias = Callable[[Federation], tuple[int, list[str]]]


def config_of(source: Source, overrides: Mapping[str, Any] | None = None) -> tuple[Config, Path | None]:
    """The configuration, after `overrides`, and the folder that its own tasks are looked up in first."""
    if isinstance(source, Config):
        return (parse(source.to_toml(), overrides) if overrides else source), None
    return load(source, overrides), Path(source).resolve().parent


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds after a whole round, its evaluation included.

    Checkpoints are made of this alone, so that an interruption in the middle of a round, or of an evaluation, never mixes
    two rounds: the unfinished one is run again and draws the same bytes.
    """

    progress: Progress
    rows: tuple[RoundRow, ...]
    memories: Mapping[int, Tensor] = field(repr=False)
    seconds: float = 0.0
    trained: int = 0


@dataclass(slots=True)
class Simulation:
    """A run under way. `rounds()` runs the rest of it; `result()` says what it found so far."""

    federation: Federation
    seed: int
    engine: str
    total: int
    population: Population = field(repr=False)
    coordinator: Coordinator = field(repr=False)
    ledger: MemoryLedger = field(repr=False)
    transport: InMemory | Vectorised = field(repr=False)
    progress: Progress = field(repr=False)
    checkpoint: Path | None = None
    rows: list[RoundRow] = field(default_factory=list)
    seconds: float = 0.0
    trained: int = 0
    notes: list[str] = field(default_factory=list)
    settled: Settled | None = field(default=None, repr=False)
    why: str = ""  # this engine and no other

    def rounds(self, watch: Watch | None = None) -> Generator[RoundRow, None, None]:
        """Run the remaining rounds; yields a row for every evaluated one. Saves on any way out."""
        every = self.federation.config.evaluation.every
        saved = -math.inf  # the first round is kept at once
        started = time.perf_counter() - self.seconds
        threads = torch.get_num_threads()
        keep_freed_memory()
        torch.set_num_threads(1)  # owners' models are small: threads inside an operation only wait for one another
        try:
            for progress, record in self.coordinator.rounds(self.progress, self.total):
                if not finite(progress.weights):
                    raise SimulationError(
                        f"round {record.number}: the model is not finite; lower strategy.server_lr or local.lr"
                    )
                self.progress = progress
                self.trained += record.survived
                self.seconds = time.perf_counter() - started
                row = None
                if record.number % every == 0 or record.number == self.total:
                    row = self._evaluate(record)
                    self.rows.append(row)
                self._settle()
                if self.checkpoint is not None and time.monotonic() - saved > _CHECKPOINT_EVERY:
                    self.save()
                    saved = time.monotonic()
                if watch is not None:
                    watch(self, record, row)
                if row is not None:
                    yield row
        finally:
            torch.set_num_threads(threads)
            self.transport.close()
            if self.checkpoint is not None:
                self.save()

    def _settle(self) -> None:
        self.settled = Settled(
            self.progress, tuple(self.rows), dict(self.transport.memories), self.seconds, self.trained
        )

    def save(self) -> None:
        """Write the checkpoint of the last whole round, if there is one; raises `CheckpointError`."""
        settled = self.settled
        if self.checkpoint is None or settled is None:
            return
        extra = {
            "seed": self.seed,
            "engine": self.engine,
            "rows": [row.to_json() for row in settled.rows],
            "seconds": settled.seconds,
            "trained": settled.trained,
        }
        whole = self.coordinator.checkpoint(settled.progress, extra, settled.memories)
        # The charge of a round that did not end goes with it: run again, it releases the same bytes and is charged again.
        paid = [entry for entry in whole.facts["ledger"] if entry["round"] <= settled.progress.round]
        save(self.checkpoint, replace(whole, facts={**whole.facts, "ledger": paid}))

    @property
    def processes(self) -> str:
        """How many processes train owners, in a line."""
        team = self.transport.team if isinstance(self.transport, Vectorised) else None
        if team is None:
            return "1"
        if isinstance(team, Cluster):
            return str(team)
        return (
            f"{team.most}" if team.at_once else f"1, and up to {team.most} once rounds are long enough to pay for them"
        )

    def model_vector(self) -> Tensor:
        """The global weights `[d]` as the algorithm would hand them out now."""
        return self.federation.algorithm.final(self.progress.weights, self.progress.algorithm)

    def result(self) -> Run:
        """The run so far."""
        vector = self.model_vector()
        rate = self.trained / self.seconds if self.seconds else 0.0
        return Run(
            config=self.federation.config,
            seed=self.seed,
            engine=self.engine,
            rounds=tuple(self.rows),
            claims=self.claims(),
            timing=Timing(self.seconds, rate),
            weights=vector,
            task=self.federation.task,
            notes=tuple(self.notes),
            spread=self._spread(vector),
            signals=signal_rows(self.federation),
            curves=curves(self.federation, self.progress.round),
        )

    def claims(self) -> tuple[Figures, ...]:
        """Every claim that the rounds so far support, the budget's observer first."""
        return tuple(figures(claim, self.federation.delta) for claim in self.federation.claims(self.progress.round))

    def _evaluate(self, record: Round) -> RoundRow:
        federation, metrics = self.federation, dict[str, float]()
        if "public-test" in federation.config.evaluation.on:
            metrics = evaluate(federation.task, self._module(self.model_vector()), federation.task.testing())
        measured = {name: each.to_json() for name, each in record.measured.items()}
        return RoundRow(record.number, metrics, epsilon_after(federation, record.number), self.seconds, measured)

    def _module(self, vector: Tensor) -> nn.Module:
        """The module with `vector` in it; what does not train is as the seed made it, for owners and here."""
        module = initial(self.federation.task, self.seed)
        self.federation.task.trainable(module).unflatten_into(module, vector)
        return module

    def _spread(self, vector: Tensor) -> Mapping[str, Any]:
        """How the model serves each simulated owner: quantiles over owners of the mean on its own training data."""
        module = self._module(vector)
        found = per_example(self.federation.task, module, self.population.training)
        values, name = (found.loss, "loss") if found.correct is None else (found.correct, "accuracy")
        means = owner_means(values, self.population.shares)
        cuts = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
        quantiles = {f"{cut:g}": float(q) for cut, q in zip(cuts, _quantiles(means, cuts), strict=True)}
        worst = worst_decile(means if name == "accuracy" else -means)
        return {"metric": name, "owners": len(means), "quantiles": quantiles, "worst_decile": abs(worst)}


def _quantiles(values: Any, cuts: list[float]) -> Any:
    import numpy as np

    return np.nanquantile(values, cuts)


def epsilon_after(federation: Federation, rounds: int) -> float:
    """ε of the budget's claim after so many rounds; ∞ where nothing can be said."""
    try:
        return federation.epsilon(rounds)
    except ClaimError:
        return math.inf


def signal_rows(federation: Federation) -> tuple[Mapping[str, Any], ...]:
    """The pipeline as reports draw it: each stage with the Signal that leaves it."""
    recipe = federation.recipe(federation.pipeline)
    steps = [("use", recipe.solver), *(("stage", row) for row in recipe.pipeline)]
    rows = []
    for (tag, row), signal in zip(steps, federation.pipeline.signals, strict=True):
        rows.append(
            {
                "stage": row[tag], "parameters": {key: value for key, value in row.items() if key != tag},
                "prior": None if signal.prior is None else to_json(signal.prior),
                "dim": signal.dim, "unit": signal.unit, "sensitivity": signal.sensitivity,
                "bound": signal.bound, "scale": signal.scale, "ring": signal.ring, "masked": signal.masked is not None,
                "noise": [
                    {"law": n.law, "place": n.place, "std": math.sqrt(n.variance) * (signal.scale or 1.0)}
                    for n in signal.noise
                ],
            }
        )  # fmt: skip
    return tuple(rows)


def prepare(
    source: Source,
    *,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,  # the keyword that the command line uses too
    engine: str = AUTO,
    device: str = "auto",
    workers: int | None = None,
    precision: str = "float32",
    cluster: str | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    task: Task | None = None,
    afforded: Afforded = affordable_rounds,
) -> Simulation:
    """A simulation ready to run, at its beginning or (`resume`) where its checkpoint stands.

    `workers`: how many processes train owners, which changes no bit of the result; None is one for each processor, from
    the round on from which they pay. `precision`: what large products are computed in, float32, bfloat16 or float16; it is
    part of the engine's name in everything that is kept. `cluster`: HOST:PORT of the head of a Ray cluster that trains owners
    instead, to the same bits. `task`: what the configuration's task names, where it was looked up before (see `build`).
    `afforded`: how many rounds are run; a study, which is to show what lies beyond a budget, runs all of them.

    Raises `ConfigError` for what cannot be run soundly, `CheckpointError` for a checkpoint that cannot be gone on from,
    `ClusterError` for a cluster that cannot do the work.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers = {workers}: give at least 1, or leave it out")
    if cluster is not None and (workers is not None or engine == "in-memory"):
        other = "--engine in-memory" if workers is None else f"--workers {workers}"
        raise ConfigError(
            f"--cluster {cluster} with {other}: the nodes of a cluster run an engine, on all their CPUs; leave one out"
        )
    if cluster is not None and device == "auto":
        device = "cpu"
    config, folder = config_of(source, set)
    federation = build(config, folder, task)
    entropy = SeededEntropy(seed)
    population = dealt(federation, seed)
    learner = learner_for(federation.task, seed, str(device_named(device)))
    availability = Availability(config.population.dropout, config.population.straggler)
    transport: InMemory | Vectorised
    roster = SimulatedRoster(entropy)
    protocol: Protocol = plain_round  # an engine hands over sums, in which masks have cancelled
    if engine == "in-memory":
        if precision != "float32":
            raise ConfigError(
                f'precision = "{precision}": in-memory owners train as deployed ones do, in float32; leave it out'
            )
        chosen, why = engine, "real workers on real bytes, one after the other"
        if federation.pipeline.final.masked:
            protocol = MaskedRounds(roster.directory)
        transport = InMemory(population, learner, entropy, availability, roster=roster)
    else:
        plan = Plan(federation.solver, federation.algorithm, federation.pipeline)
        choice = chosen_engine(plan, learner, population, engine, precision)
        chosen, why = choice.name, choice.why
        transport = Vectorised(population, choice.engine, learner, entropy, availability)
    total, notes = afforded(federation)
    if federation.partition.synthetic:
        notes = [
            *notes,
            "the owners are synthetic, drawn with replacement: every ε concerns them, not the people behind the data",
        ]
    weights = learner.trainable.flatten(learner.module).cpu()
    found = None
    if resume:
        if checkpoint is None or not checkpoint.exists():
            raise CheckpointError(f"{checkpoint}: there is no checkpoint to resume from; start without --resume")
        found = load_checkpoint(checkpoint, config.digest())
        if found.facts["seed"] != seed or found.facts["engine"] != chosen:
            raise CheckpointError(
                f"{checkpoint}: made with seed {found.facts['seed']} and engine {found.facts['engine']}, "
                f"now seed {seed} and engine {chosen}; give the same again"
            )
    ledger = MemoryLedger(
        budget_for(federation, total), [entry_from(row) for row in found.facts["ledger"]] if found is not None else ()
    )
    name = f"{config.name or 'run'}-{seed}"
    coordinator = Coordinator(federation, transport, ledger, entropy, name, total, protocol=protocol)
    progress = coordinator.start(weights) if found is None else restored(found)
    processes = processors() if workers is None else workers
    if cluster is not None and isinstance(transport, Vectorised):
        transport.team = joined(cluster, Work(population, transport.engine, learner, entropy))
        notes = [*notes, *transport.team.notes]
    elif processes > 1 and isinstance(transport, Vectorised):
        transport.team = Team(processes, total - progress.round, workers is not None, meanwhile=coordinator.ahead)
    simulation = Simulation(
        federation, seed, chosen, total, population, coordinator, ledger, transport, progress, checkpoint, notes=notes,
        why=why,
    )  # fmt: skip
    if found is not None:
        memories = {n: t for n, t in found.tensors.items() if n.startswith("memory.")}
        transport.memories.update({int(name.removeprefix("memory.")): tensor for name, tensor in memories.items()})
        simulation.rows = [
            RoundRow(r["round"], r["metrics"], float(r["epsilon"]), r["seconds"], r.get("measured", {}))
            for r in found.facts["rows"]
        ]
        simulation.seconds, simulation.trained = found.facts["seconds"], found.facts["trained"]
        simulation._settle()
    return simulation


def simulate(source: Source, **options: Any) -> Run:
    """Train over a simulated population and return what was found; see `prepare` for the options.

    `tacit.simulate("digits.toml", seed=7, set={"rounds.total": 80}).final.accuracy`
    """
    simulation = prepare(source, **options)
    for _ in simulation.rounds():
        continue
    return simulation.result()


def rounds(source: Source, **options: Any) -> Iterator[RoundRow]:
    """The same run as an iterator of its evaluated rounds, for one's own loop."""
    yield from prepare(source, **options).rounds()


__all__ = ["Simulation", "Task", "config_of", "prepare", "rounds", "simulate"]
