"""Coordinator: runs the rounds. Knows no Flower and no engine; it asks a Transport and pays a Ledger.

A round is a generator of phases; a phase is one `Transport.gather` (see `phases`). What is released was charged first; a
round below quorum releases nothing and is tried again as a new attempt with fresh noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..privacy.claim import ClaimError
from ..privacy.correlation import Memory
from ..privacy.entropy import Entropy
from ..privacy.event import Event, Nothing
from ..privacy.ledger.memory import BudgetError, Ledger
from ..privacy.pipeline import Env, Opened, Outcome, Pipeline, Stage, State
from ..privacy.stages.measure import Estimate, estimates
from ..strategies.federation import Federation
from ..strategies.messages import Recipe
from ..strategies.requests import Requests
from ..strategies.transport import Transport
from .checkpoint import Checkpoint
from .phases import Phases, plain_round
from .phases import Protocol as Asking
from .releases import Released, ReleaseError, lost
from .tally import Tally


class RoundError(RuntimeError):
    """A round could not be completed; says who was missing and why."""


def _first(round: int) -> int:
    return 0


def _at_once(left: int) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after `round` rounds; all that the next round needs."""

    round: int
    weights: Tensor
    algorithm: dict[str, Tensor]
    pipeline: State


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did. `sampled` and `survived` are the operator's: they name a secretly drawn cohort's size.

    `measured` is what owners found of the model that the round began with, under the round's own noise.
    """

    number: int
    attempt: int
    sampled: int
    survived: int
    seconds: float
    norm: float
    state: State
    event: Event = field(repr=False)
    measured: Mapping[str, Estimate] = field(default_factory=dict)


class Keeper(Protocol):
    """Where the newest release is kept while noise depends on that of earlier rounds; see `releases`."""

    def newest(self) -> Released | None:
        """The newest release; None before the first. Raises `ReleaseError` where nobody knows."""
        ...

    def keep(self, released: Released) -> None:
        """Make `released` the newest; on the disk when this returns."""
        ...


class Coordinator:
    """`total` rounds of one federation over one transport, paid from one ledger.

    `first(round)` is the first attempt number of a round: above 0 where an earlier process released that round and was
    killed before its checkpoint, so that no attempt is released twice (PRIVACY.md 16). `protocol` is how one attempt asks its
    owners and comes by their sum. `again(left)` says whether another attempt is made where one came to nothing, after a
    pause if need be; `name(owner)` is what the operator calls an owner. `keeper` is needed where noise depends on that of
    earlier rounds and nobody can draw it again.
    """

    def __init__(
        self, federation: Federation, transport: Transport, ledger: Ledger, entropy: Entropy, run: str, total: int,
        first: Callable[[int], int] = _first, protocol: Asking = plain_round,
        again: Callable[[int], bool] = _at_once, name: Callable[[int], str] = str, keeper: Keeper | None = None,
    ) -> None:  # fmt: skip
        self._federation = federation
        self._transport = transport
        self._ledger = ledger
        self._entropy = entropy
        self._run = run
        self._total = total
        self._draws: dict[tuple[int, int], list[int]] = {}
        self._under_way = 0
        self._asked: tuple[tuple[Stage, ...], Recipe] | None = None
        self._first = first
        self._protocol = protocol
        self._again, self._name = again, name
        self._event = federation.round_event(federation.pipeline)
        self._memory = Memory()  # of noise that depends on earlier rounds'; made again from a seed, or else kept
        self._keeper = keeper
        if federation.schedule.upfront and not entropy.seeded and keeper is None:
            raise RoundError(
                "correlated-gaussian without a place to keep its releases: a coordinator that was killed between a release "
                "and its checkpoint would release a round twice; give a keeper"
            )

    def start(self, weights: Tensor) -> Progress:
        """Before the first round, from the initial weights `[d]`."""
        federation = self._federation
        return Progress(0, weights, federation.algorithm.initial(len(weights)), federation.pipeline.initial())

    def rounds(self, progress: Progress, total: int) -> Iterator[tuple[Progress, Round]]:
        """Rounds `progress.round + 1` to `total`, one at a time. Raises `RoundError` or `BudgetError`."""
        while progress.round < total:
            progress, record = self.step(progress)
            yield progress, record

    def step(self, progress: Progress) -> tuple[Progress, Round]:
        """One round: draw, ask, sum, pay, open, apply."""
        started = time.perf_counter()
        number = self._under_way = progress.round + 1
        concrete = self._federation.pipeline.at(progress.pipeline)
        released, event = self._kept(number)
        if released is None:
            event = self._afforded(number, concrete)
            sampled, attempt, summed = self._sum(progress, number, concrete)
            released = self._release(number, attempt, sampled, summed, concrete, event)
        opened, present = released.opened, len(released.owners)
        mean = opened.total.to(torch.float32) / self._denominator(present)
        algorithm = self._federation.algorithm
        weights, state = algorithm.apply(progress.weights, progress.algorithm, mean, number, self._total)
        after = Progress(number, weights, state, concrete.learn(progress.pipeline, opened))
        seconds = time.perf_counter() - started
        norm = float(torch.linalg.vector_norm(mean))
        measured = estimates(concrete, opened, self._present(present))
        return after, Round(
            number, released.attempt, released.sampled, present, seconds, norm, progress.pipeline, event, measured
        )

    def ahead(self) -> None:
        """Draw the owners of the round after the one under way, which depend on nothing that this one finds."""
        if self._under_way < self._total:
            self._drawn(self._under_way + 1, 0)

    def _kept(self, number: int) -> tuple[Released | None, Event]:
        """The release of round `number` by an earlier process, if it came so far, and its price; brings the noise up.

        Raises `ReleaseError` where what is kept is of another round: the schedule ends.
        """
        if self._keeper is None:
            return None, Nothing()
        kept = self._keeper.newest()
        last = 0 if kept is None else kept.round
        if last not in (number - 1, number):
            raise ReleaseError(lost(f"the checkpoint is of round {number - 1}, and the last release of round {last}"))
        self._memory = Memory() if kept is None else kept.memory.copy()
        if kept is None or last < number:
            return None, Nothing()
        prices = {(entry.round, entry.attempt): entry.event for entry in self._ledger.entries}
        return kept, prices[number, kept.attempt]

    def _release(
        self, number: int, attempt: int, sampled: int, summed: Tally, concrete: Pipeline, event: Event
    ) -> Released:
        """Charge the sum and open it; where noise depends on earlier rounds', it is kept before the charge is committed."""
        env = Env(self._entropy, number, attempt, survivors=summed.owners, memory=self._memory)
        release = replace(concrete.release(summed.total, env, event), outcome=self._outcome(concrete, summed))

        def released(opened: Opened) -> Released:
            return Released(number, attempt, sampled, summed.owners, opened, self._memory)

        if self._keeper is None:
            return released(self._ledger.open(release))
        keeper = self._keeper

        def reveal() -> Opened:
            opened = release._reveal()
            keeper.keep(released(opened))
            return opened

        return released(self._ledger.open(replace(release, _reveal=reveal)))

    def _outcome(self, concrete: Pipeline, summed: Tally) -> Outcome | None:
        """What the survivors made of a round's event, where they share the noise."""
        federation, present = self._federation, len(summed.owners)
        try:
            event = replace(federation.schedule, pipeline=concrete).realised(federation.observer, present)
        except ClaimError:  # nothing can be said of the charge either
            return None
        return None if event is None else Outcome(present, event)

    def _afforded(self, number: int, concrete: Pipeline) -> Event:
        """What this round's own pipeline costs, if the ledger affords it; raises `BudgetError` before anyone is asked.

        Where the whole schedule is one event, its first release costs all of it, and the others nothing more.
        """
        event = self._federation.round_event(concrete)
        if event != self._event:
            raise BudgetError(
                f"round {number}: what its pipeline releases ({event}) is not what the schedule was budgeted for "
                f"({self._event}); leave out the parameter that does not follow the adapting norm"
            )
        if self._federation.schedule.upfront and any(entry.event == event for entry in self._ledger.entries):
            event = Nothing()
        if not self._ledger.affords(event):
            raise BudgetError(
                f"round {number} exceeds budget.epsilon = {self._federation.config.budget.epsilon:g}; "
                f"raise the budget, add noise, or stop here"
            )
        return event

    def _sum(self, progress: Progress, number: int, concrete: Pipeline) -> tuple[int, int, Tally]:
        """The sum of the first attempt that reaches its quorum, with the number of owners that were asked."""
        federation, rounds = self._federation, self._federation.config.rounds
        missing, tried = "", 0
        expelled: frozenset[int] = frozenset()
        first = self._first(number)
        shared = bool(concrete.final.noise) and concrete.final.noise[0].place == "shared"
        for attempt in range(first, first + federation.attempts):
            if attempt > first and not self._again(first + federation.attempts - attempt):
                break
            tried += 1
            sampled = [owner for owner in self._drawn(number, attempt if shared else 0) if owner not in expelled]
            recipe, weights = self._recipe(concrete), progress.weights
            broadcast = federation.algorithm.broadcast(progress.algorithm)
            requests = Requests(self._run, number, attempt, tuple(sampled), recipe, weights, broadcast)
            summed = self._run_phases(self._protocol(requests, rounds.deadline, concrete))
            expelled |= summed.expelled
            # 0.7 · 10 is 7, though not in floating point; and silence is no answer, however low the quorum.
            need = max(min(1, len(sampled)), math.ceil(rounds.quorum * len(sampled) - 1e-9))
            if shared:
                need = max(need, concrete.final.least)
            if len(summed.owners) >= need:
                return len(sampled), attempt, summed
            missing = _missing(sampled, summed, need, self._name)
        once = "; owners noise their own messages, so they are asked only once a round"
        raise RoundError(
            f"round {number}: below quorum in {tried} attempt(s); {missing}; lower rounds.quorum, raise "
            f"rounds.deadline, or bring the owners back{once if federation.attempts < rounds.attempts else ''}"
        )

    def _recipe(self, concrete: Pipeline) -> Recipe:
        """What `concrete` asks of an owner; one recipe for as long as it stays the same, which whoever reads it knows again."""
        if self._asked is None or self._asked[0] != concrete.stages:
            self._asked = concrete.stages, self._federation.recipe(concrete)
        return self._asked[1]

    def _drawn(self, number: int, draw: int) -> list[int]:
        """The owners of a round: drawn once, whatever the attempt.

        A second draw after a missed quorum would depend on who answered the first, and a secret draw amplifies as it is
        accounted only where it depends on nothing (PRIVACY.md 1). Shares of noise need enough owners and are never
        amplified: there each attempt draws anew.
        """
        if (number, draw) not in self._draws:
            stream = self._entropy.stream("participation", number, attempt=draw)
            federation = self._federation
            drawn = federation.schedule.participation.draw(federation.population, number, stream).tolist()
            kept = {each: owners for each, owners in self._draws.items() if each[0] >= self._under_way}
            self._draws = kept | {(number, draw): drawn}
        return self._draws[number, draw]

    def _run_phases(self, phases: Phases) -> Tally:
        try:
            phase = next(phases)
            while True:
                phase = phases.send(self._transport.gather(phase.requests, phase.deadline))
        except StopIteration as done:
            found: Tally = done.value
            return found

    def _denominator(self, present: int) -> float:
        """What the sum is divided by: public (PRIVACY.md 6), so the expected cohort; the true one without privacy."""
        federation = self._federation
        if federation.config.private:
            return federation.schedule.participation.expected(federation.population)
        return float(max(1, present))

    def _present(self, present: int) -> float:
        """How many owners measured: the true number where it is public, the expected one where it tells of somebody.

        Who answers is public, and depends on no data (PRIVACY.md 12), but for two cases: under add-remove an owner's presence
        is what is hidden, and a secret draw amplifies only while its size is one too (PRIVACY.md 1).
        """
        federation, privacy = self._federation, self._federation.config.privacy
        hidden = privacy.unit == "owner" and privacy.relation == "add-remove"
        if hidden or federation.schedule.participation.secret:
            return self._denominator(present)
        return float(present)

    def checkpoint(self, progress: Progress, extra: Mapping[str, Any], memories: Mapping[int, Tensor]) -> Checkpoint:
        """The run's state as a checkpoint; `memories` are what simulated owners remember."""
        facts = {
            "run": self._run,
            "pipeline": [list(state) for state in progress.pipeline],
            "ledger": [entry.to_json() for entry in self._ledger.entries],
            **extra,
        }
        tensors = {"weights": progress.weights}
        tensors |= {f"algorithm.{name}": tensor for name, tensor in progress.algorithm.items()}
        tensors |= {f"memory.{owner}": tensor for owner, tensor in memories.items()}
        return Checkpoint(self._federation.config.digest(), progress.round, facts, tensors)


def restored(checkpoint: Checkpoint) -> Progress:
    """The progress that a checkpoint holds."""
    prefix = "algorithm."
    state = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    pipeline = tuple(tuple(float(x) for x in row) for row in checkpoint.facts["pipeline"])
    return Progress(checkpoint.round, checkpoint.tensors["weights"], state, pipeline)


def _missing(sampled: list[int], summed: Tally, need: int, name: Callable[[int], str]) -> str:
    """Who did not count in a round, and why, for the operator."""
    absent = [owner for owner in sampled if owner not in summed.owners]
    named = ", ".join(
        f"{name(owner)} ({summed.faults.get(owner, 'no answer before the deadline')})" for owner in absent[:5]
    )
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    return f"{len(summed.owners)} of {len(sampled)} owners answered, {need} needed; missing: {named}{more}"
