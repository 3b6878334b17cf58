"""Shuffle: the orders in which owners pass over their examples, of one owner or of many at once, from a seed each.

Word i of a seed is SplitMix64 in counter mode (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators",
with the constants of their mix64variant13); an order is the stable argsort of a pass's words, uniform but for ties, which
64-bit words have with probability below n²·2⁻⁶⁵. What makes noise or masks is never drawn here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_GAMMA, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_LAST = np.uint64(2**64 - 1)


def mixed(seeds: NDArray[np.uint64], counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Uniform 64-bit words, one for each pair of a seed and a counter, broadcast against one another."""
    words = seeds + (counters + np.uint64(1)) * _GAMMA
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed


def orders(seeds: NDArray[np.uint64], sizes: NDArray[np.int64], passes: int) -> NDArray[np.int64]:
    """`passes` orders of `sizes[k]` things for each seed: `[k] -> [k, passes, max(sizes)]`.

    The first `sizes[k]` of a row are the order; what follows them means nothing. A row depends on its own seed and size only.
    """
    longest = int(sizes.max(initial=0))
    place = np.arange(longest, dtype=np.uint64)
    turn = np.arange(passes, dtype=np.uint64)[:, None]
    counters = turn * sizes.astype(np.uint64)[:, None, None] + place
    words = mixed(seeds[:, None, None], counters)
    if len(sizes) and int(sizes.min()) < longest:
        # Sorted to the end, where the stable sort keeps them: their places are the last ones.
        words[np.broadcast_to(np.arange(longest) >= sizes[:, None, None], words.shape)] = _LAST
    return np.argsort(words, axis=-1, kind="stable")


def shuffled(seed: int, count: int) -> Iterator[NDArray[np.int64]]:
    """One order of `count` things after another, those of `orders` for this seed."""
    first = 0
    seeds = np.array([seed], dtype=np.uint64)
    while True:
        words = mixed(seeds, np.arange(first, first + count, dtype=np.uint64))
        yield np.argsort(words, kind="stable")
        first += count
