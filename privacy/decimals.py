"""Decimals: laws computed in 60-digit decimal arithmetic, as alias tables."""

from __future__ import annotations

from decimal import Context, Decimal

from .alias import PRECISION, Alias, alias

DIGITS = Context(prec=60)
NEGLIGIBLE = Decimal("1e-45")  # weight relative to the mode where a table ends; what lies beyond is below 2⁻¹²⁸


def symmetric(half: list[Decimal]) -> Alias:
    """Table of the law with P[±i] ∝ half[i]."""
    return two_sided(half[1:], half)


def two_sided(left: list[Decimal], right: list[Decimal]) -> Alias:
    """Table of the law with P[i] ∝ right[i] and P[−1 − i] ∝ left[i]; what rounding down leaves over goes to 0."""
    scale = Decimal(1 << PRECISION) / (sum(left) + sum(right))
    below, above = ([int(weight * scale) for weight in side] for side in (left, right[1:]))
    rest = (1 << PRECISION) - sum(below) - sum(above)
    return alias([*reversed(below), rest, *above], -len(below))
