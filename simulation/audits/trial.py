"""Trial: one simulated run with canaries in it, and the scores that an observer gives them.

The claim under trial is that of the population *with* its canaries: they are units like the others, and the schedule, its noise
and δ are derived anew for so many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...config import Config, parse
from ...privacy.correlation import column
from ...privacy.entropy import SeededEntropy
from ...privacy.participation import Cyclic, PoissonOwners
from ...privacy.pipeline import pipeline
from ...server.coordinator import Coordinator
from ...strategies.algorithm import Algorithm
from ...strategies.budget import budget_for
from ...strategies.federation import CALIBRATE, Federation, affordable_rounds, build, learner_for
from ...strategies.gradients import ClippedGradient, DpSgd
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ...tasks.device import device_named
from ...tasks.examples import Examples
from ..engines.engine import Engine
from ..engines.planner import chosen_engine
from ..population import Availability, Population, dealt
from ..transport import Vectorised
from .canaries import AuditError, Crafted, coins, crafted, joined, strange
from .inserted import Inserted
from .scores import AlongDirections, OfGradients, learned
from .watched import Watched

View: TypeAlias = Literal["white-box", "black-box"]
Numbers: TypeAlias = NDArray[np.float64]

_UNBOUNDED = 1e9  # a budget that stops nothing: the schedule was cut to the true budget before


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What came of one run: the federation that ran, the coins `[m]`, the scores `[m]` of each view, and the final model."""

    federation: Federation
    inside: NDArray[np.bool_] = field(repr=False)
    scores: Mapping[View, Numbers] = field(repr=False)
    weights: Tensor = field(repr=False)
    rounds: int
    population: Population = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Run:
    """What both units share: a federation ready to run over a population, and who looks on."""

    federation: Federation
    population: Population
    learner: Learner
    entropy: SeededEntropy
    seed: int
    total: int

    @property
    def plan(self) -> Plan:
        return Plan(self.federation.solver, self.federation.algorithm, self.federation.pipeline)


def owner_trial(config: Config, folder: Path | None, count: int, seed: int, device: str, view: View) -> Trial:
    """`count` canary owners among those of `config`: crafted updates for the white box, strange examples for the black one.

    Raises `ConfigError` for a configuration that cannot be run, `AuditError` for more canaries than there is room for.
    """
    natural = build(config, folder)
    changed = _with_owners(config, natural, count)
    federation = build(parse(changed.to_toml()), folder)
    entropy = SeededEntropy(seed)
    owners = dealt(natural, seed)
    inside = coins(count, entropy)
    learner = learner_for(federation.task, seed, str(device_named(device)))
    each = max(1, int(np.median(owners.sizes())))
    examples = strange(owners.training, count * each, entropy)
    held = [np.arange(len(owners.training) + i * each, len(owners.training) + (i + 1) * each) for i in range(count)]
    nothing = np.empty(0, dtype=np.int64)
    shown = view == "black-box"
    shares = [share if shown and inside[i] else nothing for i, share in enumerate(held)]
    population = Population(joined(owners.training, examples), [*owners.shares, *shares])
    run = _Run(federation, population, learner, entropy, seed, affordable_rounds(federation)[0])
    directions = None if shown else crafted(count, federation.algorithm.width * learner.dim, entropy)
    weights, watching = _watched_owners(run, len(owners), inside, directions)
    found: dict[View, Numbers] = {}
    if watching is not None:
        found["white-box"] = watching.scores()
    else:
        own = [np.arange(i * each, (i + 1) * each) for i in range(count)]
        found["black-box"] = learned(federation.task, seed, weights, examples, own)
    return Trial(federation, inside, found, weights, run.total, owners)


def example_trial(config: Config, folder: Path | None, count: int, seed: int, device: str) -> Trial:
    """`count` canary examples, dealt to the owners of `config` in turn; one run gives the scores of both views."""
    natural = build(config, folder)
    delta = config.privacy.delta_for(natural.units + count)
    changed = {**_same_budget(config, natural), "privacy.delta": delta}
    federation = build(parse(config.to_toml(), changed), folder)
    entropy = SeededEntropy(seed)
    owners = dealt(natural, seed)
    inside = coins(count, entropy)
    learner = learner_for(federation.task, seed, str(device_named(device)))
    canaries = strange(owners.training, count, entropy)
    first, people = len(owners.training), len(owners)
    shares = [
        np.concatenate([share, [first + i for i in range(k, count, people) if inside[i]]]).astype(np.int64)
        for k, share in enumerate(owners.shares)
    ]
    population = Population(joined(owners.training, canaries), shares)
    run = _Run(federation, population, learner, entropy, seed, affordable_rounds(federation)[0])
    weights, watching = _watched_examples(run, owners, canaries)
    black = learned(federation.task, seed, weights, canaries, [np.array([i]) for i in range(count)])
    return Trial(federation, inside, {"white-box": watching.scores(), "black-box": black}, weights, run.total, owners)


