"""Spent: what an asset has cost so far, for its owner to look at; cheap enough to be asked for at any time.

`used` is the fraction of the life's budget, as the policy's filters count it: above 1 nothing more is permitted. `epsilon` is
the ε of all that was charged, as if it had been fixed in advance, by Rényi divergences: an upper bound, mostly a few per cent
above what the accountants of a report find.
"""

from __future__ import annotations

import math
from typing import Any

from ..privacy.accounting.accountant import epsilon_by_rdp
from ..privacy.accounting.multiset import multiset
from ..privacy.accounting.relation import AccountingError
from ..privacy.event import EventError
from ..privacy.ledger.account import Account
from .life import Life
from .policy import PolicyFrame

_KEPT = 15 / 16  # of δ for the events; the rest is for what the noise's samplers err by


def spent(policy: PolicyFrame, account: Account) -> dict[str, Any]:
    """JSON: how many charges and runs, the fraction of the budget, and ε beside its limit; `"inf"` where it has no bound."""
    records = account.records()
    try:
        used, epsilon = _used(policy, account), _epsilon(policy, account)
    except (AccountingError, EventError):  # what cannot be accounted is not private
        used = epsilon = math.inf
    found = {
        "charges": len(records),
        "runs": len({each.reserved.address.run for each in records}),
        "used": _number(used),
        "epsilon": _number(epsilon),
        "limit": _number(policy.epsilon),
        "delta": policy.delta,
    }
    foreign = len(account.currencies() - {policy.currency})
    # They do not add up with the policy's own; see `checks.cost_faults`, which then refuses everything.
    return {**found, "foreign_currencies": foreign} if foreign else found


def _used(policy: PolicyFrame, account: Account) -> float:
    records = account.records()
    return Life(policy, account, records[0].reserved.price.event).used if records else 0.0


def _epsilon(policy: PolicyFrame, account: Account) -> float:
    """Where the accounted law is (ε, δ')-private and the drawn one within η of it, that is (ε, δ' + (1 + e^ε)·η)-private."""
    if not account.events(policy.currency):
        return 0.0
    found = epsilon_by_rdp(multiset(account.event(policy.currency)), policy.relation, policy.delta * _KEPT)
    beside = (1 + math.exp(min(found, 700.0))) * account.delta_extra(policy.currency)
    return found if beside <= policy.delta * (1 - _KEPT) else math.inf


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"
