"""Spent: what an asset has cost so far, for its owner to look at; cheap enough to be asked for at any time.

`used` is the fraction of the life's budget, as the policy's filters count it: above 1 nothing more is permitted. `epsilon` is
the ε of all that was charged, as if it had been fixed in advance, by Rényi divergences: an upper bound, mostly a few per cent
above what the accountants of a report find.
"""

from __future__ import annotations

import math
from typing import Any

from ..privacy.accounting.relation import AccountingError
from ..privacy.event import EventError
from ..privacy.ledger.account import Account
from ..privacy.statement import spent as epsilon_of
from .life import Life
from .policy import PolicyFrame


def spent(policy: PolicyFrame, account: Account) -> dict[str, Any]:
    """JSON: how many charges and runs, the fraction of the budget, and ε beside its limit; `"inf"` where it has no bound."""
    records = account.records()
    try:
        used, epsilon = _used(policy, account), epsilon_of(account, policy.currency, policy.delta)
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


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"
