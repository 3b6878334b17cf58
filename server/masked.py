"""Masked rounds: six exchanges after which the coordinator knows the sum of those who survived, and nothing of anybody alone.

What the messages say, and who is at fault where they are wrong, is `privacy.secagg.collector`'s; here they are carried. An
owner that falls silent or sends something wrong is left out; where too few are left the attempt gives no sum, and nothing was
revealed that the next attempt could be put together with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..privacy.pipeline import Pipeline
from ..privacy.secagg.collector import Collector
from ..privacy.secagg.errors import AbortError, FaultError
from ..privacy.secagg.parameters import ParameterError, Parameters
from ..strategies.masking import context_of, parameters_of
from ..strategies.messages import Cohort, Reply, Request
from ..strategies.steps import LAST, Asked, Step
from .phases import Phase, Phases
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Directory:
    """Who the owners are to one another: the digest of their roster (hex), and their places and signing keys in it.

    `index(owner)` is the wire number of a run's owner, None where the roster no longer has it; `key(index)` the Ed25519 key
    that it signs with.
    """

    roster: str
    index: Callable[[int], int | None]
    key: Callable[[int], bytes]


def _unnoted(round: int, attempt: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class MaskedRounds:
    """How masked attempts ask their owners (a `phases.Protocol`).

    `directory()` is asked for in each attempt, so that who enrolled or was revoked meanwhile changes the roster for all at
    once; an owner that is no longer in it is left out and named. `begins(round, attempt)` is told before the first message
    leaves: an attempt that got so far must not be begun again by another process, whose `Collector` would know nothing of it.
    """

    directory: Callable[[], Directory]
    begins: Callable[[int, int], None] = _unnoted

    def __call__(self, requests: Sequence[Request], deadline: float, concrete: Pipeline) -> Phases:
        """One attempt; every exchange has its own `deadline`."""
        directory = self.directory()
        places = {request.owner: directory.index(request.owner) for request in requests}
        members = {index: owner for owner, index in places.items() if index is not None}
        gone = {owner: "was revoked" for owner, index in places.items() if index is None}
        cohort = Cohort(tuple(sorted(members)), directory.roster)
        asked = tuple(replace(request, cohort=cohort) for request in requests if request.owner not in gone)
        keys = {index: directory.key(index) for index in cohort.members}
        try:
            parameters = parameters_of(concrete, len(members))
        except ParameterError as error:
            return Tally(concrete.empty(), (), gone | {owner: str(error) for owner in members.values()})
        self.begins(asked[0].round, asked[0].attempt)
        attempt = _Attempt(members, Collector(parameters, context_of(asked[0], keys, parameters), keys))
        summed = yield from attempt.run(asked, deadline, concrete, parameters)
        return replace(summed, faults=gone | summed.faults)


class _Attempt:
    """One attempt under way; `members` gives the owner of each wire number."""

    def __init__(self, members: Mapping[int, int], collector: Collector) -> None:
        self._members = members
        self._index = {owner: index for index, owner in members.items()}
        self._collector = collector
        self._faults: dict[int, str] = {}

    def run(self, requests: Sequence[Request], deadline: float, concrete: Pipeline, parameters: Parameters) -> Phases:
        """All six exchanges."""
        asked: Sequence[Asked] = requests
        try:
            for number in range(1, LAST + 1):
                replies = yield Phase(asked, deadline)
                self._collect(replies, requests[0], number, concrete)
                self._collector.close()
                asked = self._steps(requests[0], number + 1)
        except AbortError as abort:
            faults = {
                self._members[index]: _bare(index, why) for index, why in abort.missing.items() if why != "silent"
            }
            expelled = frozenset(self._members[index] for index in abort.dealers)
            return Tally(concrete.empty(), (), self._faults | faults, expelled)
        total = torch.from_numpy(self._collector.total().astype(np.int64))
        faults = {self._members[index]: _bare(index, why) for index, why in self._collector.faults.items()}
        owners = tuple(sorted(self._members[index] for index in self._collector.survivors))
        return Tally(
            total, owners, {owner: why for owner, why in (self._faults | faults).items() if owner not in owners}
        )

    def _steps(self, first: Request, number: int) -> tuple[Step, ...]:
        return tuple(
            Step(first.run, first.round, first.attempt, self._members[index], number, payload)
            for index, payload in self._collector.requests().items()
        )

    def _collect(self, replies: Iterable[Reply], first: Request, number: int, concrete: Pipeline) -> None:
        """Take what answers this very step; each vector is added as it comes, so that one is held and not all of them."""
        for reply in replies:
            if len(reply.owners) != 1 or reply.owners[0] not in self._index:
                continue
            (owner,) = reply.owners
            if (reply.run, reply.round, reply.attempt, reply.step) != (first.run, first.round, first.attempt, number):
                self._faults[owner] = f"answered round {reply.round}, attempt {reply.attempt}, step {reply.step}"
            elif reply.status != "ok":
                self._faults[owner] = reply.reason or reply.status
            else:
                self._take(owner, reply, concrete)

    def _take(self, owner: int, reply: Reply, concrete: Pipeline) -> None:
        index = self._index[owner]
        try:
            match self._collector.step, reply.payload, reply.total:
                case "mask", None, Tensor() as vector if reply.ring == concrete.final.ring:
                    self._collector.fold(index, vector.numpy())
                case step, bytes() as payload, None if step != "mask":
                    self._collector.take(index, payload)
                case _:
                    self._faults[owner] = f"answered step {reply.step} with something else"
        except FaultError as fault:
            self._faults[owner] = _bare(index, str(fault))


def _bare(index: int, why: str) -> str:
    """A fault without whose it is: here members go by wire numbers, and the operator knows them by other names."""
    return why.removeprefix(f"owner {index}: ")
