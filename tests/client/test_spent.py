"""What an owner sees of its spending: nothing before the first charge, upper bounds afterwards, never too small a number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tacit.client.policy import PolicyFrame
from tacit.client.spent import spent
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.claim import Observer
from tacit.privacy.event import Event, Gaussian, NonPrivate, Repeated
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import Address, Currency, Heading, Price, Reserved

CURRENCY = Currency("owner", "add-remove", Observer("analyst", 0))


def policy(**changes: Any) -> PolicyFrame:
    values = {
        "tasks": [{"use": "digits"}], "unit": "owner", "relation": "add-remove", "observer": "analyst", "colluders": 0,
        "smallest_cohort": 3, "epsilon": 8.0, "delta": 1e-3,
    }  # fmt: skip
    return PolicyFrame.model_validate({**values, **changes})


def account(*events: Event, extra: float = 0.0, currency: Currency = CURRENCY) -> Account:
    found = Account()
    found.take(0, Heading("ward3", "x", 0))
    for number, event in enumerate(events, 1):
        price = Price(currency, event, extra)
        found.take(number, Reserved(Address("run", number, 0), "0" * 64, price, 0))
    return found


def test_nothing_costs_nothing() -> None:
    found = spent(policy(), Account())
    assert (found["charges"], found["used"], found["epsilon"]) == (0, 0.0, 0.0)


def test_epsilon_is_an_upper_bound_near_the_accountants() -> None:
    found = spent(policy(), account(*[Gaussian(5.0)] * 10))
    exact = epsilon(Repeated(Gaussian(5.0), 10), "add-remove", 1e-3)
    assert exact <= found["epsilon"] <= 1.3 * exact
    assert 0 < found["used"] < 1
    assert (found["charges"], found["runs"], found["limit"]) == (10, 1, 8.0)


def test_what_samplers_err_by_counts() -> None:
    assert spent(policy(), account(Gaussian(5.0), extra=1e-9))["epsilon"] < 1
    assert spent(policy(), account(Gaussian(5.0), extra=1e-3))["epsilon"] == "inf"


@pytest.mark.parametrize("events", [(NonPrivate("a seed"),), (Gaussian(5.0), NonPrivate("a seed"))])
def test_what_is_not_private_says_so_in_json(events: tuple[Event, ...]) -> None:
    found = spent(policy(), account(*events))
    assert (found["epsilon"], found["used"]) == ("inf", "inf")
    json.dumps(found, allow_nan=False)


def test_charges_in_another_currency_are_not_hidden() -> None:
    other = Currency("example", "add-remove", Observer("analyst", 0))
    assert spent(policy(), account(Gaussian(1.0), currency=other))["foreign_currencies"] == 1
