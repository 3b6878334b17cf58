"""Entry: one text for one line, no line for any other text, and a chain that holds each line in its place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.claim import Observer
from tacit.privacy.event import Composed, DiscreteGaussian, Gaussian, NonPrivate, Poisson, Repeated, Skellam, Tuned
from tacit.privacy.ledger.allowance import Allowed, Limit
from tacit.privacy.ledger.entry import (
    START,
    Address,
    Anchored,
    Committed,
    Currency,
    Entry,
    EntryError,
    Heading,
    Price,
    Reserved,
    Survived,
    body_of,
    chained,
    entry_from,
    price_of,
)
from tacit.privacy.participation import Everyone
from tacit.privacy.pipeline import pipeline
from tacit.privacy.schedule import Schedule
from tacit.privacy.signal import Signal
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.own import OwnGaussian

NOISE = st.floats(0.1, 100)
EVENTS = st.one_of(
    st.builds(Gaussian, NOISE),
    st.builds(lambda rate, noise: Poisson(rate, Gaussian(noise)), st.floats(0, 1), NOISE),
    st.builds(Skellam, NOISE, NOISE, NOISE),
    st.builds(DiscreteGaussian, NOISE, NOISE, NOISE, st.integers(1, 9)),
    st.builds(
        lambda noise, count: Composed((Repeated(Gaussian(noise), count), NonPrivate("…"))), NOISE, st.integers(0, 9)
    ),
    st.just(Tuned(Gaussian(1.0), 2.0, math.inf)),
)
CURRENCIES = st.builds(
    Currency,
    st.sampled_from(["example", "owner"]),
    st.sampled_from(["add-remove", "zero-out", "replace-one"]),
    st.builds(Observer, st.sampled_from(["server", "analyst", "owners"]), st.integers(0, 5)),
)
PRICES = st.builds(Price, CURRENCIES, EVENTS, st.floats(0, 1))
COUNTS = st.integers(0, 2**61)
NAMES = st.text("abcäß .-:/", min_size=1, max_size=20)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
TIMES = st.integers(-(2**40), 2**40)
EPSILONS = st.floats(0, exclude_min=True)
LIMITS = st.sets(st.sampled_from(["asset", "run", "server"]), min_size=1).flatmap(
    lambda scopes: st.tuples(
        *(st.builds(Limit, st.just(each), EPSILONS, st.sampled_from(["filter", "quota"])) for each in sorted(scopes))
    )
)
DELTAS = st.floats(0, 1, exclude_min=True, exclude_max=True)
ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Heading, NAMES, NAMES, TIMES, st.just("") | DIGESTS),
    st.builds(Reserved, st.builds(Address, NAMES, COUNTS, COUNTS), DIGESTS, PRICES, TIMES, st.just("") | DIGESTS),
    st.builds(Committed, COUNTS, DIGESTS, TIMES),
    st.builds(Allowed, CURRENCIES, DELTAS, LIMITS, NAMES, TIMES, st.just("") | NAMES, st.none() | COUNTS),
    st.builds(Survived, COUNTS, COUNTS, EVENTS, TIMES),
    st.builds(Anchored, NAMES, TIMES),
)
PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0), 1e-9)
LINE = Reserved(Address("run", 3, 1), "a" * 64, PRICE, 1_700_000_000)


@given(ENTRIES)
def test_a_line_is_read_as_it_was_written(entry: Entry) -> None:
    body = body_of(entry)
    assert entry_from(body) == entry
    assert body_of(entry_from(body)) == body


KEYS = st.sampled_from(["kind", "of", "reply", "time"])
ROWS = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.dictionaries(KEYS, of))


@given(st.binary(max_size=80) | ROWS.map(lambda row: json.dumps(row).encode()))
def test_anything_else_is_no_line(body: bytes) -> None:
    with pytest.raises(EntryError, match="not a line of ledger format 2"):
        entry_from(body)


CHANGES: dict[str, Any] = {
    "kind": "refunded", "run": "", "round": -1, "attempt": True, "request": "A" * 64, "unit": "patient",
    "relation": "none", "observer": "nobody", "colluders": -1, "adversary": "kind", "basis": "hope",
    "delta_extra": 2.0, "event": {"event": "os.system"}, "time": 1.5, "server": 7,
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_is_checked_and_needed(field: str) -> None:
    row = json.loads(body_of(LINE))
    assert set(row) == set(CHANGES)
    for changed in ({**row, field: CHANGES[field]}, {key: row[key] for key in row if key != field}, {**row, "more": 1}):
        with pytest.raises(EntryError):
            entry_from(json.dumps(changed, sort_keys=True, separators=(",", ":")).encode())


def test_another_text_of_the_same_line_is_no_line() -> None:
    row = json.loads(body_of(LINE))
    for text in (json.dumps(row), json.dumps(row, separators=(",", ":"), sort_keys=True) + " "):
        with pytest.raises(EntryError, match="canonical"):
            entry_from(text.encode())


def test_a_later_format_is_refused() -> None:
    body = body_of(Heading("ward3", "1", 0)).replace(b'"format":2', b'"format":3')
    with pytest.raises(EntryError, match="unknown kind"):
        entry_from(body)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 257, "\x1b[2J"])
def test_names_that_would_spoil_a_log_are_no_names(name: str) -> None:
    with pytest.raises(EntryError, match="printable"):
        Address(name, 1, 0)
    with pytest.raises(EntryError, match="printable"):
        Heading(name, "1", 0)


@given(st.lists(st.binary(max_size=9), min_size=2, max_size=6), st.data())
def test_the_chain_holds_every_line_in_its_place(bodies: list[bytes], source: st.DataObject) -> None:
    def head(lines: list[bytes]) -> bytes:
        digest = START
        for number, body in enumerate(lines):
            digest = chained(digest, number, body)
        return digest

    other = list(bodies)
    at = source.draw(st.integers(0, len(bodies) - 1))
    match source.draw(st.sampled_from(["take out", "put in", "change", "swap"])):
        case "take out":
            other.pop(at)
        case "put in":
            other.insert(at, source.draw(st.binary(max_size=9)))
        case "change":
            other[at] = source.draw(st.binary(max_size=9))
        case _:
            other[at], other[0] = other[0], other[at]
    assert (head(other) == head(bodies)) is (other == bodies)


def test_the_chain_s_first_line() -> None:
    """By hand: SHA-256 of the tag, eight zero bytes, 32 zero bytes, and the body."""
    import hashlib

    assert chained(START, 0, b"{}") == hashlib.sha256(b"tacit ledger 2\0" + bytes(8) + bytes(32) + b"{}").digest()


def test_a_price_is_read_off_a_claim() -> None:
    schedule = Schedule(
        pipeline(Signal(8, "owner", least=5, most=10), [Clip(1.0), OwnGaussian(2.0)]), Everyone(), 10, 7
    )
    price = price_of(schedule.claim(Observer("server", 2), "zero-out", 1))
    assert price.currency == Currency("owner", "zero-out", Observer("server", 2))
    assert price.event == schedule.round_events(Observer("server", 2), "zero-out")[0]
    assert (price.adversary, price.basis) == ("semi-honest", "statistical")
