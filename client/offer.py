"""Offer: what one run asks of one asset, and what all of it costs, derived by the owner from the request alone.

The owner believes no number that the server could have chosen in its own favour:

- The event is that of the owner's own observer, at the smallest cohort that the owner permits. Shares of noise have the
  variance that the request makes them, of which only so many are counted.
- Noise that is correlated over rounds is one event of the whole schedule, charged with the first request, and the other rounds
  are free: of the rounds that the schedule has this owner in, as far apart as it says, which `checks.round_faults` sees to. A
  second attempt of a round is one of them: whoever adds such noise, and is trusted with it, releases one attempt a round.
- No draw of owners amplifies. The server made the draw; and an owner who is charged when it is asked, and only then, pays for
  a round that it knows it was drawn for. Who counts on a draw has to pay for every round, asked or not.

Budgets of two kinds, because two things may react to what was released:

| budget | holds what may vary                                | by                                                       |
|--------|----------------------------------------------------|----------------------------------------------------------|
| run    | nothing: every round is the event of the first one | the accountant's ε of so many releases (`spend.Quota`)   |
| life   | events, number and order of runs, all adaptively   | Rényi filters (`life`)                                   |
| server | the same, of what was charged for one server        | the same filters                                         |
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Any

from ..config import ConfigError, chosen
from ..privacy.accounting.accountant import epsilon, epsilon_by_rdp
from ..privacy.accounting.figures import account_within
from ..privacy.accounting.multiset import multiset
from ..privacy.accounting.relation import AccountingError
from ..privacy.claim import ClaimError, event_of
from ..privacy.event import Event, EventError, NonPrivate, Nothing, to_json
from ..privacy.ledger.account import Account
from ..privacy.ledger.entry import Price
from ..privacy.participation import PARTICIPATIONS, Participation, ParticipationError, repeated
from ..privacy.schedule import Schedule
from ..strategies.essence import asked
from ..strategies.messages import Recipe, Request
from .life import Life
from .policy import PolicyFrame
from .refusal import RefusedError
from .worker import Plan


@dataclass(frozen=True, slots=True)
class Offer:
    """What a run asks of an asset, its price a round, and its cost beside what was spent.

    `rounds`   how many times `price` the cost is: the rounds that the schedule may ask this owner for, or those charged so far
               and one more, where that is more (attempts that were tried again); 1 where `price` is that of the schedule
    `charged`  how many of these were charged already
    `upfront`  whether `price` is that of the whole schedule
    `used`, `after`  the fraction of the life's budget that was charged so far, and with the rest of the run
    """

    run: str
    asset: str
    recipe: Recipe
    price: Price
    rounds: int
    charged: int
    delta: float
    run_limit: float
    fits_run: bool
    life_limit: float
    fits_life: bool
    used: float
    after: float
    server_limit: float = math.inf
    fits_server: bool = True
    upfront: bool = False

    @property
    def due(self) -> Price:
        """What this attempt is charged."""
        if self.upfront and self.charged:
            return replace(self.price, event=Nothing(), delta_extra=0.0)
        return self.price

    @property
    def epsilon(self) -> float:
        """ε of `rounds` releases. For people: it may take seconds, which a server could ask for again and again.

        Raises `AccountingError` where no accountant applies.
        """
        event, extra = repeated(self.price.event, self.rounds), self.rounds * self.price.delta_extra
        return account_within(event, self.price.currency.relation, self.delta, extra).epsilon

    def to_json(self) -> dict[str, Any]:
        """The offer as the owner's administrator and programs see it."""
        return {
            "run": self.run,
            "asset": self.asset,
            "task": dict(self.recipe.terms.task),
            "code": self.recipe.terms.code,
            "asks": asked(self.recipe),
            "claim": {
                "unit": self.price.currency.unit,
                "relation": self.price.currency.relation,
                "observer": self.price.currency.observer.who,
                "colluders": self.price.currency.observer.colluders,
                "adversary": self.price.adversary,
                "basis": self.price.basis,
                "event": to_json(self.price.event),
                "releases": self.rounds,
                "charged": self.charged,
                "epsilon": self.epsilon,
                "delta": self.delta,
                "limit": self.run_limit,
            },
            "life": {"used": self.used, "after": self.after, "limit": self.life_limit},
        }

    def digest(self) -> str:
        """SHA-256 of what an approval speaks of: asset, recipe and price of a round; not of what was spent meanwhile."""
        what = {"asset": self.asset, "asks": asked(self.recipe), "event": to_json(self.price.event)}
        return hashlib.sha256(json.dumps(what, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def participation_of(recipe: Recipe) -> Participation:
    """Who the run says takes part; raises `RefusedError` for what is no such row or cannot be drawn."""
    try:
        found: Participation = chosen(recipe.terms.participation, "use", PARTICIPATIONS, "participation")
        found.check(recipe.terms.population)
    except (ConfigError, ParticipationError) as error:
        raise RefusedError(str(error), "rounds", "ask with a participation that this version knows") from error
    return found


def schedule_of(plan: Plan, recipe: Recipe) -> Schedule:
    """The schedule that a recipe belongs to, as its owner traces it; raises `RefusedError`."""
    return Schedule(plan.pipeline, participation_of(recipe), recipe.terms.population, recipe.terms.rounds)


def price_of(policy: PolicyFrame, plan: Plan, recipe: Recipe) -> Price:
    """What one attempt of one round costs, at the owner's floor, or the whole schedule where its rounds are one event.

    Raises `RefusedError` where no sound claim exists.
    """
    final = plan.pipeline.final
    currency = policy.currency
    schedule = schedule_of(plan, recipe)
    rule = schedule.rule(currency.relation)
    if rule is not None and not rule.allowed:
        raise RefusedError(f"no claim for {currency.unit}, {currency.relation}: {rule.why}", "claim")
    floor = replace(final, least=min(final.least, policy.smallest_cohort))
    try:
        if schedule.upfront:
            event = schedule.round_events(currency.observer, currency.relation)[1]
        else:
            event = event_of(floor, currency.observer)
    except (ClaimError, EventError) as error:
        raise RefusedError(f"no claim: {error}", "claim") from error
    shared = bool(final.noise) and final.noise[0].place == "shared"
    return Price(
        currency,
        event,
        min(1.0, schedule.delta_extra() if schedule.upfront else final.delta_extra),
        adversary=(
            "honest"
            if any(noise.place == "server" for noise in final.noise)
            else final.masked.adversary
            if final.masked
            else "semi-honest"
        ),
        basis="computational" if shared and final.masked else "statistical",
    )


def realised_of(policy: PolicyFrame, plan: Plan, recipe: Recipe, survivors: int) -> Event | None:
    """What so many survivors made of an attempt, for the owner's own observer; None where they do not matter or no claim is.

    No guarantee: the charge stays at the floor (PRIVACY.md 14).
    """
    try:
        return schedule_of(plan, recipe).realised(policy.currency.observer, survivors)
    except (ClaimError, EventError):
        return None


def offer_of(
    policy: PolicyFrame, asset: str, request: Request, plan: Plan, account: Account, server: str = ""
) -> Offer:
    """The offer of `server` that a request is part of; raises `RefusedError` where no ε can be stated, or none but infinity."""
    price = price_of(policy, plan, request.recipe)
    if isinstance(price.event, NonPrivate) and math.isfinite(policy.epsilon):
        observer = price.currency.observer
        raise RefusedError(
            f"nothing would be private from the {observer}: {price.event.reason}", "claim",
            "add noise that this observer cannot see behind, own-gaussian for one",
        )  # fmt: skip
    upfront, before = schedule_of(plan, request.recipe).upfront, account.events(price.currency, request.run)
    if upfront:
        charged, rounds = min(1, before.get(price.event, 0)), 1
    else:
        charged = sum(before.values())
        rounds = max(participation_of(request.recipe).times(request.recipe.terms.rounds), charged + 1)
    try:
        life, rest = Life(policy, account, price.event), rounds - charged
        used, fits_life = life.used, life.affords(price.event, rest, price.delta_extra)
        fits_server = policy.epsilon_server is None or Life(policy, account, price.event, server).affords(
            price.event, rest, price.delta_extra
        )
        life.charge(price.event, rest)
        # The run's own ε can take an accountant long; where the life refuses, nobody waits for it.
        fits_run = fits_life and _fits(price, rounds, policy.delta, policy.run_limit)
    except (AccountingError, EventError) as error:
        raise RefusedError(f"no ε can be stated for it: {error}", "claim") from error
    return Offer(
        request.run, asset, request.recipe, price, rounds, charged, policy.delta, policy.run_limit, fits_run,
        policy.epsilon, fits_life, used, life.used,
        math.inf if policy.epsilon_server is None else policy.epsilon_server, fits_server, upfront,
    )  # fmt: skip


def _fits(price: Price, count: int, delta: float, limit: float) -> bool:
    """Whether `count` releases are (limit, δ)-private: by RDP's cheap bound where that settles it.

    What samplers err by, in total variation η, takes (1 + e^limit)·η of δ (see `figures.account_within`).
    """
    if math.isinf(limit):
        return True
    left = delta - (1 + math.exp(min(limit, 700.0))) * count * price.delta_extra
    if left <= 0:
        return False
    event, relation = repeated(price.event, count), price.currency.relation
    return epsilon_by_rdp(multiset(event), relation, left) <= limit or epsilon(event, relation, left) <= limit
