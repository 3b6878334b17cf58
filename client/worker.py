"""Worker: an owner's half of a round, request in, reply out. Knows no Flower; the agent and the simulator both run it.

It imports nothing by a name from the wire: solver, algorithm and stages are looked up in explicit tables, the task is the
one that it was made for. After the data is touched nothing that leaves depends on it but the message itself: a
contribution that is not finite becomes the zero vector, and the fact is told to `on_fault` only (PRIVACY.md 12).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..config import ConfigError, chosen
from ..privacy.entropy import Entropy
from ..privacy.pipeline import Env, Pipeline, PipelineError, pipeline
from ..privacy.stages.measure import Measure
from ..privacy.stages.table import STAGES
from ..privacy.updates import Dense
from ..strategies.algorithms import ALGORITHMS, Algorithm
from ..strategies.learner import Learner
from ..strategies.local import Solver, streams_of
from ..strategies.measuring import Measured, measured
from ..strategies.messages import Recipe, Reply, Request, request_from
from ..strategies.solvers import SOLVERS
from ..strategies.steps import Asked, number_of
from ..tasks.examples import Examples
from .refusal import RefusedError as RefusedError

log = logging.getLogger(__name__)

UNREADABLE = "the loss of an example is not finite (look at the data)"


class Policy(Protocol):
    """What an owner permits."""

    def check(self, request: Request, concrete: Pipeline) -> None:
        """Raise `RefusedError` unless the round's recipe is within the policy; looks at no data."""
        ...


@dataclass(frozen=True, slots=True)
class Permit:
    """Permits whatever is sound: the policy of simulated owners."""

    def check(self, request: Request, concrete: Pipeline) -> None:
        return


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe turned into objects."""

    solver: Solver
    algorithm: Algorithm
    pipeline: Pipeline


def agreed(request: Request, learner: Learner) -> Plan:
    """What a request asks, if this owner's model fits it and it is sound; raises `RefusedError`. Looks at no data."""
    if len(request.weights) != learner.dim:
        raise RefusedError(f"the model has {learner.dim} numbers; the request carries {len(request.weights)}", "model")
    plan = plan_of(request.recipe, learner)
    expected = len(plan.algorithm.broadcast(plan.algorithm.initial(learner.dim)))
    if len(request.broadcast) != expected:
        raise RefusedError(
            f"{request.recipe.algorithm['use']} broadcasts {expected} numbers; the request carries {len(request.broadcast)}",
            "model",
        )
    return plan


def plan_of(recipe: Recipe, learner: Learner) -> Plan:
    """The objects that a recipe names, traced; raises `RefusedError` for anything unknown or unsound."""
    if not 1 <= recipe.least <= recipe.most:
        raise RefusedError(
            f"a sum of {recipe.least} to {recipe.most} contributions; at least 1, and most at least least", "recipe"
        )
    try:
        solver: Solver = chosen(recipe.solver, "use", SOLVERS, "local")
        algorithm: Algorithm = chosen(recipe.algorithm, "use", ALGORITHMS, "strategy")
        stages = [chosen(row, "stage", STAGES, f"pipeline.{i}") for i, row in enumerate(recipe.pipeline)]
        algorithm.check(solver)
        solver.check(learner.module)
        blind = learner.correct is None and any(isinstance(s, Measure) and "accuracy" in s.of for s in stages)
        if blind:
            raise PipelineError('measure: nothing is right or wrong in this task; give of = ["loss"]')
        source = solver.declare(algorithm.width * learner.dim, recipe.least, recipe.most)
        return Plan(solver, algorithm, pipeline(source, stages))
    except (ConfigError, PipelineError) as error:
        raise RefusedError(str(error), "recipe") from error
    except ArithmeticError as error:  # a number so extreme that no stage can compute with it
        reason = f"the recipe's numbers leave what can be computed ({error})"
        raise RefusedError(reason, "recipe", "give usual ones") from error


