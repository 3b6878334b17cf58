"""Transports of the simulator: real workers on real bytes, or an engine on a whole cohort at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ..client.turn import Turn
from ..client.worker import UNREADABLE, Plan, RefusedError, Worker, agreed, measure, refusal_of
from ..privacy.entropy import Entropy
from ..privacy.factors import Factors
from ..privacy.pipeline import Env
from ..privacy.stages.measure import measure_in
from ..privacy.updates import Updates
from ..strategies.learner import Learner
from ..strategies.local import streams_of
from ..strategies.measuring import measured_together
from ..strategies.messages import Recipe, Reply, Request, reply_from
from ..strategies.steps import Asked, asked_in
from .circle import SimulatedRoster
from .engines.engine import Engine
from .engines.plain import PlainLoop
from .engines.planner import stays_factored
from .population import Availability, Population

Answer = TypeVar("Answer")


class SimulationError(RuntimeError):
    """Something that a simulation must not hide: it names the owner, which a real server could never learn."""


def stop_at_fault(owner: int, round: int, what: str) -> None:
    """Stop the simulation and name the owner (PRIVACY.md 12: only the simulator may)."""
    raise SimulationError(f"round {round}, owner {owner}: {what}")


def stop_at_faults(updates: Updates, requests: Sequence[Request]) -> None:
    """Stop at the first of these owners whose contribution is not finite."""
    norms = updates.norms()
    if not bool(torch.isfinite(norms).all()):
        at = requests[int((~torch.isfinite(norms)).nonzero()[0])]
        stop_at_fault(at.owner, at.round, "the local update is not finite (lower local.lr, or look at the data)")


@dataclass(slots=True)
class InMemory:
    """The deployed worker in this process: every request, step and reply becomes bytes and back.

    `memories` holds what owners remember between rounds; `roster` are the keys with which they know one another in masked
    rounds, whose whole protocol they run.
    """

    population: Population
    learner: Learner
    entropy: Entropy = field(repr=False)
    availability: Availability = field(default_factory=Availability)
    memories: dict[int, Tensor] = field(default_factory=dict, repr=False)
    roster: SimulatedRoster | None = None
    _turns: dict[int, Turn] = field(default_factory=dict, repr=False)

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        """Every available owner's reply; `deadline` passes in simulated time, by `availability`."""
        for request in requests:
            if self.availability.answers(self.entropy, request.round, request.attempt, request.owner):
                yield reply_from(self._answer(request.to_bytes(), request.owner))

    def _answer(self, frame: bytes, owner: int) -> bytes:
        asked = asked_in(frame)
        if isinstance(asked, Request) and asked.cohort is None:
            return self._at_work(owner, lambda worker: worker.handle(frame))
        try:
            if isinstance(asked, Request):
                self._turns[owner] = turn = self._turn(asked, owner)
                return turn.begin().to_bytes()
            return self._turns[owner].take(asked).to_bytes()
        except RefusedError as refusal:
            return refusal_of(asked, owner, refusal).to_bytes()

    def _turn(self, request: Request, owner: int) -> Turn:
        if self.roster is None or request.cohort is None:
            raise SimulationError("a masked round among owners without keys; give the transport a roster")
        circle, plan = self.roster.circle(owner, request.cohort), agreed(request, self.learner)
        return Turn(
            request, plan, circle, self.entropy, lambda: self._at_work(owner, lambda worker: worker.hidden(request)[0])
        )

    def _at_work(self, owner: int, work: Callable[[Worker], Answer]) -> Answer:
        """What `work` makes of the owner's worker, with what it remembers between rounds."""
        worker = Worker(
            owner, self.learner, self.population.examples(owner), self.entropy,
            memory=self.memories.get(owner), on_fault=stop_at_fault,
        )  # fmt: skip
        answer = work(worker)
        if worker.memory is not None:
            self.memories[owner] = worker.memory
        return answer


@dataclass(slots=True)
class Vectorised:
    """An engine trains the available cohort in batches; the owner half of the pipeline runs on each batch.

    The result is the sum only: one reply speaks for all. Its encoder inputs agree with `InMemory` to the engine's stated
    tolerance, everything after them to the bit.
    """

    population: Population
    engine: Engine
    learner: Learner
    entropy: Entropy = field(repr=False)
    availability: Availability = field(default_factory=Availability)
    memories: dict[int, Tensor] = field(default_factory=dict, repr=False)
    _last: tuple[tuple[Recipe, int, int], Plan] | None = field(default=None, repr=False)

    def gather(self, requests: Sequence[Asked], deadline: float) -> list[Reply]:
        """One reply with the sum over the available owners; none where nobody is."""
        asked = [request for request in requests if isinstance(request, Request)]  # nothing of it takes a second step
        present = [r for r in asked if self.availability.answers(self.entropy, r.round, r.attempt, r.owner)]
        if not present:
            return []
        first = present[0]
        plan = self._agreed(first)
        factored = stays_factored(plan.pipeline)
        total: Tensor | None = None
        for group in self.engine.groups(plan, present, self.population):
            updates = self.engine.train(plan, self.learner, group, self.population, self.entropy, self.memories)
            if isinstance(updates, Factors) and not factored:
                updates = updates.formed()
            part = self._sent(plan, updates, group)
            total = part if total is None else total + part
        ring = plan.pipeline.final.ring
        if total is not None and ring is not None:
            total = torch.remainder(total, 1 << ring)
        owners = tuple(request.owner for request in present)
        return [Reply(first.run, first.round, first.attempt, owners, "ok", total, ring)]

    def _agreed(self, request: Request) -> Plan:
        """What this request asks; the same recipe is not read twice."""
        asked = (request.recipe, len(request.weights), len(request.broadcast))
        if self._last is None or self._last[0] != asked:
            try:
                self._last = asked, agreed(request, self.learner)
            except RefusedError as refusal:
                raise SimulationError(f"round {request.round}: every owner refuses: {refusal}") from refusal
        return self._last[1]

    def _sent(self, plan: Plan, updates: Updates, group: Sequence[Request]) -> Tensor:
        """The sum of a group's messages; stops at the first owner whose contribution is not finite."""
        if isinstance(updates, Factors) and not plan.pipeline.stages:
            total = updates.total()
            if not bool(torch.isfinite(total).all()):
                stop_at_faults(updates, group)
            return total
        if isinstance(updates, Factors):
            updates = updates.measured()
        stop_at_faults(updates, group)
        owners = tuple(request.owner for request in group)
        measures = None if measure_in(plan.pipeline) is None else self._measured(plan, group)
        # Masks cancel in the sum, and the sum is all that leaves here.
        env = Env(self.entropy, group[0].round, group[0].attempt, owners, masked=True, measures=measures)
        return plan.pipeline.send(updates, env).total()

    def _measured(self, plan: Plan, group: Sequence[Request]) -> Tensor:
        """What each owner of the group measures of the model that it received, `[k, m]`."""
        held, first = [self.population.examples(request.owner) for request in group], group[0]
        if isinstance(self.engine, PlainLoop):  # it takes models that look from one example at another, too
            found = [measure(plan, self.learner, *each, self.entropy) for each in zip(group, held, strict=True)]
        else:
            streams = streams_of(self.entropy, first.round, first.owner, first.attempt)
            found = measured_together(plan.pipeline, self.learner, first.weights, held, streams)
        for request, each in zip(group, found, strict=True):
            if not each.readable:
                stop_at_fault(request.owner, request.round, UNREADABLE)
        return torch.stack([each.row for each in found])
