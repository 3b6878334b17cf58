"""Partition: how one data set is dealt to simulated owners.

`split(keys, owners, rng)` gives owner k's indices, int64 `[n_k]`. Every example goes to at most one owner and every owner
gets at least one; `Bootstrap` alone repeats examples and says so (`synthetic`). `keys` `[N]` holds the integer that the
partition looks at, named by its `key`: the example's target, its group, or nothing but the count.

| name          | looks at | skews                          | source                                                |
|---------------|----------|--------------------------------|-------------------------------------------------------|
| iid           | count    | nothing                        |                                                       |
| dirichlet     | label    | labels, equal sizes            | Hsu, Qi, Brown 2019, arXiv 1909.06335, section 3.1    |
| shards        | label    | labels, few of them per owner  | McMahan et al. 2017, arXiv 1602.05629, section 3      |
| quantity-skew | count    | sizes                          | Li, Diao, Chen, He 2022, arXiv 2102.02079, section 4  |
| natural       | group    | as the world does              |                                                       |
| bootstrap     | count    | nothing; synthetic owners      | Efron 1979                                            |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shares: TypeAlias = list[NDArray[np.int64]]
Keys: TypeAlias = NDArray[np.int64]


class PartitionError(ValueError):
    """A deal that cannot be made from this data; names the number to change."""


@dataclass(frozen=True, slots=True)
class IID:
    """A uniformly random deal in equal shares: sizes ⌊N/n⌋ or ⌈N/n⌉."""

    key = "count"
    synthetic = False

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        _enough("iid", len(keys), owners)
        return _equal(rng.permutation(len(keys)), owners)


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Label skew at equal sizes: owner k draws its label mixture from Dir(α · C · p), p the label shares of the C labels.

    Balanced labels give the usual Dir(α, …, α). Examples are dealt without replacement; where a label runs out, the
    owner's mixture is renormalised over the labels left. Owners draw in random order, so leftovers fall on nobody in
    particular. Small α: one label each; α → ∞: IID. `minimum` is the fewest examples that an owner may get.
    """

    alpha: float
    minimum: int = 1
    key = "label"
    synthetic = False

    def __post_init__(self) -> None:
        _positive_number("dirichlet", "alpha", self.alpha)
        _positive_integer("dirichlet", "minimum", self.minimum)

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        _enough("dirichlet", len(keys), owners, self.minimum)
        labels, of = np.unique(keys, return_inverse=True)
        pools = [rng.permutation(np.flatnonzero(of == label)) for label in range(len(labels))]
        left = np.array([len(pool) for pool in pools])
        concentration = self.alpha * len(labels) * left / len(keys)
        sizes = [len(share) for share in _equal(np.arange(len(keys)), owners)]
        shares: Shares = [np.empty(0, dtype=np.int64)] * owners
        for owner in rng.permutation(owners):
            taken = _draw(rng, rng.dirichlet(concentration), left, sizes[owner])
            parts = [pool[n - t : n] for pool, n, t in zip(pools, left, taken, strict=True) if t]
            shares[owner] = np.concatenate(parts)
            left -= taken
        return shares


@dataclass(frozen=True, slots=True)
class Shards:
    """Pathological label skew: examples sorted by label, cut into n · `per_owner` shards, `per_owner` dealt to each."""

    per_owner: int = 2
    key = "label"
    synthetic = False

    def __post_init__(self) -> None:
        _positive_integer("shards", "per_owner", self.per_owner)

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        _enough("shards", len(keys), owners, self.per_owner)
        order = rng.permutation(len(keys))
        order = order[np.argsort(keys[order], kind="stable")]
        shards = _equal(order, owners * self.per_owner)
        dealt = rng.permutation(len(shards)).reshape(owners, self.per_owner)
        return [np.concatenate([shards[shard] for shard in hand]) for hand in dealt]