def _log_fault(owner: int, round: int, what: str) -> None:
    log.warning("round %d: %s; a zero vector took part in its place", round, what)


@dataclass(slots=True)
class Worker:
    """One owner: its examples, its randomness, its policy, and what it remembers between rounds.

    `memory` is the algorithm's state at the owner (SCAFFOLD's control variate); it never leaves.
    """

    owner: int
    learner: Learner
    examples: Examples = field(repr=False)
    entropy: Entropy = field(repr=False)
    policy: Policy = field(default_factory=Permit)
    memory: Tensor | None = field(default=None, repr=False)
    on_fault: Callable[[int, int, str], None] = _log_fault

    def handle(self, frame: bytes) -> bytes:
        """The reply frame to a request frame. A frame that is no request raises `CodecError` before anything is done."""
        request = request_from(frame)
        try:
            total, ring = self.contribute(request)
        except RefusedError as refusal:
            return refusal_of(request, self.owner, refusal).to_bytes()
        return Reply(request.run, request.round, request.attempt, (self.owner,), "ok", total, ring).to_bytes()

    def contribute(self, request: Request) -> tuple[Tensor, int | None]:
        """The owner's message `[d']` and its ring; raises `RefusedError` before any data is touched."""
        plan = self._planned(request)
        if plan.pipeline.final.masked:
            raise RefusedError(
                "this message would leave in the clear; the pipeline says mask", "mask", "name the cohort"
            )
        return self._message(request, plan, masked=False)

    def hidden(self, request: Request) -> tuple[Tensor, int | None]:
        """The same for a pipeline with `mask`: what the caller masks before anything of it leaves."""
        plan = self._planned(request)
        if not plan.pipeline.final.masked:
            raise RefusedError("the request names a cohort, but its pipeline has no mask", "mask", "add mask")
        return self._message(request, plan, masked=True)

    def _planned(self, request: Request) -> Plan:
        if request.owner != self.owner:
            raise RefusedError(f"the request is for owner {request.owner}; this is owner {self.owner}", "address")
        plan = agreed(request, self.learner)
        self.policy.check(request, plan.pipeline)
        return plan

    def _message(self, request: Request, plan: Plan, *, masked: bool) -> tuple[Tensor, int | None]:
        found = measure(plan, self.learner, request, self.examples, self.entropy)
        update, self.memory = train(plan, self.learner, request, self.examples, self.entropy, self.memory)
        if not torch.isfinite(update).all():
            self.on_fault(
                self.owner, request.round, "the local update is not finite (lower local.lr, or look at the data)"
            )
        elif not found.readable:
            self.on_fault(self.owner, request.round, UNREADABLE)
        owner, measures = (self.owner,), found.row[None]
        env = Env(self.entropy, request.round, request.attempt, owner, masked=masked, measures=measures)
        messages = plan.pipeline.send(Dense(update[None]), env)
        return messages.dense()[0], plan.pipeline.final.ring


def refusal_of(asked: Asked, owner: int, error: RefusedError) -> Reply:
    """The reply of `owner` that refuses what was asked."""
    where = (asked.run, asked.round, asked.attempt, (owner,))
    return Reply(*where, "refused", reason=str(error), code=error.refusal.code, step=number_of(asked))


def measure(plan: Plan, learner: Learner, request: Request, examples: Examples, entropy: Entropy) -> Measured:
    """What one owner measures of the model that it received, before it trains; nothing where the plan asks for nothing."""
    streams = streams_of(entropy, request.round, request.owner, request.attempt)
    return measured(plan.pipeline, learner, request.weights, examples, streams)


def train(
    plan: Plan, learner: Learner, request: Request, examples: Examples, entropy: Entropy, memory: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The update `[width·d]` of one owner's local work, and what the owner remembers."""
    streams = streams_of(entropy, request.round, request.owner, request.attempt)
    return plan.algorithm.contribute(
        learner, plan.solver, request.weights, request.broadcast, memory, examples, streams
    )
