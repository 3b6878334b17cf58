"""Hand: a further process of a simulation, which trains the groups that it is given and leaves their sums in shared memory.

It reads orders from one pipe until that ends: with the simulation, however the simulation ends.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..client.worker import Plan, agreed
from ..privacy.entropy import Entropy
from ..strategies.learner import Learner
from ..strategies.messages import Recipe, Request
from ..tasks.examples import Examples
from .engines.engine import Engine
from .population import Population
from .region import Place, Region
from .work import Work

# What code of one's own may raise; anything else ends the process with its last words.
FAULTS = (
    ArithmeticError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """What a hand works with all the time, and where the tensors that everybody sees lie."""

    size: int
    inputs: Place
    targets: Place
    weights: Place
    broadcast: Place
    slots: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Craft:
    """The objects that a hand trains with; they travel by themselves, because they may need code that it cannot find."""

    engine: Engine
    learner: Learner
    entropy: Entropy = field(repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """One group: its owners, where their examples stand in the training data, what they remember, where the sum goes."""

    number: int
    slot: int
    run: str
    round: int
    attempt: int
    recipe: Recipe
    owners: tuple[int, ...]
    shares: tuple[NDArray[np.int64], ...] = field(repr=False)
    memories: Mapping[int, NDArray[np.float32]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an order: a sum in its slot, or none, and what the owners remember now."""

    number: int
    summed: bool
    memories: Mapping[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Bench:
    """A hand's place of work."""

    start: Start
    craft: Craft
    region: Region
    _last: tuple[Recipe, Plan] | None = field(default=None, repr=False)

    def done(self, order: Order) -> Done:
        """Train one group. A fault is not described: who gave the order meets the same one when it tries itself."""
        memories = {owner: torch.from_numpy(kept) for owner, kept in order.memories.items()}
        try:
            total = self._total(order, memories)
        except FAULTS:
            return Done(order.number, False)
        slot = self.region.tensor(self.start.slots[order.slot])
        if total.shape != slot.shape or total.dtype != slot.dtype:
            return Done(order.number, False)
        slot.copy_(total)
        return Done(order.number, True, {owner: kept.numpy() for owner, kept in memories.items()})

    def _total(self, order: Order, memories: dict[int, Tensor]) -> Tensor:
        weights, broadcast = self.region.tensor(self.start.weights), self.region.tensor(self.start.broadcast)
        group = [
            Request(order.run, order.round, order.attempt, owner, order.recipe, weights, broadcast)
            for owner in order.owners
        ]
        if self._last is None or self._last[0] != order.recipe:
            self._last = order.recipe, agreed(group[0], self.craft.learner)
        training = Examples(self.region.tensor(self.start.inputs), self.region.tensor(self.start.targets))
        held = dict(zip(order.owners, order.shares, strict=True))
        population = Population(training, held)  # type: ignore[arg-type]  # engines look owners up by number alone
        work = Work(population, self.craft.engine, self.craft.learner, self.craft.entropy)
        return work.total(self._last[1], group, memories)


def main() -> NoReturn:
    """Work on orders from the pipe whose descriptor is the first argument, in the memory behind the second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the simulation, which then closes the pipe
    torch.set_num_threads(1)
    connection = Connection(int(sys.argv[1]))
    sys.path[:] = connection.recv()
    start: Start = connection.recv()
    try:
        craft: Craft = pickle.loads(connection.recv_bytes())  # noqa: S301  # of the parent, over its own pipe
    except FAULTS as fault:
        connection.send(f"{type(fault).__name__}: {fault}")
        sys.exit(0)
    bench = Bench(start, craft, Region.at(int(sys.argv[2]), start.size))
    try:
        connection.send("")
        while True:
            connection.send(bench.done(connection.recv()))
    except (EOFError, ConnectionError):
        sys.exit(0)
