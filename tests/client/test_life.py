"""Life: a filter whose order no output has a say in, never above what it was set to, and not far below."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.client.life import Life, largest_limit
from tacit.client.policy import PolicyFrame
from tacit.config import framed
from tacit.privacy.accounting.accountant import account as figure
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.event import Composed, Event, Gaussian, NonPrivate, Poisson, Repeated
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import Address, Price, Reserved


def policy(**changes: Any) -> PolicyFrame:
    row = {"tasks": [{"use": "digits"}], "unit": "owner", "relation": "zero-out", "colluders": 0, "smallest_cohort": 1,
           "epsilon": 4.0, "delta": 1e-5}  # fmt: skip
    return framed(PolicyFrame, {**row, **changes})


def account(*events: Event, extra: float = 0.0) -> Account:
    made = Account()
    for number, event in enumerate(events, start=1):
        made.take(number, Reserved(Address("run", number, 0), "0" * 64, Price(policy().currency, event, extra), 0))
    return made


EVENTS: tuple[Event, ...] = (
    Gaussian(4.0), Gaussian(9.0), Repeated(Poisson(0.05, Gaussian(1.2)), 10), Poisson(0.01, Gaussian(0.9)),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=200), st.sampled_from([0.5, 1.0, 4.0, 8.0]))
def test_whatever_is_permitted_one_by_one_stays_within_the_budget_by_an_accountant_who_knows_it_all(
    asked: list[Event], limit: float
) -> None:
    frame = policy(epsilon=limit)
    made: list[Event] = []
    for event in asked:
        if Life(frame, account(*made), event).affords(event, 1, 0.0):
            made.append(event)
    if made:
        assert epsilon(Composed(tuple(made)), "zero-out", 1e-5) <= limit
        assert Life(frame, account(*made), made[0]).used <= 1.0


@pytest.mark.parametrize("event", EVENTS)
def test_little_is_lost_to_adaptivity(event: Event) -> None:
    """A filter holds one order and a share of δ; RDP takes the best order afterwards and all of δ."""
    found = figure(Repeated(event, 40), "zero-out", 1e-5)
    life = Life(policy(epsilon=1.05 * found.epsilon_rdp), Account(), event)
    assert life.affords(event, 40, 0.0)
    life.charge(event, 40)
    assert life.used <= 1.0
    tight = Life(policy(epsilon=0.99 * found.epsilon), Account(), event)
    assert not tight.affords(event, 40, 0.0)
    tight.charge(event, 40)
    assert tight.used > 1.0


def test_sampled_noise_after_plain_noise_does_not_eat_the_budget() -> None:
    """At an order that suits Gaussian noise alone, a hundred of these would count as ε = 244."""
    sampled = Poisson(0.02, Gaussian(1.1))
    assert Life(policy(), account(Gaussian(30.0)), sampled).affords(sampled, 100, 0.0)


def test_many_at_once_are_as_many_one_by_one() -> None:
    frame, event = policy(), Gaussian(9.0)
    together, single = Life(frame, Account(), event), Life(frame, Account(), event)
    together.charge(event, 30)
    for _ in range(30):
        single.charge(event, 1)
    assert together.used == pytest.approx(single.used)
    assert together.used == pytest.approx(Life(frame, account(*[event] * 30), event).used)
    assert together.used == pytest.approx(30 / 20 * Life(frame, account(*[event] * 20), event).used)


def test_what_samplers_err_by_has_a_share_of_delta_and_no_more() -> None:
    frame, event = policy(), Gaussian(50.0)
    most = 1e-5 / 16 / (1 + math.exp(4.0))
    assert Life(frame, Account(), event).affords(event, 10, most / 10 * 0.99)
    assert not Life(frame, Account(), event).affords(event, 10, most / 10 * 1.01)
    assert not Life(frame, account(event, extra=most), event).affords(event, 1, most * 0.01)


def test_after_anything_without_privacy_no_finite_budget_affords_anything() -> None:
    event = Gaussian(1000.0)
    spent = account(NonPrivate("a baseline"))
    assert not Life(policy(), spent, event).affords(event, 1, 0.0)
    assert Life(policy(), spent, event).used == math.inf
    free = Life(policy(epsilon=math.inf), spent, event)
    assert free.affords(NonPrivate("another"), 10, 0.5)
    assert free.used == 0.0


@pytest.mark.parametrize(("delta", "variation"), [(1e-5, 1e-18), (1e-3, 1e-9), (0.5, 1e-3)])
def test_the_largest_limit_is_where_the_samplers_share_of_delta_is_used_up(delta: float, variation: float) -> None:
    most = largest_limit(delta, variation)
    assert (1 + math.exp(most)) * variation == pytest.approx(delta / 16)
    assert largest_limit(delta, 0.0) == math.inf
    assert largest_limit(delta, delta) == -math.inf