@dataclass(frozen=True, slots=True)
class QuantitySkew:
    """Size skew: one example each, the other N − n dealt multinomially with owner shares from Dir(α, …, α)."""

    alpha: float
    key = "count"
    synthetic = False

    def __post_init__(self) -> None:
        _positive_number("quantity-skew", "alpha", self.alpha)

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        _enough("quantity-skew", len(keys), owners)
        # Below about 1e-3 every gamma draw may underflow to 0 and the shares to NaN: then one owner takes the rest.
        share = np.nan_to_num(rng.dirichlet(np.full(owners, self.alpha)), nan=0.0)
        if share.sum() == 0:
            share[rng.integers(owners)] = 1.0
        sizes = 1 + rng.multinomial(len(keys) - owners, share / share.sum())
        return np.split(rng.permutation(len(keys)), np.cumsum(sizes)[:-1])


@dataclass(frozen=True, slots=True)
class Natural:
    """The data's own owners: each group whole at one owner; with fewer owners than groups, groups are dealt evenly."""

    key = "group"
    synthetic = False

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        groups = np.unique(keys)
        if owners > len(groups):
            raise PartitionError(
                f"natural: owners = {owners}, but the data has {len(groups)} groups; "
                f"give at most {len(groups)} owners, or another partition"
            )
        _enough("natural", len(keys), owners)
        order = np.argsort(keys, kind="stable")
        members = np.split(order, np.searchsorted(keys[order], groups)[1:])
        return [
            np.concatenate([members[group] for group in hand]) for hand in _equal(rng.permutation(len(groups)), owners)
        ]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A synthetic population: each owner holds `per_owner` examples drawn uniformly *with* replacement.

    For more owners than the data has examples. An example may stand at several owners, so every ε then concerns these
    synthetic owners, not the people behind the data. Owner k's share depends on neither the number of owners after it
    nor their order of use.
    """

    per_owner: int
    key = "count"
    synthetic = True

    def __post_init__(self) -> None:
        _positive_integer("bootstrap", "per_owner", self.per_owner)

    def split(self, keys: Keys, owners: int, rng: np.random.Generator) -> Shares:
        _enough("bootstrap", len(keys) * owners, owners)
        return list(rng.integers(len(keys), size=(owners, self.per_owner), dtype=np.int64))


Partition: TypeAlias = IID | Dirichlet | Shards | QuantitySkew | Natural | Bootstrap

PARTITIONS: Mapping[str, type[Any]] = {
    "iid": IID,
    "dirichlet": Dirichlet,
    "shards": Shards,
    "quantity-skew": QuantitySkew,
    "natural": Natural,
    "bootstrap": Bootstrap,
}


def partition_name(partition: Partition) -> str:
    """The kebab-case name of a partition, as in files and in sources."""
    return next(name for name, kind in PARTITIONS.items() if type(partition) is kind)


def _equal(order: NDArray[np.int64], parts: int) -> Shares:
    return np.array_split(order, parts)


def _draw(
    rng: np.random.Generator, mixture: NDArray[np.float64], left: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """How many of each label, `size` in all and at most `left` of each; ends, as each pass empties a label or is last."""
    taken = np.zeros_like(left)
    while size > 0:
        weights = np.where(taken < left, np.nan_to_num(mixture, nan=0.0), 0.0)
        if weights.sum() == 0:  # a sparse mixture whose labels have run out: what is left, in its own shares
            weights = (left - taken).astype(np.float64)
        more = np.minimum(rng.multinomial(size, weights / weights.sum()), left - taken)
        taken += more
        size -= int(more.sum())
    return taken


def _enough(name: str, examples: int, owners: int, each: int = 1) -> None:
    if owners < 1:
        raise PartitionError(f"{name}: owners = {owners}; give at least 1")
    if examples < owners * each:
        most = examples // each
        raise PartitionError(
            f"{name}: owners = {owners} with at least {each} of {examples} examples each; give at most {most} owners, "
            "or a synthetic population: partition = bootstrap with per_owner"
        )


def _positive_number(name: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise PartitionError(f"{name}: {field} = {value!r}; give a finite number above 0")


def _positive_integer(name: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PartitionError(f"{name}: {field} = {value!r}; give an integer of at least 1")
