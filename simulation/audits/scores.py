"""Scores: how much each canary looks to be in, from what an observer saw. High is in.

White-box scores read every opened sum, less what the natural owners are known to have contributed; black-box scores read the
final model alone. A score may use anything but the coins and the noise: the bound holds whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...tasks.evaluation import owner_means, per_example
from ...tasks.examples import Examples
from ...tasks.task import Task, initial
from .canaries import Crafted
from .inserted import Turn

_RIDGE = 1e-9  # of the largest own product: keeps the equations solvable where nothing is noised


@dataclass(slots=True)
class AlongDirections:
    """Of canary owners with crafted updates: each round's sum along each direction, matched with the sign of the round.

    `first` is the number of the first canary owner; with `secret` draws every round counts for every canary, else those that it
    was asked in. The matching weights are centred over the rounds, so that noise that comes twice goes out. `mixing` `[T, T]`
    undoes noise that is correlated over rounds: what is matched is `mixing` times the sums, against `mixing` times the signs.
    """

    crafted: Crafted
    first: int
    secret: bool
    subtract: bool
    mixing: NDArray[np.float64] | None = None
    found: list[NDArray[np.float64]] = field(default_factory=list, repr=False)
    signs: list[NDArray[np.float64]] = field(default_factory=list, repr=False)

    def see(self, total: Tensor, turn: Turn, sign: float) -> None:
        """One opened sum `[d]`."""
        sum_ = total.to("cpu", torch.float64)
        if self.subtract and turn.natural is not None:
            sum_ = sum_ - turn.natural
        self.found.append(self.crafted.along(sum_))
        asked = np.ones(self.crafted.count, dtype=np.float64)
        if not self.secret:
            asked = np.array([self.first + i in turn.drawn for i in range(self.crafted.count)], dtype=np.float64)
        self.signs.append(sign * asked)

    def scores(self) -> NDArray[np.float64]:
        """`[m]`; all 0 where nothing was opened."""
        if not self.found:
            return np.zeros(self.crafted.count)
        seen, signs = np.array(self.found), np.array(self.signs)
        if self.mixing is not None:
            mixing = self.mixing[: len(seen), : len(seen)]
            seen, signs = mixing @ seen, mixing @ signs
        elif len(signs) > 1:
            signs = signs - signs.mean(axis=0)
        return np.asarray((signs * seen).sum(axis=0), dtype=np.float64)


@dataclass(slots=True)
class OfGradients:
    """Of canary examples: the linear estimate of all coins at once, (Σₜ AₜAₜᵀ + λI)⁻¹ Σₜ Aₜ yₜ.

    Aₜ `[m, d]` holds what each canary would contribute to round t, yₜ is what was opened less the natural part and half of all
    canaries. λ = 4·mean(y²) stands for the noise over the coins' variance ¼.
    """

    count: int
    products: NDArray[np.float64] = field(init=False, repr=False)
    matched: NDArray[np.float64] = field(init=False, repr=False)
    noise: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.products = np.zeros((self.count, self.count))
        self.matched = np.zeros(self.count)

    def see(self, rest: Tensor, rows: Tensor) -> None:
        """One round: `rest` = yₜ + half of all canaries `[d]`, `rows` = Aₜ `[m, d]`."""
        rows = rows.to(torch.float64)
        centred = rest.to(torch.float64) - 0.5 * rows.sum(dim=0)
        self.products += (rows @ rows.t()).numpy()
        self.matched += (rows @ centred).numpy()
        self.noise.append(float(centred.square().mean()))

    def scores(self) -> NDArray[np.float64]:
        """`[m]`; all 0 where nothing was opened."""
        largest = float(np.diag(self.products).max(initial=0.0))
        if not self.noise or largest == 0.0:
            return np.zeros(self.count)
        ridge = max(4 * float(np.mean(self.noise)), _RIDGE * largest)
        solved = np.linalg.solve(self.products + ridge * np.eye(self.count), self.matched)
        return np.asarray(solved, dtype=np.float64)


def learned(
    task: Task, seed: int, weights: Tensor, canaries: Examples, shares: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Black-box scores `[m]`: by how much the loss of each canary's examples fell from the initial model to `weights` `[d]`."""
    module = initial(task, seed)
    before = per_example(task, module, canaries).loss
    task.trainable(module).unflatten_into(module, weights)
    after = per_example(task, module, canaries).loss
    return owner_means(before - after, shares)
