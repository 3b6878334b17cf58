"""Guard: an owner's policy at work for one asset. It decides, before any data is touched, and says what a round costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

from ..privacy.event import Event, NonPrivate
from ..privacy.ledger.account import Account
from ..privacy.ledger.entry import Price
from ..strategies.messages import Request
from .approvals import Approvals
from .checks import (
    cost_faults,
    mask_faults,
    protection_faults,
    round_faults,
    stage_faults,
    task_faults,
    timing_faults,
    work_faults,
)
from .offer import Offer, offer_of, realised_of
from .policy import PolicyFrame
from .refusal import Refusal, RefusedError, refused
from .worker import Plan


def _nothing() -> Set[str]:
    return frozenset()


def _unheard(request: Request) -> None:
    return


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands between requests and one asset.

    `installed`  version of the code of every permitted task, by name (`tasks.version.code_of`)
    `clock`      the local wall-clock time
    `under_way`  the runs that are being worked on now, this request's own included or not
    `permitted`  is told of each request that passes, before it is charged
    `server`     whose requests these are, as the ledger notes it
    """

    policy: PolicyFrame
    asset: str
    installed: Mapping[str, str]
    approvals: Approvals
    clock: Callable[[], datetime] = datetime.now
    under_way: Callable[[], Set[str]] = field(default=_nothing)
    permitted: Callable[[Request], None] = field(default=_unheard)
    server: str = ""

    def check(self, request: Request, plan: Plan, spent: Account) -> Price:
        """The price of one attempt, if the policy permits it beside what was `spent`; else raises `RefusedError`.

        The first fault decides. A run that a person has to approve is written down for that person.
        """
        timing = timing_faults(self.policy, request, self.clock(), self.under_way())
        for fault in chain(plan_faults(self.policy, self.installed, request, plan, spent), timing):
            raise refused(fault)
        offer = offer_of(self.policy, self.asset, request, plan, spent, self.server)
        for fault in cost_faults(offer, spent):
            raise refused(fault)
        if self.policy.approve_first:
            self.approvals.require(offer)
        self.permitted(request)
        return offer.due

    def realised(self, request: Request, plan: Plan, survivors: int) -> Event | None:
        """What so many survivors made of an attempt that was charged (see `offer.realised_of`)."""
        return realised_of(self.policy, plan, request.recipe, survivors)


@dataclass(frozen=True, slots=True)
class SeededGuard:
    """The guard of an agent whose every draw follows from a seed: what it permits is charged ε = ∞ (PRIVACY.md 10).

    What was charged before does not count, because nothing can be added to it; under a policy with a limit, an agent without
    a seed takes no further request for this asset.
    """

    guard: Guard

    def check(self, request: Request, plan: Plan, spent: Account) -> Price:
        """As `Guard.check`, beside nothing spent, at the price of no privacy."""
        price = self.guard.check(request, plan, Account())
        return replace(price, event=NonPrivate("every draw of this owner follows from a seed"), delta_extra=0.0)


def plan_faults(
    policy: PolicyFrame, installed: Mapping[str, str], request: Request, plan: Plan, spent: Account
) -> Iterator[Refusal]:
    """Everything about a request, but its cost and its hour, that the policy does not permit."""
    yield from task_faults(policy, request, installed)
    yield from protection_faults(policy, request, plan)
    yield from stage_faults(policy, plan, request.recipe)
    yield from mask_faults(policy, request, plan)
    yield from work_faults(policy, request, plan)
    yield from round_faults(policy, request, spent)


@dataclass(frozen=True, slots=True)
class Opinion:
    """All that a policy has to say about a request: every reason against it, and the offer where one can be stated."""

    refusals: tuple[Refusal, ...]
    offer: Offer | None


def opinion(
    policy: PolicyFrame,
    asset: str,
    installed: Mapping[str, str],
    request: Request,
    plan: Plan,
    spent: Account,
    server: str = "",
) -> Opinion:
    """What the guard of `asset` would say to `request` of `server` at a permitted hour, approval aside, with every reason."""
    faults = list(plan_faults(policy, installed, request, plan, spent))
    if any(fault.code in ("unit", "relation", "rounds") for fault in faults):
        # Of another unit or relation, or an unknown schedule, the policy's own budget has nothing to say.
        return Opinion(tuple(faults), None)
    try:
        offer = offer_of(policy, asset, request, plan, spent, server)
    except RefusedError as error:
        return Opinion((*faults, error.refusal), None)
    return Opinion((*faults, *cost_faults(offer, spent)), offer)
