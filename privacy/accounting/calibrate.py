"""Calibration: the least noise, or the most rounds, whose proven ε stays within a target.

Brackets come from RDP, which is cheap and never below the reported ε; the search then reads coarse privacy loss
distributions, and what is returned has been checked on the fine one: never above the target, and within 0.1 % of the
value where the fine ε meets it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..event import Event
from ..signal import Relation
from . import loss
from .accountant import epsilon_by_rdp, epsilon_of
from .multiset import multiset
from .relation import AccountingError, checked_delta, checked_relation

LEAST_NOISE, MOST_NOISE = 1e-2, 1e8
MOST_ROUNDS = 2**40
_NARROW = 2e-4  # relative width at which a search for noise ends


def noise_multiplier(
    make_event: Callable[[float], Event], relation: Relation, delta: float, target_epsilon: float
) -> float:
    """The least noise multiplier σ, to 0.1 % and from above, with ε(make_event(σ)) ≤ `target_epsilon`.

    ε must fall as σ grows. Where even `LEAST_NOISE` suffices, that is returned; where `MOST_NOISE` does not,
    `AccountingError`.
    """
    relation, delta = checked_relation(relation), checked_delta(delta)
    target = _checked_target(target_epsilon)

    def by_rdp(noise: float) -> float:
        return epsilon_by_rdp(multiset(make_event(noise)), relation, delta)

    def coarse(noise: float) -> float:
        return epsilon_of(multiset(make_event(noise)), relation, delta, loss.COARSE)

    def fine(noise: float) -> float:
        return epsilon_of(multiset(make_event(noise)), relation, delta, loss.FINE)

    high = 1.0
    while by_rdp(high) > target:
        high *= 2
        if high > MOST_NOISE:
            if fine(MOST_NOISE) > target:
                raise AccountingError(
                    f"no noise multiplier up to {MOST_NOISE:g} reaches epsilon = {target}; raise the target or delta, "
                    "or run fewer rounds"
                )
            break
    low = high / 2
    # Downwards by what is reported: RDP may be far above it, by any factor when sampling is rare.
    while coarse(low) <= target:
        low, high = low / 2, low
        if low < LEAST_NOISE:
            return LEAST_NOISE if fine(LEAST_NOISE) <= target else _least(fine, target, LEAST_NOISE, high)
    high = _least(coarse, target, low, high)
    # The coarse answer is checked fine, and improved: fine is lower, by about what coarse discretisation adds.
    while fine(high) > target:
        low, high = high, high * (1 + _NARROW)
    below = high * (1 - 1e-3)
    return (
        high if below <= low or (fine(below) > target and high - below < _NARROW) else _least(fine, target, below, high)
    )


def _least(found: Callable[[float], float], target: float, low: float, high: float) -> float:
    """The upper end of a bracket of relative width `_NARROW`: ε(high) ≤ target always, ε(low) > target where it is."""
    if found(low) <= target:
        return low
    at_low, at_high = found(low), found(high)
    while high / low > 1 + _NARROW:
        guess = math.sqrt(low * high)
        if math.isfinite(at_low) and at_high > 0:
            # ε is nearly a power of σ: the straight line in the logarithms, kept off the ends.
            slope = math.log(at_low / at_high) / math.log(high / low)
            share = math.log(at_low / target) / slope / math.log(high / low) if slope > 0 else 0.5
            guess = low * (high / low) ** min(max(share + 0.02, 0.05), 0.95)
        value = found(guess)
        if value > target:
            low, at_low = guess, value
        else:
            high, at_high = guess, value
            # The root is just below: close the bracket from there.
            probe = high / (1 + 0.9 * _NARROW)
            if probe > low:
                below = found(probe)
                if below > target:
                    low, at_low = probe, below
                else:
                    high, at_high = probe, below
    return high


def rounds(
    make_event: Callable[[int], Event],
    relation: Relation,
    delta: float,
    target_epsilon: float,
    at_most: int = MOST_ROUNDS,
) -> int:
    """The largest number of rounds T ≤ `at_most` with ε(make_event(T)) ≤ `target_epsilon`; 0 where not even one fits.

    ε must not fall as T grows.
    """
    relation, delta = checked_relation(relation), checked_delta(delta)
    target = _checked_target(target_epsilon)

    def by_rdp(count: int) -> bool:
        return epsilon_by_rdp(multiset(make_event(count)), relation, delta) <= target

    def fits(count: int) -> bool:
        return epsilon_of(multiset(make_event(count)), relation, delta, loss.FINE) <= target

    if at_most < 1 or not fits(1):
        return 0
    low = 1
    while low < at_most and by_rdp(min(2 * low, at_most)):
        low = min(2 * low, at_most)
    high = low
    while low == high:
        if low >= at_most:
            return at_most
        high = min(2 * low, at_most)
        if fits(high):
            low = high
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _checked_target(target: float) -> float:
    if not isinstance(target, int | float) or isinstance(target, bool) or not 0 < target < math.inf:
        raise AccountingError(f"target_epsilon = {target!r}; it must be a finite number above 0")
    return float(target)
