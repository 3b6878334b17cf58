"""Figures: the numbers of a claim, derived from its event alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..claim import Claim
from ..event import Event
from ..signal import Relation
from .accountant import Account, account, epsilon
from .relation import checked_relation

HEADLINE_DELTA = 1e-5


@dataclass(frozen=True, slots=True)
class Figures:
    """A claim with its ε. `epsilon` is the upper end where only an interval is known.

    `headline` is ε at δ = 1e-5, beside the claim's own δ (PRIVACY.md 24).
    """

    claim: Claim
    delta: float
    epsilon: float
    epsilon_lower: float
    epsilon_unamplified: float
    headline: float
    accountant: str

    def to_json(self) -> dict[str, Any]:
        """The claim's row in `result.json`."""
        return {
            **self.claim.to_json(),
            "epsilon": self.epsilon,
            "epsilon_lower": self.epsilon_lower,
            "epsilon_upper": self.epsilon,
            "epsilon_unamplified": self.epsilon_unamplified,
            "delta": self.delta,
            "epsilon_at_1e-5": self.headline,
            "accountant": self.accountant,
        }


def figures(claim: Claim, delta: float) -> Figures:
    """The figures of `claim` at `delta`; raises `AccountingError` where no accountant applies."""
    found = _with_extra(claim.event, claim, delta)
    plain = found if claim.unamplified == claim.event else _with_extra(claim.unamplified, claim, delta)
    headline = found if delta == HEADLINE_DELTA else _with_extra(claim.event, claim, HEADLINE_DELTA)
    return Figures(claim, delta, found.epsilon, found.lower, plain.epsilon, headline.epsilon, found.accountant)


def _with_extra(event: Event, claim: Claim, delta: float) -> Account:
    return account_within(event, claim.relation, delta, claim.delta_extra)


def account_within(event: Event, relation: Relation, delta: float, extra: float) -> Account:
    """`account` at what is left of δ after approximations of total variation `extra` on both neighbours.

    If P, Q are within total variation τ of P', Q' and P' ≤ e^ε Q' + δ', then P ≤ e^ε Q + δ' + (1 + e^ε)·τ; so δ' is found
    with (1 + e^ε)·τ + δ' = δ, from below. ε = ∞ where τ leaves nothing of δ.
    """
    left = _left(event, relation, delta, extra)
    if left > 0:
        return account(event, relation, left)
    return Account(math.inf, 0.0, math.inf, math.inf, "none", 0.0, delta, checked_relation(relation))


def epsilon_within(event: Event, relation: Relation, delta: float, extra: float) -> float:
    """`account_within(…).epsilon` alone, which is much cheaper."""
    left = _left(event, relation, delta, extra)
    return epsilon(event, relation, left) if left > 0 else math.inf


def _left(event: Event, relation: Relation, delta: float, extra: float) -> float:
    """δ' of `account_within`; 0 where τ leaves nothing of δ."""
    guess = epsilon(event, relation, delta)
    if extra == 0 or math.isinf(guess):
        return delta
    for _ in range(16):
        ceiling = guess * (1 + 1e-6) + 1e-6
        left = delta - (1 + math.exp(min(ceiling, 700.0))) * extra
        if left <= 0:
            break
        guess = epsilon(event, relation, left)
        if guess <= ceiling:
            return left
    return 0.0