def _watched_owners(
    run: _Run, first: int, inside: NDArray[np.bool_], directions: Crafted | None
) -> tuple[Tensor, AlongDirections | None]:
    federation = run.federation
    participation = federation.schedule.participation
    noise = federation.pipeline.final.noise
    inner = chosen_engine(run.plan, run.learner, run.population).engine
    engine = Inserted(
        inner, first, inside, stays=bool(noise) and noise[0].place != "server", crafted=directions,
        separation=participation.separation if isinstance(participation, Cyclic) else 1,
    )  # fmt: skip
    hidden = federation.observer.who == "analyst" or (
        federation.observer.who == "owners" and not federation.pipeline.final.masked
    )
    secret = participation.secret and hidden
    # Who was drawn of a cohort of fixed size tells how many canaries were: then the natural part is no public knowledge.
    independent = isinstance(participation, PoissonOwners) and participation.cap is None
    watching = None
    if directions is not None:
        correlation = federation.pipeline.final.correlation
        mixing = None
        if correlation is not None:
            at = np.subtract.outer(np.arange(run.total), np.arange(run.total))
            mixing = np.where(at >= 0, column(correlation, run.total)[np.abs(at)], 0.0)
        watching = AlongDirections(directions, first, secret, independent or not secret, mixing)

    def see(number: int, total: Tensor) -> None:
        if watching is not None:
            watching.see(total, engine.turn, engine.sign(number))

    return _ran(run, engine, see), watching


def _watched_examples(run: _Run, owners: Population, canaries: Examples) -> tuple[Tensor, OfGradients]:
    solver = run.federation.solver
    if not isinstance(solver, ClippedGradient | DpSgd):
        raise AuditError(f"local.use: {type(solver).__name__} does not clip examples; audit it at owner level")
    scale = solver.lr * solver.steps if isinstance(solver, DpSgd) else 1.0
    rate = solver.rate if isinstance(solver, DpSgd) else 1.0
    # The gradients as clipped-gradient makes them, without any noise: what a guesser who knows the data computes.
    exact = ClippedGradient(solver.norm, solver.denominator)
    plan = Plan(exact, Algorithm(), pipeline(exact.declare(run.learner.dim, 1, 1), []))
    engine = Inserted(
        chosen_engine(run.plan, run.learner, run.population).engine,
        len(owners),
        np.zeros(0, dtype=np.bool_),
        stays=True,
    )
    alone = Population(canaries, [np.array([i]) for i in range(len(canaries))])
    watching = OfGradients(len(canaries))

    def see(number: int, total: Tensor) -> None:
        asked = engine.turn
        template = _request(run, number, asked.weights)
        rows = _gradients(run, plan, alone, template, range(len(canaries))) * (scale * rate)
        absent = [i for i in range(len(canaries)) if i % len(owners) not in asked.drawn]
        rows[absent] = 0.0
        known = _gradients(run, plan, owners, template, sorted(asked.drawn)).to(torch.float64).sum(dim=0)
        watching.see(total.to("cpu", torch.float64) - known * (scale * rate), rows)

    return _ran(run, engine, see), watching


def _gradients(run: _Run, plan: Plan, over: Population, template: Request, owners: Iterable[int]) -> Tensor:
    """The noiseless updates of these owners `[k, d]`, in their order."""
    requests = [replace(template, owner=owner) for owner in owners]
    engine: Engine = chosen_engine(plan, run.learner, over).engine
    rows = torch.zeros(len(requests), run.learner.dim)
    place = {request.owner: at for at, request in enumerate(requests)}
    for group in engine.groups(plan, requests, over) if requests else []:
        made = engine.train(plan, run.learner, group, over, run.entropy, {}).dense()
        rows[[place[request.owner] for request in group]] = made.to("cpu")
    return rows


def _request(run: _Run, number: int, weights: Tensor) -> Request:
    recipe = run.federation.recipe(run.federation.pipeline)
    return Request("audit", number, 0, 0, recipe, weights)


def _ran(run: _Run, engine: Inserted, see: Callable[[int, Tensor], None]) -> Tensor:
    """The final weights of all rounds, each opened sum shown to `see(round, sum)`."""
    federation, config = run.federation, run.federation.config
    availability = Availability(config.population.dropout, config.population.straggler)
    transport = Vectorised(run.population, engine, run.learner, run.entropy, availability)
    ledger = Watched(budget_for(federation, run.total), see)
    coordinator = Coordinator(federation, transport, ledger, run.entropy, "audit", run.total)
    progress = coordinator.start(run.learner.trainable.flatten(run.learner.module).cpu())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        while progress.round < run.total:
            progress, _ = coordinator.step(progress)
            if not bool(torch.isfinite(progress.weights).all()):
                raise AuditError(
                    f"round {progress.round}: the model is not finite; lower strategy.server_lr or local.lr"
                )
    finally:
        torch.set_num_threads(threads)
    return federation.algorithm.final(progress.weights, progress.algorithm)


def _same_budget(config: Config, natural: Federation) -> dict[str, Any]:
    """The rounds that the true budget pays for; and no budget in the way, where the noise is given and δ becomes smaller."""
    changes: dict[str, Any] = {"rounds.total": affordable_rounds(natural)[0]}
    rows = [config.local, *config.privacy.pipeline]
    if all(row.get("noise_multiplier") != CALIBRATE for row in rows) and config.private:
        changes["budget.epsilon"] = _UNBOUNDED
    return changes


def _with_owners(config: Config, natural: Federation, count: int) -> Config:
    """`config` for `count` owners more, who are drawn as often as the others."""
    before, after = natural.population, natural.population + count
    changes = {**_same_budget(config, natural), "population.owners": after}
    row = config.rounds.participation
    if row.get("use") == "cyclic":
        changes["rounds.participation.cohort"] = max(1, after // int(row["separation"]))
    for key in ("cohort", "cap"):
        if row.get("use") in ("fixed", "poisson") and row.get(key) is not None:
            changes[f"rounds.participation.{key}"] = min(after, math.ceil(int(row[key]) * after / before))
    return parse(config.to_toml(), changes)
