"""What has been spent, and what may still be.

| class | valid when | by |
|---|---|---|
| `Filter` | noise, rate, stopping and number of rounds may depend on outputs | a Rényi filter at one order fixed before |
| `Quota` | every release is one event fixed in advance; stopping early is free | the largest count whose ε fits |
| `Spend` | the releases were fixed in advance | the accountant, cached; it reports |

The filter is that of Feldman and Zrnic 2021 (arXiv 2008.11193, Theorem 4.3) and Lécuyer 2021 (arXiv 2103.01379): at
one order, divergences add up under full adaptivity. A minimum over orders taken afterwards would not be covered.
`Filter` and `Quota` are budgets for a ledger: `charge(event)`, `affords(event)`.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ..event import Event, Repeated
from ..signal import Relation
from . import calibrate, loss, moments, renyi
from . import leaves as leaf_table
from .accountant import epsilon_of
from .multiset import counts, merged, multiset
from .pair import Array
from .relation import AccountingError, checked_delta, checked_relation


class Spend:
    """An incremental accountant: the multiset of what was charged, and its reported ε."""

    def __init__(self, relation: Relation, delta: float) -> None:
        self.relation = checked_relation(relation)
        self.delta = checked_delta(delta)
        self._counts: dict[Event, int] = {}

    def charge(self, event: Event) -> None:
        """Counts `event` as released; raises `AccountingError`, and counts nothing, where it cannot be accounted."""
        for leaf in counts(event):
            leaf_table.refuse_unknown(leaf, self.relation)
        self._counts = self._with(event)

    def epsilon(self) -> float:
        """ε of everything charged."""
        return epsilon_of(merged(self._counts), self.relation, self.delta, loss.FINE)

    def epsilon_if(self, event: Event) -> float:
        """What `epsilon` would be after one more `event`."""
        return epsilon_of(merged(self._with(event)), self.relation, self.delta, loss.FINE)

    def affords(self, event: Event, budget: float) -> bool:
        """Whether ε stays within `budget` after one more `event`: by RDP's cheap upper bound where that settles it."""
        if budget == math.inf:
            return True
        total = merged(self._with(event))
        for leaf, _ in total.leaves:
            leaf_table.refuse_unknown(leaf, self.relation)
        if renyi.epsilon(leaf_table.total_rdp(total, self.relation), self.delta) <= budget:
            return True
        return epsilon_of(total, self.relation, self.delta, loss.FINE) <= budget

    def _with(self, event: Event) -> dict[Event, int]:
        found = dict(self._counts)
        for leaf, count in counts(event).items():
            found[leaf] = found.get(leaf, 0) + count
        return found


class Filter:
    """A Rényi filter: never lets the divergence at one order, fixed here, exceed what the budget allows at it.

    The order is the one that suits `typical` (else a Gaussian) at this budget; it must not be chosen from outputs.
    """

    def __init__(self, relation: Relation, delta: float, epsilon: float, typical: Event | None = None) -> None:
        self.relation = checked_relation(relation)
        self.delta = checked_delta(delta)
        self.budget = _checked_budget(epsilon)
        self._index, self._allowed = _fixed_order(self.relation, self.delta, self.budget, typical)
        self._spent = 0.0

    @property
    def order(self) -> float:
        """The order of the filter."""
        return float(renyi.ORDERS[self._index])

    def affords(self, event: Event) -> bool:
        """Whether one more `event` passes; `AccountingError` where it cannot be accounted."""
        return self.budget == math.inf or self._spent + self._cost(event) <= self._allowed

    def charge(self, event: Event) -> None:
        """Counts `event` as released, whether or not it was affordable: what happened has happened."""
        if self.budget < math.inf:
            self._spent += self._cost(event)

    @property
    def used(self) -> float:
        """What was charged, as a fraction of what the filter allows; above 1 where more was charged than it affords."""
        if self._spent == 0:
            return 0.0
        return self._spent / self._allowed if self._allowed > 0 else math.inf

    def epsilon(self) -> float:
        """The ε that the filter's order proves for what was charged (Proposition 12 of `renyi`)."""
        return renyi.epsilon_at(self._index, self._spent, self.delta) if self._spent > 0 else 0.0

    def _cost(self, event: Event) -> float:
        return float(_vector(event, self.relation)[self._index])


class Quota:
    """A budget for one event fixed in advance: so many releases of it and not one more, and of no other."""

    def __init__(self, event: Event, relation: Relation, delta: float, epsilon: float) -> None:
        self.event = event
        self.budget = _checked_budget(epsilon)
        self.charged = 0
        self.limit: int | None = None
        if self.budget < math.inf:
            self.limit = calibrate.rounds(lambda count: Repeated(event, count), relation, delta, self.budget)
        self._same = multiset(event)

    def affords(self, event: Event) -> bool:
        """Whether one more release fits; `False` for any other event than the one fixed."""
        if self.limit is None:
            return True
        return self._is_fixed(event) and self.charged < self.limit

    def charge(self, event: Event) -> None:
        """Counts one release; `AccountingError` for an event that was not fixed in advance."""
        if self.limit is not None and not self._is_fixed(event):
            raise AccountingError(
                f"a quota of {type(self.event).__name__} was charged a {type(event).__name__}; what may vary needs a Filter"
            )
        self.charged += 1

    def _is_fixed(self, event: Event) -> bool:
        return event == self.event or multiset(event) == self._same


@lru_cache(maxsize=512)
def _vector(event: Event, relation: Relation) -> Array:
    leaves = multiset(event)
    for leaf, _ in leaves.leaves:
        leaf_table.refuse_unknown(leaf, relation)
    return leaf_table.total_rdp(leaves, relation)


def _fixed_order(relation: Relation, delta: float, budget: float, typical: Event | None) -> tuple[int, float]:
    """(index of the order, RDP allowed at it): the order at which most repetitions of `typical` fit."""
    unit = moments.concentrated(1.0) if typical is None else _vector(typical, relation)
    allowed = renyi.allowed(budget, delta)
    fitting = [room / cost if cost > 0 else math.inf for room, cost in zip(allowed, unit, strict=True)]
    index = max(range(len(fitting)), key=lambda place: fitting[place])
    return index, float(allowed[index])


def _checked_budget(epsilon: float) -> float:
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not epsilon > 0:
        raise AccountingError(f"epsilon = {epsilon!r}; a budget is a number above 0, or inf for a baseline without one")
    return float(epsilon)
