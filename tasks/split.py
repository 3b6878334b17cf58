"""Split: the public, fixed division of a bundled data set into training and test examples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_split(
    labels: Sequence[int] | NDArray[np.int64], test: int, name: str, split: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ascending indices of the training and of the `test` test examples, each label in its share (largest remainder).

    Within a label the examples with the smallest SHA-256 of (name, split, index) are tested. A hash rather than a
    random generator: the split is the same under every version of every library, and everybody can check it.
    """
    values = np.asarray(labels)
    if not 0 < test < len(values):
        raise ValueError(f"test = {test} of {len(values)} examples; give a number in 1..{len(values) - 1}")
    if split < 0:
        raise ValueError(f"split = {split}; give 0 or above")
    kinds, counts = np.unique(values, return_counts=True)
    exact = counts * test / len(values)
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: test - int(quota.sum())]] += 1
    tested: list[int] = []
    for kind, size in zip(kinds, quota, strict=True):
        members = [int(index) for index in np.flatnonzero(values == kind)]
        tested += sorted(members, key=lambda index: _digest(name, split, index))[:size]
    mask = np.zeros(len(values), dtype=bool)
    mask[tested] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _digest(name: str, split: int, index: int) -> bytes:
    return hashlib.sha256(f"tacit split 1\0{name}\0{split}\0{index}".encode()).digest()
