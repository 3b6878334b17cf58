"""Batches: who trains on which examples in which step, for a whole cohort, drawn as each owner would draw alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.entropy import Entropy
from ...strategies.messages import Request
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
    return np.array([len(population.shares[request.owner]) for request in requests], dtype=np.int64)


def sorted_groups(
    pace: Pace, requests: Sequence[Request], population: Population, rows: int, most: int
) -> list[list[Request]]:
    """Groups of alike owners, those with most to do first: at most `most` owners, and `rows` examples in all their steps.

    Where they are several they are an even number, as large as one another, so that two processes have as much to do as one
    another.
    """
    sizes = sizes_of(requests, population)
    counts = pace.counts(sizes)
    order = np.lexsort((np.arange(len(requests)), -sizes, -counts))
    per_step = np.minimum(sizes, pace.batch or sizes.max(initial=0))
    load = (counts * per_step)[order].tolist()
    groups = _dealt(order.tolist(), load, rows, most)
    if len(groups) > 1:
        groups = _evened(order.tolist(), load, rows, most, len(groups) + len(groups) % 2)
    return [[requests[place] for place in group] for group in groups]


def _dealt(places: Sequence[int], load: Sequence[int], rows: int, most: int) -> list[list[int]]:
    groups: list[list[int]] = []
    taken = 0
    for place, work in zip(places, load, strict=True):
        if not groups or len(groups[-1]) >= most or taken + work > rows:
            groups.append([])
            taken = 0
        groups[-1].append(place)
        taken += work
    return groups


def _evened(places: Sequence[int], load: Sequence[int], rows: int, most: int, count: int) -> list[list[int]]:
    """`count` groups with as much to do as one another where that keeps the limits, else with as many owners."""
    before = np.cumsum(load) - np.array(load) / 2
    whose = np.minimum(before * count // max(1, sum(load)), count - 1).astype(np.int64)
    owners, work = np.bincount(whose, minlength=count), np.bincount(whose, weights=load, minlength=count)
    if owners.min() < 1 or owners.max() > most or work.max() > rows:
        return _dealt(places, load, rows, -(-len(places) // count))
    return [part.tolist() for part in np.split(np.array(places), np.cumsum(owners)[:-1])]


def batches_of(
    pace: Pace, requests: Sequence[Request], population: Population, entropy: Entropy, device: str = "cpu"
) -> Batches:
    """The batches that `drawn_batches` gives each of these owners, all at once; all that a group needs goes to the device
    before its first step.
    """
    sizes = sizes_of(requests, population)
    counts = pace.counts(sizes)
    order = np.lexsort((-sizes, -counts))  # stable: equal owners stay in the order of their requests
    sizes, counts = sizes[order], counts[order]
    size = np.minimum(sizes, pace.batch) if pace.batch is not None else sizes
    passes = -(-counts // np.maximum(1, -(-sizes // np.maximum(1, size))))
    drawn = _orders([requests[place] for place in order], sizes, size, int(passes.max(initial=0)), entropy)
    held = [population.shares[requests[place].owner] for place in order]
    flat = np.concatenate([np.asarray(share, dtype=np.int64) for share in held]) if held else np.empty(0, np.int64)
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
        steps.append(Step(torch.from_numpy(rows).to(device), torch.from_numpy(weights).to(device), bool(used.all())))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return Batches(tuple(steps), torch.from_numpy(back).to(device), counts)


def _orders(
    requests: Sequence[Request], sizes: NDArray[np.int64], batch: NDArray[np.int64], passes: int, entropy: Entropy
) -> NDArray[np.int64]:
    """`[k, passes, max(sizes)]`: every owner's orders; who has all examples in one batch does not shuffle."""
    shuffling = sizes > batch
    longest = int(sizes.max(initial=0))
    if not shuffling.any():
        return np.broadcast_to(np.arange(longest), (len(sizes), max(1, passes), longest))
    seeds = np.zeros(len(sizes), dtype=np.uint64)
    seeds[shuffling] = seeds_of(entropy, [requests[place] for place in np.flatnonzero(shuffling).tolist()])
    drawn = orders(seeds, sizes, passes)
    drawn[~shuffling] = np.arange(longest)
    return drawn


def seeds_of(entropy: Entropy, requests: Sequence[Request]) -> NDArray[np.uint64]:
    """What each owner of one round shuffles by: `streams_of(…)("batches").seed()`, for all of them at once."""
    first = requests[0]
    owners = [request.owner for request in requests]
    return entropy.seeds("local/batches", first.round, owners=owners, attempt=first.attempt)
