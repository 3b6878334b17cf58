"""Allowance: how much of an asset may be spent, and who said so. A line of the ledger like any other, and signed like one.

What a policy's file says counts only as far as the ledger agrees: whoever can edit the file alone cannot raise a budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from .currency import Currency
from .field import is_count, is_real, need, need_name, need_time

Scope: TypeAlias = Literal["asset", "server", "run"]
Rule: TypeAlias = Literal["filter", "quota"]
_WORDS = {"asset": "of the asset's life", "server": "of one server", "run": "of one run"}


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest ε over one scope, and how it is kept.

    | rule   | valid when                                                                   |
    |--------|------------------------------------------------------------------------------|
    | filter | noise, rounds and whole runs may react to what was released                  |
    | quota  | every release is one event that was fixed in advance; stopping early is free |
    """

    scope: Scope
    epsilon: float
    rule: Rule

    def __post_init__(self) -> None:
        need(self.scope in get_args(Scope), "scope", self.scope, "one of " + ", ".join(get_args(Scope)))
        need(self.rule in get_args(Rule), "rule", self.rule, "one of " + ", ".join(get_args(Rule)))
        holds = isinstance(self.epsilon, int | float) and not isinstance(self.epsilon, bool) and self.epsilon > 0
        need(holds, "epsilon", self.epsilon, "a number above 0, or inf")


@dataclass(frozen=True, slots=True)
class Allowed:
    """How much may be spent from here on: of the asset, or, where `run` is a name, of that run alone.

    `by` says who decided; `replaces` is the number of the line that said so before. ε is at `delta`, in `currency`.
    """

    currency: Currency
    delta: float
    limits: tuple[Limit, ...]
    by: str
    time: int
    run: str = ""
    replaces: int | None = None

    def __post_init__(self) -> None:
        need(is_real(self.delta) and 0 < self.delta < 1, "delta", self.delta, "a number between 0 and 1")
        scopes = [each.scope for each in self.limits]
        need(bool(scopes) and scopes == sorted(set(scopes)), "limits", scopes, "one or more scopes, sorted, each once")
        need_name(self.by, "by")
        need_time(self.time)
        if self.run != "":
            need_name(self.run, "run")
        need(
            self.replaces is None or is_count(self.replaces), "replaces", self.replaces, "the number of a line, or null"
        )

    def limit(self, scope: Scope) -> Limit | None:
        """The limit over `scope`; None where there is none."""
        return next((each for each in self.limits if each.scope == scope), None)

    def same(self, other: Allowed) -> bool:
        """Whether both permit exactly the same."""
        return (self.currency, self.delta, self.limits) == (other.currency, other.delta, other.limits)


def raised(before: Allowed, after: Allowed) -> Iterator[str]:
    """In words, what `after` permits and `before` does not.

    A limit that is gone is one of infinity. Another currency promises something else, so it counts as more.
    """
    if after.currency != before.currency:
        yield f"budgets for {before.currency} become ones for {after.currency}"
    if after.delta > before.delta:
        yield f"δ {before.delta:g} → {after.delta:g}"
    for scope in get_args(Scope):
        old, new = before.limit(scope), after.limit(scope)
        if _epsilon(new) > _epsilon(old):
            yield f"ε {_WORDS[scope]} {_epsilon(old):g} → {_epsilon(new):g}"
        if old is not None and new is not None and (old.rule, new.rule) == ("filter", "quota"):
            yield f"ε {_WORDS[scope]} kept by a quota instead of a filter"


def _epsilon(limit: Limit | None) -> float:
    return math.inf if limit is None else limit.epsilon
