"""Guard: whatever a malicious coordinator asks is refused with its type, before any data is touched and anything charged."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tacit.client.approvals import Approvals
from tacit.client.guard import Guard, SeededGuard, opinion
from tacit.client.policy import PolicyFrame
from tacit.client.refusal import RefusedError
from tacit.client.replies import Replies
from tacit.client.session import Session
from tacit.client.worker import Worker, agreed
from tacit.config import framed
from tacit.privacy.entropy import SystemEntropy
from tacit.privacy.event import BandedMatrix, Event, Gaussian, NonPrivate, Nothing
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.store import Store, create
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Request, reply_from
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.metrics import Classification
from tacit.tasks.trainable import Trainable
from torch import nn

DIM = 15
CODE = "tacit 0.1.0"
CLIP = {"stage": "clip", "norm": 0.5}
OWN = {"stage": "own-gaussian", "noise_multiplier": 8.0}
TERMS = Terms({"use": "digits", "model": "softmax"}, CODE, "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, (CLIP, OWN), 8, 10, TERMS)
REQUEST = Request("run", 1, 0, 4, RECIPE, torch.zeros(DIM))
POLICY: dict[str, Any] = {
    "tasks": [{"use": "digits", "options": {"model": "softmax"}}, {"use": "topics"}],
    "unit": "owner", "relation": "zero-out", "colluders": 1, "smallest_cohort": 5, "epsilon": 6.0, "epsilon_run": 3.0,
    "delta": 1e-5, "clip": 1.0, "noise_multiplier": 2.0, "stages": ["clip", "own-gaussian"],
    "work": {"numbers": 100, "epochs": 2, "steps": 10, "rounds": 50, "attempts": 2}, "hours": ["Mon-Fri 09:00-17:00"],
}  # fmt: skip
NOON = datetime(2024, 1, 1, 12)


class Untouchable(Examples):
    """Data that fails whoever looks at it."""

    def __init__(self) -> None:
        return

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the data was touched: {name}")

    def __len__(self) -> int:
        raise AssertionError("the data was counted")


def learner() -> Learner:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    return Learner(module, cross_entropy, Trainable(module), correct=Classification().correct)


LEARNER = learner()


def policy(**changes: Any) -> PolicyFrame:
    return framed(PolicyFrame, {**POLICY, **changes})


@dataclass
class Site:
    """An owner with its policy, its ledger and its once-only session, and data that nobody may touch."""

    folder: Path
    frame: PolicyFrame = field(default_factory=policy)
    moment: datetime = NOON
    under_way: set[str] = field(default_factory=set)
    examples: Examples = field(default_factory=Untouchable)

    def __post_init__(self) -> None:
        create(self.folder / "ward3.sqlite", "ward3")
        self.store = Store(self.folder / "ward3.sqlite", "ward3")
        self.approvals = Approvals(self.folder / "pending")
        guard = Guard(
            self.frame,
            "ward3",
            {"digits": CODE},
            self.approvals,
            lambda: self.moment,
            lambda: frozenset(self.under_way),
        )
        worker = Worker(4, LEARNER, self.examples, SystemEntropy())
        self.session = Session(lambda request: worker, guard, self.store, Replies(self.folder / "replies"), 9)

    def ask(self, request: Request) -> tuple[str, str, str]:
        """Status, code and reason of the reply to a request that came over the wire."""
        reply = reply_from(self.session.handle(request.to_bytes()))
        return reply.status, reply.code, reply.reason

    @property
    def charges(self) -> int:
        return len(self.store.spent().records())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def terms(**changes: Any) -> Request:
    return replace(REQUEST, recipe=replace(RECIPE, terms=replace(TERMS, **changes)))


def recipe(**changes: Any) -> Request:
    return replace(REQUEST, recipe=replace(RECIPE, **changes))


def line(*rows: dict[str, Any]) -> Request:
    return recipe(pipeline=rows)


MEASURED = (CLIP, {"stage": "measure"}, OWN)
HOSTILE: dict[str, tuple[Request, str, str]] = {
    "no clip": (line(OWN), "recipe", "put a clip before it"),
    "nothing at all": (line(), "stages", "clip is not there"),
    "no noise": (line(CLIP), "stages", "own-gaussian is not there"),
    "tiny noise": (line(CLIP, {**OWN, "noise_multiplier": 0.01}), "noise", "at least 2 times"),
    "noise of zero": (line(CLIP, {**OWN, "noise_multiplier": 0}), "noise", "no noise is added"),
    "measuring, which nobody permitted": (line(*MEASURED), "measure", "the owner sets measure = true"),
    "noise by the server instead": (
        line(CLIP, {"stage": "central-gaussian", "noise_multiplier": 8.0}), "stages", "own-gaussian is not there",
    ),
    "a larger norm": (line({**CLIP, "norm": 1.5}, OWN), "clip", "at most 1 is permitted"),
    "reordered": (line(OWN, CLIP), "recipe", "clip"),
    "an unknown stage": (line(CLIP, OWN, {"stage": "exfiltrate"}), "recipe", "unknown"),
    "an unlisted task": (terms(task={"use": "breast-cancer"}), "task", "not permitted; permitted are: 'digits', 'topics'"),
    "other options of a listed task": (terms(task={"use": "digits", "model": "mlp"}), "task", "of 'digits' these are"),
    "one option less": (terms(task={"use": "digits"}), "task", "of 'digits' these are"),
    "a name to import": (terms(task={"use": "os:system"}), "task", "not permitted"),
    "another version": (terms(code="tacit 0.0.9"), "code", "here is 'tacit 0.1.0'"),
    "another relation": (terms(relation="replace-one"), "relation", "budgets for 'zero-out'"),
    "a smaller cohort": (recipe(least=4), "cohort", "at least 5"),
    "protects examples only": (
        replace(recipe(solver={"use": "clipped-gradient", "norm": 0.5, "denominator": 5.0}, pipeline=(CLIP, OWN))),
        "unit", "this policy protects owners",
    ),
    "a model of another size": (replace(REQUEST, weights=torch.zeros(DIM + 1)), "model", "has 15 numbers"),
    "more epochs": (recipe(solver={"use": "sgd", "epochs": 3}), "work", "3 epochs a round; at most 2"),
    "more steps": (recipe(solver={"use": "adam", "steps": 11}), "work", "11 steps a round; at most 10"),
    "more rounds": (terms(rounds=51), "rounds", "at most 50"),
    "a round beyond the run": (replace(REQUEST, round=21), "address", "round 21 of a run of 20"),
    "round nought": (replace(REQUEST, round=0), "address", "round 0"),
    "more attempts": (replace(REQUEST, attempt=2), "rounds", "at most 2"),
    "an unknown participation": (terms(participation={"use": "chosen-few"}), "rounds", "unknown"),
    "an impossible participation": (terms(participation={"use": "fixed", "cohort": 11}), "rounds", "11 of 10"),
    "too many rounds for the budget": (terms(rounds=50), "budget-run", "which is what one run may cost"),
    "another owner's request": (replace(REQUEST, owner=5), "address", "this is owner 4"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_malicious_coordinator_gets_a_typed_refusal_and_nothing_else(what: str, site: Site) -> None:
    asked, code, words = HOSTILE[what]
    status, found, reason = site.ask(asked)
    assert (status, found) == ("refused", code)
    assert words in reason
    assert site.charges == 0


def test_what_is_permitted_does_reach_the_data_and_was_charged_before(site: Site) -> None:
    with pytest.raises(AssertionError, match="the data was touched"):
        site.ask(REQUEST)
    (charge,) = site.store.spent().records()
    assert charge.reserved.price.currency == site.frame.currency
    assert isinstance(charge.reserved.price.event, Gaussian)
    assert charge.reserved.price.event.noise_multiplier == pytest.approx(8.0, rel=1e-6)


def test_a_permitted_contribution_leaves(tmp_path: Path) -> None:
    data = Examples(torch.randn(5, 4), torch.arange(5) % 3)
    made = Site(tmp_path, examples=data)
    assert made.ask(REQUEST) == ("ok", "", "")
    assert made.ask(replace(REQUEST, round=2)) == ("ok", "", "")


# --- the clock, and what else is going on ---


@pytest.mark.parametrize("moment", [datetime(2024, 1, 1, 8, 59), datetime(2024, 1, 1, 17), datetime(2024, 1, 6, 12)])
def test_outside_hours_is_refused(site: Site, moment: datetime) -> None:
    site.moment = moment
    status, code, reason = site.ask(REQUEST)
    assert (status, code, site.charges) == ("refused", "hours", 0)
    assert "Mon-Fri 09:00-17:00" in reason


def test_one_run_at_a_time(tmp_path: Path) -> None:
    site = Site(tmp_path, policy(concurrency=1), under_way={"another"})
    assert site.ask(REQUEST)[:2] == ("refused", "busy")
    site.under_way = {"run"}  # its own
    with pytest.raises(AssertionError, match="touched"):
        site.ask(REQUEST)


# --- budgets ---


def charged(site: Site, count: int, price: Price, run: str = "run", first: int = 1) -> None:
    for number in range(first, first + count):
        site.store.reserve(Address(run, number, 0), "0" * 64, lambda account: price)


def price(site: Site, noise: float = 8.0, **changes: Any) -> Price:
    return replace(Price(site.frame.currency, Gaussian(noise)), **changes)


def test_a_life_that_is_used_up_by_other_runs_is_refused(site: Site) -> None:
    charged(site, 120, price(site), "earlier")
    status, code, reason = site.ask(REQUEST)
    assert (status, code) == ("refused", "budget-life")
    assert "so far" in reason
    assert site.charges == 120


def test_one_server_s_share_is_used_up_while_another_s_is_not(tmp_path: Path) -> None:
    """Life, run and server are charged by one line or by none: what one of the three refuses, no budget has lost."""
    made = Site(tmp_path, policy(epsilon_server=3.5))
    charged(made, 40, price(made), "earlier")
    status, code, reason = made.ask(REQUEST)
    assert (status, code) == ("refused", "budget-server")
    assert "ε = 3.5, which is what one server may cost" in reason
    assert made.charges == 40
    own = agreed(REQUEST, LEARNER)
    other = Guard(made.frame, "ward3", {"digits": CODE}, made.approvals, lambda: NOON, server="other")
    due = other.check(REQUEST, own, made.store.spent())
    made.store.server = "other"
    made.store.reserve(Address("run", 1, 0), "0" * 64, lambda account: due)
    account, currency = made.store.spent(), made.frame.currency
    sums = [account.events(currency), account.events(currency, "run"), account.events(currency, server="other")]
    assert [sum(each.values()) for each in sums] == [41, 1, 1]


def test_a_run_may_not_cost_more_by_attempts_than_by_rounds(tmp_path: Path) -> None:
    made = Site(tmp_path, policy(epsilon_run=2.5))
    own = agreed(REQUEST, LEARNER)
    guard = Guard(made.frame, "ward3", {"digits": CODE}, made.approvals, lambda: NOON)
    one = guard.check(REQUEST, own, made.store.spent())
    for number in range(1, 21):
        for attempt in range(2):
            asked = replace(REQUEST, round=number, attempt=attempt)
            if len(made.store.spent().records()) == 23:
                with pytest.raises(RefusedError, match="24 rounds cost") as caught:
                    guard.check(asked, own, made.store.spent())
                assert caught.value.refusal.code == "budget-run"
                return
            assert guard.check(asked, own, made.store.spent()) == one
            made.store.reserve(Address("run", number, attempt), "0" * 64, lambda account: one)
    pytest.fail("40 releases were permitted where 20 were planned and 24 cost too much")


def test_a_round_that_costs_something_else_than_the_first_is_refused(site: Site) -> None:
    site.store.reserve(Address("run", 1, 0), "0" * 64, lambda account: price(site, 8.5))
    assert site.ask(replace(REQUEST, round=2))[:2] == ("refused", "schedule")


@pytest.mark.parametrize(
    "other", [{"unit": "example"}, {"relation": "add-remove"}]
)  # the observer and its colluders count too, through equality of currencies
def test_charges_in_another_currency_never_add_up(site: Site, other: dict[str, Any]) -> None:
    foreign = replace(site.frame.currency, **other)
    charged(site, 1, price(site, currency=foreign), "earlier")
    assert site.ask(REQUEST)[:2] == ("refused", "ledger")


def test_a_budget_at_which_even_the_samplers_error_shows_is_refused_in_those_words() -> None:
    asked = REQUEST
    frame = policy(epsilon=60.0, epsilon_run=3.0)
    found = opinion(frame, "ward3", {"digits": CODE}, asked, agreed(asked, LEARNER), Account())
    (refusal,) = found.refusals
    assert refusal.code == "budget-life"
    assert "samplers err by" in refusal.reason


def test_open_reservations_count(site: Site) -> None:
    """The owner crashed again and again after it had reserved: nobody knows whether the data was touched."""
    charged(site, 120, price(site), "earlier")
    assert all(record.reply is None for record in site.store.spent().records())
    assert site.ask(REQUEST)[:2] == ("refused", "budget-life")


# --- participation is the owner's to enforce ---


def test_an_owner_is_in_no_more_rounds_than_its_schedule_says_and_no_sooner(site: Site) -> None:
    cyclic = terms(participation={"use": "cyclic", "cohort": 2, "separation": 5})
    charged(site, 1, price(site), first=6)
    for number, permitted in ((5, False), (7, False), (10, False), (11, True), (1, True), (6, True)):
        asked = replace(cyclic, round=number, attempt=1)
        if permitted:
            with pytest.raises(AssertionError, match="touched"):
                site.ask(asked)
            break  # a charge of its own from here on
        status, code, reason = site.ask(asked)
        assert (status, code) == ("refused", "rounds")
        assert "less than 5 rounds from round 6" in reason


def test_more_rounds_than_the_schedule_has_for_one_owner_are_refused(site: Site) -> None:
    asked = terms(participation={"use": "cyclic", "cohort": 2, "separation": 5}, rounds=10)
    for number in (1, 6):
        charged(site, 1, price(site), first=number)
    status, code, reason = site.ask(replace(asked, round=7))
    assert (status, code) == ("refused", "rounds")
    assert "in 2 rounds at most; it was in 2" in reason


# --- approval by a person ---


def test_approve_first_waits_for_a_person_and_then_for_exactly_what_was_shown(tmp_path: Path) -> None:
    made = Site(tmp_path, policy(approve_first=True))
    status, code, reason = made.ask(REQUEST)
    assert (status, code) == ("refused", "approval")
    assert "tacit client approve run" in reason
    (pending,) = made.approvals.all()
    assert pending.offer["claim"]["releases"] == 20
    assert made.ask(REQUEST)[1] == "approval"
    made.approvals.approve("run", pending.digest)
    weaker = line(CLIP, {**OWN, "noise_multiplier": 7.9})
    assert made.ask(weaker)[1] == "approval"
    assert made.charges == 0
    with pytest.raises(AssertionError, match="touched"):
        made.ask(REQUEST)
    made.approvals.deny("run", pending.digest)
    assert made.ask(replace(REQUEST, round=2))[1] == "denied"
    assert made.charges == 1


# --- masks, and the smallest cohort ---

MASK = {"stage": "mask", "colluders": 1}
SKELLAM = (CLIP, {"stage": "encode"}, {"stage": "skellam", "noise_multiplier": 8.0}, MASK)


def shared(least: int, noise: float = 8.0, masked: bool = True) -> Request:
    rows = (CLIP, {"stage": "encode", "bits": 16}, {"stage": "skellam", "noise_multiplier": noise}, MASK)
    return recipe(pipeline=rows if masked else rows[:-1], least=least, most=max(least, 10))


def test_shares_of_noise_count_for_the_smallest_cohort_whatever_the_server_says(tmp_path: Path) -> None:
    made = Site(tmp_path, policy(stages=["clip", "skellam", "mask"], mask=True, noise_multiplier=None, epsilon_run=6.0))
    guard = Guard(made.frame, "ward3", {"digits": CODE}, made.approvals, lambda: NOON)

    def variance(asked: Request) -> float:
        event = guard.check(asked, agreed(asked, LEARNER), Account()).event
        return float(event.variance / event.l2**2)  # type: ignore[union-attr]  # a Skellam event

    honest = variance(shared(5))
    assert honest == pytest.approx(8.0**2 * 4 / 5)  # five shares are made for, one of them may be a colluder's
    # A server that says twenty, so that shares are smaller, is charged for the five that the owner is sure of.
    assert variance(shared(6)) == pytest.approx(honest * 5 / 6)
    asked = shared(1000)
    plan = agreed(asked, LEARNER)
    with pytest.raises(RefusedError) as caught:
        guard.check(asked, plan, Account())
    assert caught.value.refusal.code == "budget-life"


def test_without_masks_shared_noise_is_no_privacy_from_the_server(tmp_path: Path) -> None:
    made = Site(tmp_path, policy(stages=[], noise_multiplier=None))
    status, code, reason = made.ask(shared(5, masked=False))
    assert (status, code) == ("refused", "claim")
    assert "one share of the noise only" in reason
    (tmp_path / "two").mkdir()
    strict = Site(tmp_path / "two", policy(stages=[], noise_multiplier=None, mask=True))
    assert strict.ask(shared(5, masked=False))[1] == "mask"


@pytest.mark.parametrize(("noise", "enough"), [(2.2, False), (2.3, True)])
def test_the_least_noise_is_that_of_the_honest_shares_at_the_smallest_cohort(
    tmp_path: Path, noise: float, enough: bool
) -> None:
    made = Site(tmp_path, policy(stages=[], noise_multiplier=2.0, epsilon=1e3, epsilon_run=1e3))
    asked = shared(5, noise)  # times √(4/5)
    found = opinion(made.frame, "ward3", {"digits": CODE}, asked, agreed(asked, LEARNER), Account())
    assert ("noise" not in {refusal.code for refusal in found.refusals}) is enough


def test_central_noise_is_nothing_against_the_server_and_the_noise_against_an_analyst(tmp_path: Path) -> None:
    central = line(CLIP, {"stage": "central-gaussian", "noise_multiplier": 8.0})
    made = Site(tmp_path, policy(stages=[]))
    assert made.ask(central)[1] == "claim"
    (tmp_path / "two").mkdir()
    trusting = Site(tmp_path / "two", policy(stages=[], observer="analyst"))
    with pytest.raises(AssertionError, match="touched"):
        trusting.ask(central)


def test_no_draw_that_the_server_made_amplifies(tmp_path: Path) -> None:
    """The cost of a Poisson schedule at the owner is that of being asked every time, for an analyst too."""
    made = Site(tmp_path, policy(stages=[], observer="analyst"))
    central = line(CLIP, {"stage": "central-gaussian", "noise_multiplier": 8.0})
    drawn = replace(central.recipe, terms=replace(TERMS, participation={"use": "poisson", "rate": 0.01}))
    plans = [opinion(made.frame, "ward3", {"digits": CODE}, each, agreed(each, LEARNER), Account()).offer
             for each in (central, replace(central, recipe=drawn))]  # fmt: skip
    first, second = plans
    assert first is not None
    assert second is not None
    assert first.epsilon == second.epsilon
    assert first.price == second.price


# --- a seed ---


def test_with_a_seed_everything_is_charged_as_no_privacy_and_ends_the_life_of_the_asset(site: Site) -> None:
    guard = Guard(site.frame, "ward3", {"digits": CODE}, site.approvals, lambda: NOON)
    seeded, plan = SeededGuard(guard), agreed(REQUEST, LEARNER)
    for number in (1, 2):
        price = seeded.check(replace(REQUEST, round=number), plan, site.store.spent())
        assert isinstance(price.event, NonPrivate)
        charged(site, 1, price, first=number)
    weak = HOSTILE["tiny noise"][0]
    with pytest.raises(RefusedError):  # the policy holds all the same
        seeded.check(weak, agreed(weak, LEARNER), Account())
    assert site.ask(replace(REQUEST, run="later"))[1] == "budget-life"


# --- all of it at once ---


def test_an_opinion_has_every_reason() -> None:
    asked = replace(
        recipe(solver={"use": "sgd", "epochs": 9}, least=2, pipeline=({**CLIP, "norm": 3.0}, {**OWN, "noise_multiplier": 1.0})),
        weights=torch.zeros(DIM),
    )  # fmt: skip
    asked = replace(asked, recipe=replace(asked.recipe, terms=replace(TERMS, code="tacit 9")))
    found = opinion(policy(), "ward3", {"digits": CODE}, asked, agreed(asked, LEARNER), Account())
    codes = [refusal.code for refusal in found.refusals]
    assert codes == ["code", "cohort", "clip", "noise", "work", "budget-life"]
    assert found.offer is not None
    assert found.offer.epsilon > 3.0


def test_of_another_unit_the_policy_has_no_price_to_tell() -> None:
    asked = HOSTILE["protects examples only"][0]
    found = opinion(policy(), "ward3", {"digits": CODE}, asked, agreed(asked, LEARNER), Account())
    assert [refusal.code for refusal in found.refusals] == ["unit"]
    assert found.offer is None


NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**53 - 1, 1e-300, 1e300, -1e300, 5e-324, 0.5, True, None, "calibrate", [], {}]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**40), 2**52),
)
ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "own": lambda: [dict(CLIP), dict(OWN)],
    "skellam": lambda: [dict(row) for row in SKELLAM],
    "discrete": lambda: [dict(CLIP), {"stage": "encode"}, {"stage": "discrete-gaussian", "noise_multiplier": 4.0}],
    "adaptive": lambda: [{"stage": "adaptive-clip", "norm": 0.5}, dict(OWN)],
}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_numbers_are_asked_the_guard_refuses_or_names_a_price_within_the_budget(source: st.DataObject) -> None:
    rows = ROWS[source.draw(st.sampled_from(sorted(ROWS)))]()
    row = source.draw(st.sampled_from(rows))
    key = source.draw(st.sampled_from([key for key in row if key != "stage"] or ["surprise"]))
    row[key] = source.draw(NUMBERS)
    counts = st.sampled_from([1, 2, 5, 8, 10, 50, 2**31, 2**53 - 1])
    least = source.draw(counts)
    asked = recipe(pipeline=tuple(rows), least=least, most=max(least, source.draw(counts)))
    changed = replace(TERMS, rounds=source.draw(counts), population=source.draw(counts))
    asked = replace(
        asked, recipe=replace(asked.recipe, terms=changed), round=source.draw(st.sampled_from([0, 1, 2, 10**6]))
    )
    frame = policy(
        stages=[], clip=None, noise_multiplier=None, work={"rounds": 2**53 - 1}, smallest_cohort=2, colluders=0
    )
    guard = Guard(frame, "ward3", {"digits": CODE}, Approvals(Path("unused")), lambda: NOON)
    with contextlib.suppress(RefusedError):
        found = guard.check(asked, agreed(asked, LEARNER), Account())
        offer = opinion(frame, "ward3", {"digits": CODE}, asked, agreed(asked, LEARNER), Account()).offer
        assert offer is not None
        assert offer.price == found
        assert offer.epsilon <= 3.0
        assert offer.after <= 1.0
        assert math.isfinite(offer.epsilon)


def test_a_currency_is_unit_relation_observer_and_colluders() -> None:
    assert policy().currency != policy(colluders=2).currency
    assert policy().currency != policy(observer="analyst").currency
    assert isinstance(policy().currency, Currency)


def test_an_owner_may_permit_to_be_measured(tmp_path: Path) -> None:
    """At the price of the same schedule without: the noise grows with the sensitivity."""
    generator = torch.Generator().manual_seed(1)
    examples = Examples(torch.randn(6, 4, generator=generator), torch.arange(6) % 3)
    prices = []
    for name, rows in (("bare", (CLIP, OWN)), ("measured", MEASURED)):
        (tmp_path / name).mkdir()
        there = Site(tmp_path / name, frame=policy(measure=True), examples=examples)
        assert there.ask(line(*rows))[0] == "ok"
        (charge,) = there.store.spent().records()
        prices.append(charge.reserved.price.event)
    assert prices[0] == prices[1]


# --- noise that is correlated over rounds ---

CORRELATED = {"stage": "correlated-gaussian", "noise_multiplier": 8.0, "bands": 4}
IN_TURN = replace(
    TERMS,
    relation="add-remove",
    participation={"use": "cyclic", "cohort": 8, "separation": 4},
    population=40,
    rounds=20,
)
WHOLE = replace(REQUEST, recipe=replace(RECIPE, pipeline=(CLIP, CORRELATED), terms=IN_TURN))


HEALTHY = Examples(torch.ones(6, 4), torch.arange(6) % 3)


def in_turn(tmp_path: Path, **changes: Any) -> Site:
    given = {"relation": "add-remove", "observer": "analyst", "colluders": 0, "stages": ["clip", "correlated-gaussian"]}
    return Site(tmp_path, policy(**given, **changes), examples=HEALTHY)


def events(site: Site) -> list[Event]:
    return [each.reserved.price.event for each in site.store.spent().records()]


def test_a_schedule_of_correlated_noise_is_charged_before_its_first_round(tmp_path: Path) -> None:
    """As one event of all its rounds; the others cost nothing more, nor does an attempt that is tried again."""
    site = in_turn(tmp_path)
    assert site.ask(WHOLE)[0] == "ok"
    assert site.ask(replace(WHOLE, round=5))[0] == "ok"
    assert site.ask(replace(WHOLE, round=5, attempt=1))[0] == "ok"
    first, *others = events(site)
    assert isinstance(first, BandedMatrix)
    assert (first.rounds, first.separation, first.participations) == (20, 4, 5)
    assert others == [Nothing(), Nothing()]
    extras = [each.reserved.price.delta_extra for each in site.store.spent().records()]
    assert extras[0] > 0
    assert extras[1:] == [0.0, 0.0]


def test_the_owner_itself_sees_to_separation_and_participations(tmp_path: Path) -> None:
    """PRIVACY.md 7: the proof needs both, so neither is left to the coordinator."""
    site = in_turn(tmp_path)
    assert site.ask(replace(WHOLE, round=2))[0] == "ok"
    for near in (1, 3, 4, 5):
        assert site.ask(replace(WHOLE, round=near))[1] == "rounds"
    for far in (6, 10, 14, 18):
        assert site.ask(replace(WHOLE, round=far))[0] == "ok"
    assert site.ask(replace(WHOLE, round=18 + 4))[:2] == ("refused", "address")
    assert site.charges == 5


@pytest.mark.parametrize(
    "changed",
    [
        {"terms": replace(IN_TURN, rounds=19)},
        {"terms": replace(IN_TURN, participation={"use": "cyclic", "cohort": 4, "separation": 5})},
        {"pipeline": (CLIP, {**CORRELATED, "noise_multiplier": 7.9})},
        {"pipeline": (CLIP, {**CORRELATED, "bands": 3})},
        {"pipeline": (CLIP, {"stage": "central-gaussian", "noise_multiplier": 8.0})},
    ],
    ids=["rounds", "separation", "noise", "bands", "another noise"],
)
def test_a_schedule_that_was_paid_does_not_pay_for_another(tmp_path: Path, changed: dict[str, Any]) -> None:
    site = in_turn(tmp_path)
    site = replace_stages(site)
    assert site.ask(WHOLE)[0] == "ok"
    other = replace(WHOLE, round=9, recipe=replace(WHOLE.recipe, **changed))
    assert site.ask(other)[:2] == ("refused", "schedule")
    assert site.charges == 1


def replace_stages(site: Site) -> Site:
    """The same, under a policy that leaves the noise's kind to the server: so that what is refused is the change of it."""
    frame = policy(relation="add-remove", observer="analyst", colluders=0, stages=["clip"])
    guard = Guard(frame, "ward3", {"digits": CODE}, site.approvals, lambda: NOON)
    worker = Worker(4, LEARNER, HEALTHY, SystemEntropy())
    site.session = Session(lambda request: worker, guard, site.store, Replies(site.folder / "replies"), 9)
    return site


def test_a_schedule_beyond_the_budget_is_refused_before_its_first_round(tmp_path: Path) -> None:
    for name, limits in (("run", {"epsilon_run": 0.4}), ("life", {"epsilon": 0.4, "epsilon_run": 0.4})):
        folder = tmp_path / name
        folder.mkdir()
        site = in_turn(folder, **limits)
        status, code, reason = site.ask(WHOLE)
        assert (status, code) == ("refused", f"budget-{name}")
        assert "the schedule" in reason
        assert site.charges == 0


def test_who_adds_the_noise_is_protected_from_by_nothing(tmp_path: Path) -> None:
    site = in_turn(tmp_path)
    frame = policy(relation="add-remove", observer="server", colluders=0, stages=["clip"])
    heard = opinion(frame, "ward3", {"digits": CODE}, WHOLE, agreed(WHOLE, LEARNER), Account())
    assert heard.offer is None
    assert "claim" in [refusal.code for refusal in heard.refusals]
    assert site.charges == 0
