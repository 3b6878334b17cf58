"""The neighbouring relation of a claim, and the error of whoever cannot account under it.

| relation | neighbours differ by | sensitivity of a sum with ‖x‖₂ ≤ C |
|---|---|---|
| add-remove | one unit more or less | C |
| zero-out | one unit's contribution turned to zero (dp-accounting: REPLACE_SPECIAL) | C |
| replace-one | one unit's data exchanged for any other | 2C |
"""

from __future__ import annotations

from typing import get_args

from ..signal import Relation


class AccountingError(ValueError):
    """No sound ε can be stated for this event, relation or δ; says why, and what would help."""


RELATIONS: tuple[Relation, ...] = get_args(Relation)


def checked_relation(relation: str) -> Relation:
    """`relation` itself, or `AccountingError`."""
    for known in RELATIONS:
        if relation == known:
            return known
    raise AccountingError(f"relation = {relation!r} is unknown; use one of {', '.join(RELATIONS)}")


def checked_delta(delta: float) -> float:
    """δ in (0, 1), or `AccountingError`: at δ = 0 Gaussian noise has no finite ε, at δ = 1 nothing is claimed."""
    if not isinstance(delta, int | float) or isinstance(delta, bool) or not 0 < delta < 1:
        raise AccountingError(f"delta = {delta!r}; it must lie in (0, 1), for N units below 1/N, such as N^-1.1")
    return float(delta)


def checked_epsilon(epsilon: float, name: str = "epsilon") -> float:
    """A finite ε of at least 0, or `AccountingError`."""
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not 0 <= epsilon < float("inf"):
        raise AccountingError(f"{name} = {epsilon!r}; it must be a finite number of at least 0")
    return float(epsilon)


def norm_factor(relation: Relation) -> float:
    """How much larger than one unit's norm the difference of two neighbouring sums can be: 1, or 2 under replace-one."""
    return 2.0 if relation == "replace-one" else 1.0
