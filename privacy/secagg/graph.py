"""Graph: who shares masks and secrets with whom. Everybody with everybody, or a regular graph of a public random order.

The sparse graph is Harary's: owners stand in a circle in the order of digest("graph", seed, u32 position) and each is joined to
the k/2 nearest on either side. Its degree k and the threshold t come from Bell, Bonawitz, Gascón, Lepoint and Raykova,
"Secure single-server aggregation with (poly)logarithmic overhead" (CCS 2020, section 3). Of n owners C collude with a
server that follows the protocol and D drop out, whoever they are, without knowledge of the order. Then, over the order:

    exposed       some owner has t or more colluding neighbours              probability at most 2⁻⁴¹
    split         without colluders and dropped, the graph falls apart       probability at most 2⁻⁴¹
    unrecovered   some owner has fewer than t neighbours left                probability at most 2⁻²⁰

The first two together are what secrecy rests on, 2⁻⁴⁰; the third only ends the round. How many of an owner's neighbours are
in a set is hypergeometric; expected numbers over all owners bound the probabilities (Markov). Tails are summed where the
paper's theorems are asymptotic. Nothing here holds against a server that chooses whom to declare dropped once it knows the
order (PRIVACY.md 18).
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from typing import Literal

import numpy as np

from .keys import digest

SECRECY, RECOVERY = 40, 20  # bits: −log₂ of the probability that a sparse graph exposes an owner, that it loses a round

Adversary = Literal["none", "semi-honest", "semi-malicious"]
Neighbours = tuple[tuple[int, ...], ...]

_EACH = -(SECRECY + 1) * math.log(2)  # of two events, half of the probability each
_LOST = -RECOVERY * math.log(2)
_SLACK = 1e-6  # lgamma of 10⁶ has an absolute error of 10⁻⁹: no sum of ten of them is off by more than this
_CHUNK = 256


class GraphError(ValueError):
    """A graph that does not exist or does not protect."""


def complete(n: int) -> Neighbours:
    """Everybody's neighbours are all others.

    >>> complete(3)
    ((1, 2), (0, 2), (0, 1))
    """
    return tuple(tuple(other for other in range(n) if other != each) for each in range(n))


def neighbours(n: int, degree: int, seed: bytes) -> Neighbours:
    """The `degree` neighbours of each of `n` positions, ascending, in the graph of `seed`.

    The positions are those of the whole cohort: who never answered stands in the graph as one of the D that drop out, for
    in a graph of those who did answer the colluders would be a larger part than the search allowed for.
    """
    if not 2 <= degree < n or degree % 2:
        raise GraphError(f"degree {degree} for {n} owners; give an even number from 2 to below {n}")
    circle = sorted(range(n), key=lambda position: digest("graph", seed, struct.pack(">I", position)))
    steps = [step for reach in range(1, degree // 2 + 1) for step in (-reach, reach)]
    found: list[tuple[int, ...]] = [()] * n
    for place, position in enumerate(circle):
        found[position] = tuple(sorted(circle[(place + step) % n] for step in steps))
    return tuple(found)


def sparsest(
    n: int, colluders: int, drops: int, adversary: Adversary = "semi-honest", *, lowest: int = 2
) -> tuple[int, int] | None:
    """(k, t): the smallest even degree below n, and for it the smallest threshold from `lowest`, that meet all conditions.

    At threshold 1 every neighbour would hold the secrets themselves: sound where nobody colludes, never used by `Parameters`.

    None where no degree does, and where colluders and drops together leave less than a tenth of the owners (the drops counted
    twice under semi-malicious): then the full graph is the answer.

    `semi-malicious`, the paper's server that is honest until the keys are agreed on, is exposed to when t colluding and
    *misled* neighbours come together: 2t − k colluding ones are enough. It is here for comparison with published parameters;
    `Parameters` does not take it, because its drops follow the order. `none`: nobody colludes to see a share.

    >>> sparsest(100, 5, 5), sparsest(1000, 50, 50), sparsest(1000, 500, 500)
    ((12, 6), (30, 17), None)
    """
    twice = 2 if adversary == "semi-malicious" else 1
    if n < 3 or colluders < 0 or drops < 0 or 10 * (colluders + twice * drops) > 9 * n:
        return None
    degree = 2
    while degree < n:
        fewest = lowest + bisect_left(
            range(lowest, degree + 1),
            True,
            key=lambda t: exposed(n, colluders, degree, t, adversary) <= _EACH - _SLACK,
        )
        most = bisect_left(
            range(1, degree + 1),
            True,
            key=lambda t: unrecovered(n, drops, degree, t) > _LOST - _SLACK,
        )
        if fewest <= most and split(n, colluders + drops, degree) <= _EACH - _SLACK:
            return degree, fewest
        # Two neighbours more raise `most` by two at the most (where they are all left) and never lower `fewest`, so no degree
        # that is passed over could have closed the gap.
        degree += 2 * max(1, -(-(fewest - most) // 2))
    return None


def check(n: int, colluders: int, drops: int, degree: int, threshold: int) -> None:
    """Raise `GraphError` unless a semi-honest server, `colluders` and `drops` meet all conditions at this (k, t)."""
    if not 2 <= degree < n or degree % 2 or not 2 <= threshold <= degree:
        raise GraphError(
            f"degree {degree} and threshold {threshold} for {n} owners; give an even degree from 2 to below {n} and a "
            "threshold from 2 to the degree"
        )
    if exposed(n, colluders, degree, threshold) > _EACH - _SLACK:
        raise GraphError(f"{colluders} colluders may hold {threshold} shares of a neighbour; raise the threshold")
    if split(n, colluders + drops, degree) > _EACH - _SLACK:
        raise GraphError(f"{colluders} colluders and {drops} drops may split the graph; raise the degree")
    if unrecovered(n, drops, degree, threshold) > _LOST - _SLACK:
        raise GraphError(f"{drops} drops may leave an owner fewer than {threshold} neighbours; raise the degree")


def exposed(n: int, colluders: int, degree: int, threshold: int, adversary: Adversary = "semi-honest") -> float:
    """ln of the expected number of owners of whom colluding neighbours, and whoever can be misled, hold `threshold` shares.

    Over all n, colluding owners too, though nobody guards those: published parameters count them.
    """
    if adversary == "none":
        return -math.inf
    enough = threshold if adversary == "semi-honest" else 2 * threshold - degree
    honest = _expected(n - colluders, n - 1, colluders, degree, enough)
    return _sum(honest, _expected(colluders, n - 1, colluders - 1, degree, enough))


def unrecovered(n: int, drops: int, degree: int, threshold: int) -> float:
    """ln of the expected number of owners with fewer than `threshold` neighbours left; of a dropped one the key is needed."""
    enough = degree - threshold + 1
    left = _expected(n - drops, n - 1, drops, degree, enough)
    return _sum(left, _expected(drops, n - 1, drops - 1, degree, enough))


def split(n: int, removed: int, degree: int) -> float:
    """ln of the expected number of ways to cut the circle in two.

    It takes two disjoint runs of k/2 removed neighbours with somebody left on both sides: n(n − k − 1)/2 pairs of runs, each
    removed with probability R(R−1)…(R−k+1) / (n(n−1)…(n−k+1)).
    """
    pairs = n * (n - degree - 1) / 2
    if removed < degree or pairs <= 0:
        return -math.inf
    return math.log(pairs) + _choose(removed, degree) - _choose(n, degree)


def _expected(owners: int, others: int, marked: int, degree: int, enough: int) -> float:
    """ln(owners · P[X ≥ enough]), X the marked among `degree` of `others`."""
    return -math.inf if owners <= 0 else math.log(owners) + upper_tail(others, marked, degree, enough)


def upper_tail(population: int, marked: int, drawn: int, least: int) -> float:
    """ln P[X ≥ least] for X hypergeometric: `drawn` of `population`, of which `marked` count. 0 (P ≤ 1) up to the mean.

    P[X = x+1] / P[X = x] = (M−x)(k−x) / ((x+1)(N−M−k+x+1)) decreases in x and is below 1 past the mean. The sum stops once the
    geometric series that bounds the rest is negligible, and adds that bound.
    """
    last = min(marked, drawn)
    if least > last:
        return -math.inf
    if least <= max(0, drawn - (population - marked)) or least * population <= drawn * marked:
        return 0.0
    total, term, x = 1.0, 1.0, least
    while x < last:
        at = np.arange(x, min(x + _CHUNK, last), dtype=np.float64)
        ratios = (marked - at) * (drawn - at) / ((at + 1) * (population - marked - drawn + at + 1))
        terms = term * np.cumprod(ratios)
        total += float(terms.sum())
        term, x, ratio = float(terms[-1]), x + len(at), float(ratios[-1])
        rest = term * ratio / (1 - ratio) if ratio < 1 else math.inf
        if rest < 1e-12 * total:
            total += rest
            break
    first = _choose(marked, least) + _choose(population - marked, drawn - least) - _choose(population, drawn)
    return min(0.0, first + math.log(total))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _sum(one: float, other: float) -> float:
    """ln(e^one + e^other)."""
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
