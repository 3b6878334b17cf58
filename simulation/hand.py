"""Hand: a further process of a simulation, which trains the shards that it is given and leaves their sums in shared memory.

It reads orders from one pipe until that ends: with the simulation, however the simulation ends.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NoReturn, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..client.worker import Plan, agreed
from ..strategies.messages import Recipe, Request
from ..strategies.requests import Requests, owners_in
from ..tasks.examples import Examples
from .alertness import Alertness
from .craft import FAULTS, Craft
from .memory import keep_freed_memory
from .population import FlatShares, Population
from .region import Place, Region
from .shards import Shard, shard_total
from .work import Work

Kept: TypeAlias = Mapping[int, NDArray[np.float32]]  # what owners remember between rounds
Owners: TypeAlias = tuple[tuple[int, ...], ...]  # of a shard, group by group


@dataclass(frozen=True, slots=True)
class Start:
    """Where the tensors that everybody sees lie: data and shares for good, the model for a round, sums on their way.

    `alert`: seconds for which a hand that is done with an order looks out for another before it sleeps.
    """

    size: int
    alert: float
    inputs: Place
    targets: Place
    rows: Place
    firsts: Place
    weights: Place
    broadcast: Place
    slots: tuple[Place, ...]

    def slot(self, number: int) -> int:
        """Which of the slots the sum of a round's shard with this number goes to."""
        return number % len(self.slots)


@dataclass(frozen=True, slots=True)
class Opening:
    """What all shards of a round have in common; the model lies in its place by then."""

    run: str
    round: int
    attempt: int
    recipe: Recipe

    @classmethod
    def of(cls, request: Request) -> Opening:
        """What a request has in common with all others of its round."""
        return cls(request.run, request.round, request.attempt, request.recipe)

    def shard(self, owners: Owners, weights: Tensor, broadcast: Tensor) -> Shard:
        """The requests of these groups of owners."""
        common = (self.run, self.round, self.attempt)
        return [Requests(*common, group, self.recipe, weights, broadcast) for group in owners]


def owners_of(shard: Shard) -> Owners:
    """Whom a shard asks."""
    return tuple(owners_in(group) for group in shard)


def kept_by(owners: Owners, memories: Mapping[int, Tensor]) -> Kept:
    """What these owners remember."""
    return {owner: memories[owner].numpy() for group in owners for owner in group if owner in memories}


@dataclass(frozen=True, slots=True)
class Order:
    """One shard: its owners, and what they remember.

    `attempt` (run, round, attempt) comes with a hand's first order of one, `recipe` where it is another than before.
    """

    number: int
    owners: Owners
    memories: Kept = field(repr=False)
    attempt: tuple[str, int, int] | None = None
    recipe: Recipe | None = None

    def __reduce__(self) -> tuple[type[Order], tuple[object, ...]]:
        return Order, (self.number, self.owners, self.memories, self.attempt, self.recipe)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an order: a sum in its slot, or none, and what the owners remember now."""

    number: int
    summed: bool
    memories: Kept = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[type[Done], tuple[object, ...]]:
        return Done, (self.number, self.summed, self.memories)


@dataclass(slots=True)
class Bench:
    """A hand's place of work."""

    start: Start
    craft: Craft
    region: Region
    population: Population = field(init=False, repr=False)
    _weights: Tensor = field(init=False, repr=False)
    _broadcast: Tensor = field(init=False, repr=False)
    _slots: tuple[Tensor, ...] = field(init=False, repr=False)
    _opening: Opening | None = None
    _last: tuple[Recipe, Plan] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        at, start = self.region.tensor, self.start
        shares = FlatShares(at(start.rows).numpy(), at(start.firsts).numpy())
        self.population = shares.population(Examples(at(start.inputs), at(start.targets)))
        self._weights, self._broadcast = at(start.weights), at(start.broadcast)
        self._slots = tuple(at(slot) for slot in start.slots)

    def done(self, order: Order) -> Done:
        """Train one shard. A fault is not described: who gave the order meets the same one when it tries itself."""
        self._open(order)
        memories = {owner: torch.from_numpy(kept) for owner, kept in order.memories.items()}
        try:
            total = self._total(order, memories)
        except FAULTS:
            return Done(order.number, False)
        slot = self._slots[self.start.slot(order.number)]
        if total.shape != slot.shape or total.dtype != slot.dtype:
            return Done(order.number, False)
        slot.copy_(total)
        return Done(order.number, True, {owner: kept.numpy() for owner, kept in memories.items()})

    def _open(self, order: Order) -> None:
        recipe = order.recipe
        if recipe is None and self._opening is not None:
            recipe = self._opening.recipe
        if order.attempt is not None and recipe is not None:
            self._opening = Opening(*order.attempt, recipe)

    def _total(self, order: Order, memories: dict[int, Tensor]) -> Tensor:
        if self._opening is None:
            raise RuntimeError("an order before the round that it belongs to")
        shard = self._opening.shard(order.owners, self._weights, self._broadcast)
        recipe = self._opening.recipe
        if self._last is None or self._last[0] != recipe:
            self._last = recipe, agreed(shard[0][0], self.craft.learner)
        work = Work(self.population, self.craft.engine, self.craft.learner, self.craft.entropy)
        return shard_total(work, self._last[1], shard, memories)


def main() -> NoReturn:
    """Work on orders from the pipe whose descriptor is the first argument, in the memory behind the second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the simulation, which then closes the pipe
    torch.set_num_threads(1)
    keep_freed_memory()
    connection = Connection(int(sys.argv[1]))
    sys.path[:] = connection.recv()
    start: Start = connection.recv()
    try:
        craft: Craft = pickle.loads(connection.recv_bytes())  # noqa: S301  # of the parent, over its own pipe
    except FAULTS as fault:
        connection.send(f"{type(fault).__name__}: {fault}")
        sys.exit(0)
    bench = Bench(start, craft, Region.at(int(sys.argv[2]), start.size))
    alertness = Alertness([connection], start.alert)
    try:
        connection.send("")
        while True:
            connection.send_bytes(pickle.dumps(bench.done(connection.recv())))
            alertness.next()
    except (EOFError, ConnectionError):
        sys.exit(0)
