"""Batches: who trains on which examples in which step, for a whole cohort, drawn as each owner would draw alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.entropy import Entropy
from ...strategies.messages import Request
from ...strategies.requests import Requests, owners_in
from ...strategies.shuffle import orders
from ...tasks.examples import Examples
from ..population import Population
from .pace import Pace


@dataclass(frozen=True, slots=True)
class Step:
    """The batches of one step for the first k owners: `rows` `[k, b]` of the training data, `weights` `[k, b]` their parts
    in the mean loss, 1/size. A shorter batch repeats its first example at weight 0; `even` says that there is none.
    """

    rows: Tensor
    weights: Tensor
    even: bool

    @property
    def shape(self) -> tuple[int, int]:
        """k and b."""
        return self.rows.shape[0], self.rows.shape[1]

    def of(self, training: Examples) -> tuple[Tensor, Tensor]:
        """Inputs `[k·b, …]` and targets `[k·b, …]`."""
        chosen = self.rows.flatten()
        return training.inputs.index_select(0, chosen), training.targets.index_select(0, chosen)


@dataclass(frozen=True, slots=True)
class Batches:
    """All steps of a cohort. Owners are sorted by the number of their steps, the longest first, so that those who are still
    at it are always the first ones; `rows[i]` is where request i stands, `counts` `[k]` their steps in that order.
    """

    steps: tuple[Step, ...]
    rows: Tensor
    counts: NDArray[np.int64]


def sizes_of(requests: Sequence[Request], population: Population) -> NDArray[np.int64]:
    """How many examples each of these owners holds."""
    shares = population.shares
    return np.array([len(shares[owner]) for owner in owners_in(requests)], dtype=np.int64)


def sorted_groups(
    pace: Pace, requests: Sequence[Request], population: Population, rows: int, most: int
) -> list[list[Request]]:
    """Groups of alike owners, those with most to do first: at most `most` owners, and `rows` examples in all their steps.

    Where they are several they are an even number, as large as one another, so that two processes have as much to do as one
    another.
    """
    groups = _places(pace, sizes_of(requests, population).tobytes(), rows, most)
    if isinstance(requests, Requests):
        return [requests.at(group) for group in groups]  # type: ignore[misc]  # groups are read, and are sequences
    return [[requests[place] for place in group] for group in groups]


@lru_cache(maxsize=2)  # where owners hold as many as one another it is the same in every round
def _places(pace: Pace, held: bytes, rows: int, most: int) -> tuple[tuple[int, ...], ...]:
    """Where in the cohort the owners of each group stand; `held` are the sizes, as the bytes of their array."""
    sizes = np.frombuffer(held, dtype=np.int64)
    counts = pace.counts(sizes)
    order = np.lexsort((np.arange(len(sizes)), -sizes, -counts))
    per_step = np.minimum(sizes, pace.batch or sizes.max(initial=0))
    load = (counts * per_step)[order]
    cuts = _dealt(load, rows, most)
    if len(cuts) > 2:
        cuts = _evened(load, rows, most, len(cuts) - 1 + (len(cuts) - 1) % 2)
    places = tuple(order.tolist())
    return tuple(places[first:end] for first, end in pairwise(cuts))


def _dealt(load: NDArray[np.int64], rows: int, most: int) -> list[int]:
    """Where groups begin that are as large as the limits allow, and where the last one ends."""
    before = np.concatenate(([0], np.cumsum(load)))
    cuts = [0]
    while cuts[-1] < len(load):
        first = cuts[-1]
        fits = int(np.searchsorted(before, before[first] + rows, side="right")) - 1
        cuts.append(min(max(fits, first + 1), first + most, len(load)))
    return cuts


def _evened(load: NDArray[np.int64], rows: int, most: int, count: int) -> list[int]:
    """`count` groups with as much to do as one another where that keeps the limits, else with as many owners."""
    before, whole = np.cumsum(load) - load / 2, int(load.sum())
    whose = np.minimum(before * count // max(1, whole), count - 1).astype(np.int64)
    owners, work = np.bincount(whose, minlength=count), np.bincount(whose, weights=load, minlength=count)
    if owners.min() < 1 or owners.max() > most or work.max() > rows:
        return _dealt(load, rows, -(-len(load) // count))
    return [0, *np.cumsum(owners).tolist()]


def batches_of(
    pace: Pace, requests: Sequence[Request], population: Population, entropy: Entropy, device: str = "cpu"
) -> Batches:
    """The batches that `drawn_batches` gives each of these owners, all at once; all that a group needs goes to the device
    before its first step.
    """
    asked, sizes = owners_in(requests), sizes_of(requests, population)
    counts = pace.counts(sizes)
    order = np.lexsort((-sizes, -counts))  # stable: equal owners stay in the order of their requests
    sizes, counts, owners = sizes[order], counts[order], [asked[place] for place in order.tolist()]
    size = np.minimum(sizes, pace.batch) if pace.batch is not None else sizes
    passes = -(-counts // np.maximum(1, -(-sizes // np.maximum(1, size))))
    drawn = _orders(requests, owners, sizes, size, int(passes.max(initial=0)), entropy)
    held = [np.asarray(population.shares[owner], dtype=np.int64) for owner in owners]
    flat = np.concatenate(held) if held else np.empty(0, np.int64)
    alike = len(owners) > 0 and int(sizes[0]) == int(sizes.min()) == int(sizes.max())
    steps = _steps_alike(flat, drawn, size, counts) if alike else _steps(flat, drawn, sizes, size, counts)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    placed = tuple(Step(step.rows.to(device), step.weights.to(device), step.even) for step in steps)
    return Batches(placed, torch.from_numpy(back).to(device), counts)


def _steps(
    flat: NDArray[np.int64],
    drawn: NDArray[np.int64],
    sizes: NDArray[np.int64],
    size: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> list[Step]:
    """The steps of owners whose examples, `sizes` of them, lie in `flat` one owner behind the other."""
    first_of = np.concatenate(([0], np.cumsum(sizes)))[:-1]
    steps = []
    for t in range(int(counts.max(initial=0))):
        k = int(np.searchsorted(-counts, -t))  # owners with more than t steps
        batch = size[:k]
        turns = -(-sizes[:k] // batch)
        first = (t % turns) * batch
        length = np.minimum(batch, sizes[:k] - first)
        place = np.arange(int(length.max()))
        used = place < length[:, None]
        chosen = np.where(used, first[:, None] + place, first[:, None])
        mine = drawn[np.arange(k)[:, None], (t // turns)[:, None], chosen]
        weights = np.where(used, 1.0 / length[:, None], 0.0).astype(np.float32)
        rows = flat[first_of[:k, None] + mine]
        steps.append(Step(torch.from_numpy(rows), torch.from_numpy(weights), bool(used.all())))
    return steps


def _steps_alike(
    flat: NDArray[np.int64], drawn: NDArray[np.int64], size: NDArray[np.int64], counts: NDArray[np.int64]
) -> list[Step]:
    """What `_steps` gives owners who all hold the same number of examples, so that nobody's batch is shorter."""
    k, batch = len(size), int(size[0])
    own = flat.reshape(k, -1)
    each = np.arange(k)[:, None]
    turns = -(-own.shape[1] // max(1, batch))
    steps = []
    for t in range(int(counts[0])):
        first = (t % turns) * batch
        mine = drawn[:, t // turns, first : first + batch]
        weights = torch.full(mine.shape, 1.0 / mine.shape[1])
        steps.append(Step(torch.from_numpy(own[each, mine]), weights, True))
    return steps


def _orders(
    requests: Sequence[Request],
    owners: Sequence[int],
    sizes: NDArray[np.int64],
    batch: NDArray[np.int64],
    passes: int,
    entropy: Entropy,
) -> NDArray[np.int64]:
    """`[k, passes, max(sizes)]`: every owner's orders; who has all examples in one batch does not shuffle."""
    shuffling = sizes > batch
    longest = int(sizes.max(initial=0))
    if not shuffling.any():
        return np.broadcast_to(np.arange(longest), (len(sizes), max(1, passes), longest))
    if shuffling.all():
        return orders(_seeds(entropy, requests[0], owners), sizes, passes)
    seeds = np.zeros(len(sizes), dtype=np.uint64)
    seeds[shuffling] = _seeds(entropy, requests[0], [owners[place] for place in np.flatnonzero(shuffling).tolist()])
    drawn = orders(seeds, sizes, passes)
    drawn[~shuffling] = np.arange(longest)
    return drawn


def _seeds(entropy: Entropy, request: Request, owners: Sequence[int]) -> NDArray[np.uint64]:
    """What each of these owners shuffles by in the request's round: `streams_of(…)("batches").seed()`, all at once."""
    return entropy.seeds("local/batches", request.round, owners=owners, attempt=request.attempt)
