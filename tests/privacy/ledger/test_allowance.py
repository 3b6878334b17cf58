"""Allowance: whoever permits more says so; a lower limit is never taken for a higher one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.claim import Observer
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.allowance import Allowed, Limit, raised
from tacit.privacy.ledger.currency import Currency
from tacit.privacy.ledger.field import EntryError

OWNER = Currency("owner", "zero-out", Observer("server"))
EPSILONS = st.floats(0.1, 100) | st.just(math.inf)


def allowed(asset: float = 4.0, run: float = 2.0, server: float | None = None, **changes: Any) -> Allowed:
    scopes = {"asset": asset, "run": run, **({} if server is None else {"server": server})}
    limits = tuple(Limit(scope, scopes[scope], "filter") for scope in sorted(scopes))  # type: ignore[arg-type]  # the three scopes
    return replace(Allowed(OWNER, 1e-5, limits, "ada", 0), **changes)


@given(EPSILONS, EPSILONS, EPSILONS, EPSILONS)
def test_it_is_raised_exactly_where_a_number_is_larger(asset: float, run: float, later: float, last: float) -> None:
    found = list(raised(allowed(asset, run), allowed(later, last)))
    assert len(found) == (later > asset) + (last > run)
    assert not list(raised(allowed(asset, run), allowed(asset, run, by="eve", time=9)))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (allowed(), allowed(8.0), "ε of the asset's life 4 → 8"),
        (allowed(), allowed(math.inf), "4 → inf"),
        (allowed(), allowed(delta=1e-4), "δ 1e-05 → 0.0001"),
        (allowed(server=1.0), allowed(), "ε of one server 1 → inf"),
        (
            allowed(),
            allowed(currency=replace(OWNER, unit="example")),
            "owner, zero-out, server become ones for example",
        ),
        (allowed(), allowed(limits=(Limit("asset", 4.0, "quota"), Limit("run", 2.0, "filter"))), "quota instead"),
    ],
)
def test_what_is_more_is_said(before: Allowed, after: Allowed, words: str) -> None:
    (found,) = raised(before, after)
    assert words in found


def test_a_further_limit_is_not_more() -> None:
    assert not list(raised(allowed(), allowed(server=1.0)))
    assert not allowed().same(allowed(server=1.0))
    assert allowed().same(allowed(by="eve", time=7, replaces=3))


@pytest.mark.parametrize(
    "changes",
    [{"delta": 0.0}, {"delta": 1.0}, {"limits": ()}, {"by": ""}, {"by": "a\nb"}, {"replaces": -1}, {"time": 0.5},
     {"limits": (Limit("run", 1.0, "filter"), Limit("asset", 1.0, "filter"))},
     {"limits": (Limit("run", 1.0, "filter"), Limit("run", 2.0, "filter"))}],
)  # fmt: skip
def test_what_is_no_allowance_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EntryError):
        allowed(**changes)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, True, "4"])
def test_what_is_no_limit_is_refused(epsilon: Any) -> None:
    with pytest.raises(EntryError, match="epsilon"):
        Limit("asset", epsilon, "filter")


def test_each_one_replaces_the_one_that_stands() -> None:
    account = Account()
    assert account.standing() is None
    account.take(1, allowed())
    with pytest.raises(EntryError, match="which does not stand"):
        account.take(2, allowed(8.0))
    account.take(2, allowed(8.0, replaces=1))
    account.take(3, replace(allowed(), run="r"))
    standing = account.standing()
    assert standing is not None
    assert (standing.number, standing.allowed.limit("asset")) == (2, Limit("asset", 8.0, "filter"))
    assert [each.number for each in account.history()] == [1, 2]
    assert [each.number for each in account.history("r")] == [3]
