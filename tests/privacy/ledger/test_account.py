"""Account: every reservation counts, in its own currency and run, whatever became of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.accounting.multiset import multiset
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian, Nothing, Repeated
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import Address, Committed, Currency, EntryError, Heading, Price, Reserved

OWNER = Currency("owner", "zero-out", Observer("server"))
EXAMPLE = Currency("example", "add-remove", Observer("server"))
EVENTS = [Gaussian(1.0), Gaussian(2.0)]


def reserved(address: Address, price: Price) -> Reserved:
    return Reserved(address, "0" * 64, price, 0)


CHARGES = st.lists(
    st.tuples(
        st.builds(Address, st.sampled_from(["a", "b"]), st.integers(1, 4), st.integers(0, 3)),
        st.builds(Price, st.sampled_from([OWNER, EXAMPLE]), st.sampled_from(EVENTS), st.sampled_from([0.0, 2.0**-30])),
        st.booleans(),
    ),
    unique_by=lambda each: each[0],
    max_size=20,
)


@given(CHARGES)
def test_the_account_is_the_sum_of_its_lines(charges: list[tuple[Address, Price, bool]]) -> None:
    account, number = Account(), 1
    account.take(0, Heading("ward3", "1", 0))
    for address, price, commits in charges:
        account.take(number, reserved(address, price))
        if commits:
            account.take(number + 1, Committed(number, "1" * 64, 0))
        number += 2
    for run in (None, "a", "b", "c"):
        mine = [(address, price) for address, price, _ in charges if run in (None, address.run)]
        assert account.currencies(run) == {price.currency for _, price in mine}
        assert [each.reserved.address for each in account.records(run)] == [address for address, _ in mine]
        for currency in (OWNER, EXAMPLE):
            prices = [price for _, price in mine if price.currency == currency]
            events = account.events(currency, run)
            assert events == Counter(price.event for price in prices)
            repeated = [multiset(Repeated(event, count)) for event, count in events.items()]
            assert len(repeated) == len(events)
            assert account.delta_extra(currency, run) == sum(price.delta_extra for price in prices)
    for round in range(5):
        attempts = [address.attempt for address, _, _ in charges if (address.run, address.round) == ("a", round)]
        assert account.attempts("a", round) == len(attempts)
        assert account.next_attempt("a", round) == max(attempts, default=-1) + 1
    for address, _, commits in charges:
        found = account.find(address)
        assert found is not None
        assert (found.reply is not None) is commits
        assert account.record(found.number) == found


def test_one_event_for_an_accountant() -> None:
    account = Account()
    assert account.event(OWNER) == Nothing()
    for round in range(3):
        account.take(round, reserved(Address("a", round, 0), Price(OWNER, Gaussian(2.0))))
    assert multiset(account.event(OWNER)) == multiset(Repeated(Gaussian(2.0), 3))
    assert account.event(EXAMPLE) == Nothing()
    assert account.event(OWNER, "b") == Nothing()


def test_what_cannot_follow_is_refused_and_adds_nothing() -> None:
    account = Account()
    line = reserved(Address("a", 1, 0), Price(OWNER, Gaussian(1.0)))
    account.take(1, line)
    for number, entry, words in (
        (2, line, "again"),
        (2, Heading("ward3", "1", 0), "heading"),
        (2, Committed(2, "1" * 64, 0), "no open charge"),
    ):
        with pytest.raises(EntryError, match=words):
            account.take(number, entry)
    account.take(2, Committed(1, "1" * 64, 0))
    with pytest.raises(EntryError, match="no open charge"):
        account.take(3, Committed(1, "1" * 64, 0))
    assert account.events(OWNER) == {Gaussian(1.0): 1}
