"""Transports of the simulator: real workers on real bytes, or an engine on a whole cohort at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from ..client.turn import Turn
from ..client.worker import Plan, RefusedError, Worker, agreed, refusal_of
from ..privacy.entropy import Entropy
from ..strategies.learner import Learner
from ..strategies.messages import Recipe, Reply, Request, reply_from
from ..strategies.requests import Requests, owners_in
from ..strategies.steps import Asked, Step, asked_in
from .circle import SimulatedRoster
from .cluster import Cluster
from .engines.engine import Engine
from .population import Availability, Population
from .shards import added, shard_total, sharded
from .team import Team
from .work import SimulationError as SimulationError
from .work import Work, stop_at_fault

Answer = TypeVar("Answer")


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

    def close(self) -> None:
        """Nothing to let go: all owners are in this process."""
        return

    def _answer(self, frame: bytes, owner: int) -> bytes:
        asked = asked_in(frame)
        if isinstance(asked, Request) and asked.cohort is None:
            return self._at_work(owner, lambda worker: worker.handle(frame))
        try:
            if isinstance(asked, Request):
                self._turns[owner] = turn = self._turn(asked, owner)
                return turn.begin().to_bytes()
            if not isinstance(asked, Step):
                raise SimulationError("a simulated owner signs no statement; ask agents of `tacit up` for one")
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
    team: Team | Cluster | None = field(default=None, repr=False)  # who else trains shards
    _last: tuple[tuple[Recipe, int, int], Plan] | None = field(default=None, repr=False)

    def gather(self, requests: Sequence[Asked], deadline: float) -> list[Reply]:
        """One reply with the sum over the available owners; none where nobody is."""
        present = self._present(requests)
        if not present:
            return []
        first = present[0]
        plan = self._agreed(first)
        shards = sharded(self.engine.groups(plan, present, self.population))
        work = Work(self.population, self.engine, self.learner, self.entropy)
        if self.team is None:
            totals: Iterator[Tensor] = (shard_total(work, plan, shard, self.memories) for shard in shards)
        else:
            totals = self.team.totals(work, plan, shards, self.memories)
        ring = plan.pipeline.final.ring
        total = added(totals, ring)
        return [Reply(first.run, first.round, first.attempt, owners_in(present), "ok", total, ring)]

    def close(self) -> None:
        """Let the further processes go, if there are any."""
        if self.team is not None:
            self.team.close()

    def _present(self, requests: Sequence[Asked]) -> Sequence[Request]:
        """Those that are answered; a step is none: nothing of an engine takes a second one."""

        def answers(request: Request | Requests, owner: int) -> bool:
            return self.availability.answers(self.entropy, request.round, request.attempt, owner)

        if isinstance(requests, Requests):
            return requests.those(owner for owner in requests.owners if answers(requests, owner))
        return [each for each in requests if isinstance(each, Request) and answers(each, each.owner)]

    def _agreed(self, request: Request) -> Plan:
        """What this request asks; the same recipe is not read twice."""
        asked = (request.recipe, len(request.weights), len(request.broadcast))
        if self._last is None or self._last[0] != asked:
            try:
                self._last = asked, agreed(request, self.learner)
            except RefusedError as refusal:
                raise SimulationError(f"round {request.round}: every owner refuses: {refusal}") from refusal
        return self._last[1]
