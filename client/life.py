"""Life: what one asset has cost since its ledger began, and what more it may cost, whatever servers make of its outputs.

Over a life everything may react to what was released: noise, rounds, whole runs. So budgets are Rényi filters (Feldman and
Zrnic 2021, arXiv 2008.11193, Theorem 4.3), each at one order that no output has a say in: the order that suits the first
event that was ever charged, which was chosen before anything was released; one that suits Gaussian noise; one that suits
sampled Gaussian noise, which an order made for the former would overcharge by far.

One filter that still holds is enough. Filter k, with its share wₖ of δ, makes the releases up to where it is exceeded
(ε, wₖδ)-private. What was charged is known from the releases alone, so all transcripts fall into disjoint sets Sₖ in which
filter k is the first that holds to the end; on Sₖ nothing tells the true releases from those that filter k would have
stopped. Summed over k: P(S) ≤ Σ e^ε P'(Sₖ) + wₖδ ≤ e^ε P'(S) + δ·Σwₖ.

The last share of δ is for the total variation η between the noise that is drawn and the noise that is accounted:
(1 + e^ε)·Ση within it (see `figures.account_within`).
"""

from __future__ import annotations

import math

from ..privacy.accounting.spend import Filter
from ..privacy.event import Event, Gaussian, Poisson
from ..privacy.ledger.account import Account
from ..privacy.participation import repeated
from .policy import PolicyFrame

_FIRST, _OTHERS, _VARIATION = 13 / 16, 1 / 16, 1 / 16
_USUAL: tuple[Event, ...] = (Gaussian(10.0), Poisson(0.01, Gaussian(1.0)))


class Life:
    """The life of an asset under a policy. `event` stands for the first one where nothing was charged yet.

    With a `server`, the part of it that was charged for that server, within the policy's ε for one: the same filters at the
    same orders, so no output of any server has a say in them.

    Methods raise `AccountingError` where an event cannot be accounted.
    """

    def __init__(self, policy: PolicyFrame, account: Account, event: Event, server: str | None = None) -> None:
        charges = account.records()
        first = charges[0].reserved.price.event if charges else event
        shares = ((first, _FIRST), *((usual, _OTHERS) for usual in _USUAL))
        self.limit = policy.epsilon if server is None or policy.epsilon_server is None else policy.epsilon_server
        self._filters = [
            Filter(policy.relation, policy.delta * share, self.limit, typical)
            for typical, share in shares
            if math.isfinite(self.limit)  # without a limit there is nothing to count
        ]
        self._variation = account.delta_extra(policy.currency, server=server)
        self._delta = policy.delta
        for each, count in account.events(policy.currency, server=server).items():
            self._take(repeated(each, count))

    def affords(self, event: Event, count: int, variation: float) -> bool:
        """Whether `count` more of `event` fit, each of total variation `variation`."""
        if math.isinf(self.limit):
            return True
        total = self._variation + count * variation
        negligible = total == 0 or self.limit <= largest_limit(self._delta, total)
        return negligible and any(each.affords(repeated(event, count)) for each in self._filters)

    def charge(self, event: Event, count: int) -> None:
        """Count `count` more of `event`, whether or not they fit."""
        self._take(repeated(event, count))

    @property
    def used(self) -> float:
        """What was counted, as a fraction of what may be: above 1 nothing more fits. 0 without a limit.

        Fractions of the filters add up; the ε that an order proves for little is far above what that little cost.
        """
        return min((each.used for each in self._filters), default=0.0)

    def _take(self, event: Event) -> None:
        for each in self._filters:
            each.charge(event)


def largest_limit(delta: float, variation: float) -> float:
    """The largest ε of a life beside noise that errs by `variation` in all: (1 + e^ε)·variation within its share of δ.

    A filter's guarantee is at its own ε however little was used, because what comes next may depend on what came out; so the
    factor is e^ε of the limit, not of what was spent. Below 0 where no limit is small enough.
    """
    if variation == 0:
        return math.inf
    room = delta * _VARIATION / variation - 1
    return math.log(room) if room > 0 else -math.inf
