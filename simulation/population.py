"""Population: the simulated owners, their shares of the task's data, and whether they answer.

Owners are made lazily: only the indices of every share are held, an owner's examples are copied when it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import ConfigError
from ..privacy.entropy import Entropy
from ..tasks.examples import Examples
from ..tasks.partition import PartitionError, Shares
from ..tasks.task import Task, TaskError, checked

if TYPE_CHECKING:
    from ..strategies.federation import (
        Federation,  # which loads the accountants: a process that only trains has no use for them
    )


@dataclass(frozen=True, slots=True)
class Population:
    """`len(shares)` owners; owner k holds the training examples `shares[k]`."""

    training: Examples = field(repr=False)
    shares: Shares = field(repr=False)
    _resident: dict[str, Examples] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.shares)

    def examples(self, owner: int) -> Examples:
        """What one owner holds."""
        return self.training.subset(torch.from_numpy(np.asarray(self.shares[owner], dtype=np.int64)))

    def resident(self, device: str) -> Examples:
        """All training examples on a device: copied there once, for as long as the population is."""
        if device == "cpu":
            return self.training
        if device not in self._resident:
            self._resident[device] = self.training.to(device)
        return self._resident[device]

    def sizes(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Number of examples of every owner: known to the simulator only."""
        return np.array([len(share) for share in self.shares], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class FlatShares:
    """All shares in two arrays that travel as they are: share k is `rows[firsts[k]:firsts[k + 1]]`, and nothing else is
    asked of them.
    """

    rows: NDArray[np.int64]
    firsts: NDArray[np.int64]

    @classmethod
    def of(cls, shares: Shares) -> FlatShares:
        """The same shares."""
        firsts = np.zeros(len(shares) + 1, dtype=np.int64)
        np.cumsum([len(share) for share in shares], out=firsts[1:])
        rows = np.concatenate([np.asarray(share, dtype=np.int64) for share in shares] or [firsts[:0]])
        return cls(rows, firsts)

    def __getitem__(self, owner: int) -> NDArray[np.int64]:
        return self.rows[self.firsts[owner] : self.firsts[owner + 1]]

    def population(self, training: Examples) -> Population:
        """The owners of `training` with these shares, for whoever only trains them."""
        return Population(training, self)  # type: ignore[arg-type]  # engines look owners up by number alone


@dataclass(frozen=True, slots=True)
class Availability:
    """Which sampled owners answer in time, drawn apart from all data.

    `dropout`: probability that an owner never answers; `straggler`: that its answer comes after the deadline. The
    straggler has trained for nothing: a late answer is discarded, whatever it holds.
    """

    dropout: float = 0.0
    straggler: float = 0.0

    def answers(self, entropy: Entropy, round: int, attempt: int, owner: int) -> bool:
        """Whether this owner's answer to this attempt arrives before the deadline."""
        if self.dropout == 0 and self.straggler == 0:
            return True
        lost, late = entropy.stream("availability", round, attempt=attempt, owner=owner).uniform(2)
        return bool(lost >= self.dropout and late >= self.straggler)


def population_of(task: Task, owners: int, seed: int, partition: object) -> Population:
    """The population that `seed` deals; everybody who gives this seed gets the same shares."""
    training = task.training()
    return Population(training, task.shares(owners, seed, partition))  # type: ignore[arg-type]


def dealt(federation: Federation, seed: int) -> Population:
    """The owners of a simulated federation, after a look whether its model, loss and data fit one another.

    Raises `ConfigError` for more owners than the data suffices for, and for a task that cannot be trained.
    """
    task = federation.task
    try:
        population = population_of(task, federation.population, seed, federation.partition)
        checked(task, population.training, f"task {task.name}, train")
    except PartitionError as error:
        raise ConfigError(f"population.partition: {error}") from error
    except TaskError as error:
        raise ConfigError(f"task: {error}") from error
    return population
