"""Entry: one line of a data asset's ledger, its canonical bytes, and the chain that the lines form.

    digestₙ = SHA-256(tag | n as 8 bytes | digestₙ₋₁ | bodyₙ),   digest₋₁ = 32 zero bytes

A body is JSON with sorted keys and no spaces, in the closed schema of this file: nothing is looked up by a name from it but
in explicit tables. Line 0 is the `Heading`; then follow a `Reserved` before data is touched and a `Committed` before bytes
leave. The chain shows that lines were changed, taken out or put in; not that the last ones are missing (PRIVACY.md 22).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard, get_args

from ..claim import Adversary, Basis, Claim, Observer, Who
from ..event import Event, EventError, from_json, to_json
from ..signal import Relation, Unit

FORMAT = 1
START = bytes(32)
_TAG = b"tacit ledger 1\0"
_LONGEST = 256
_LARGEST = 1 << 62


class EntryError(ValueError):
    """A line that cannot be written, or bytes that are no line of this version."""


@dataclass(frozen=True, slots=True)
class Currency:
    """What an event is charged in; events of different currencies never add up (PRIVACY.md, Claims)."""

    unit: Unit
    relation: Relation
    observer: Observer

    def __post_init__(self) -> None:
        _need(self.unit in get_args(Unit), "unit", self.unit, "one of " + ", ".join(get_args(Unit)))
        _need(self.relation in get_args(Relation), "relation", self.relation, "one of " + ", ".join(get_args(Relation)))
        _need(self.observer.who in get_args(Who), "observer", self.observer.who, "one of " + ", ".join(get_args(Who)))
        _need(_count(self.observer.colluders), "colluders", self.observer.colluders, "an integer of at least 0")


@dataclass(frozen=True, slots=True)
class Price:
    """What one attempt of one round costs: the event at the schedule's floor (PRIVACY.md 14), and what it rests on.

    `delta_extra` is the total variation of one release between its noise and the law that is accounted; those of a run
    add up. `adversary` and `basis` are recorded, for certificates; they do not change the sum.
    """

    currency: Currency
    event: Event
    delta_extra: float = 0.0
    adversary: Adversary = "semi-honest"
    basis: Basis = "statistical"

    def __post_init__(self) -> None:
        holds = _real(self.delta_extra) and 0 <= self.delta_extra <= 1
        _need(holds, "delta_extra", self.delta_extra, "a probability")
        _need(self.adversary in get_args(Adversary), "adversary", self.adversary, "one that claims know")
        _need(self.basis in get_args(Basis), "basis", self.basis, "one that claims know")


def price_of(claim: Claim) -> Price:
    """The price of what `claim` speaks of, for its observer."""
    currency = Currency(claim.unit, claim.relation, claim.observer)
    return Price(currency, claim.event, claim.delta_extra, claim.adversary, claim.basis)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a charge belongs: an attempt number is accepted once (PRIVACY.md 16)."""

    run: str
    round: int
    attempt: int

    def __post_init__(self) -> None:
        holds = isinstance(self.run, str) and 0 < len(self.run) <= _LONGEST and self.run.isprintable()
        _need(holds, "run", self.run, f"1 to {_LONGEST} printable characters")
        _need(_count(self.round), "round", self.round, "an integer of at least 0")
        _need(_count(self.attempt), "attempt", self.attempt, "an integer of at least 0")

    def __str__(self) -> str:
        return f"run {self.run}, round {self.round}, attempt {self.attempt}"


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose ledger this is. `identity` is random, so that a ledger made anew is another ledger."""

    asset: str
    identity: str
    time: int

    def __post_init__(self) -> None:
        holds = isinstance(self.asset, str) and 0 < len(self.asset) <= _LONGEST and self.asset.isprintable()
        _need(holds, "asset", self.asset, f"1 to {_LONGEST} printable characters")
        _need(isinstance(self.identity, str) and bool(self.identity), "identity", self.identity, "a text")
        _need_time(self.time)


@dataclass(frozen=True, slots=True)
class Reserved:
    """A charge, durable before any data is touched. `request` is the SHA-256 of the request, in hexadecimal."""

    address: Address
    request: str
    price: Price
    time: int

    def __post_init__(self) -> None:
        _need_digest(self.request, "request")
        _need_time(self.time)


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome of the charge in line `of`, durable before any byte leaves. `reply` is the SHA-256 of what leaves."""

    of: int
    reply: str
    time: int

    def __post_init__(self) -> None:
        _need(_count(self.of), "of", self.of, "the number of a line")
        _need_digest(self.reply, "reply")
        _need_time(self.time)


Entry: TypeAlias = Heading | Reserved | Committed


def chained(previous: bytes, number: int, body: bytes) -> bytes:
    """The digest of line `number`, after a line with digest `previous`."""
    return hashlib.sha256(_TAG + number.to_bytes(8, "big") + previous + body).digest()


def body_of(entry: Entry) -> bytes:
    """The canonical bytes of a line."""
    row: dict[str, Any]
    match entry:
        case Heading(asset, identity, time):
            row = {"kind": "ledger", "format": FORMAT, "asset": asset, "identity": identity, "time": time}
        case Reserved(address, request, price, time):
            row = {
                "kind": "reserved", "run": address.run, "round": address.round, "attempt": address.attempt,
                "request": request, "unit": price.currency.unit, "relation": price.currency.relation,
                "observer": price.currency.observer.who, "colluders": price.currency.observer.colluders,
                "adversary": price.adversary, "basis": price.basis, "delta_extra": price.delta_extra,
                "event": to_json(price.event), "time": time,
            }  # fmt: skip
        case Committed(of, reply, time):
            row = {"kind": "committed", "of": of, "reply": reply, "time": time}
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def entry_from(body: bytes) -> Entry:
    """The line that `body_of` wrote; raises `EntryError`, and nothing else, for whatever it did not write."""
    try:
        row = json.loads(body)
        entry = _entry(row) if isinstance(row, dict) else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise EntryError(f"not a line of ledger format {FORMAT} ({_told(error)})") from error
    if entry is None or body_of(entry) != body:
        raise EntryError(f"not a line of ledger format {FORMAT} (an unknown kind, or not in its canonical form)")
    return entry


def _entry(row: Mapping[str, Any]) -> Entry | None:
    match row["kind"]:
        case "ledger" if row["format"] == FORMAT:
            return Heading(row["asset"], row["identity"], row["time"])
        case "reserved":
            address = Address(row["run"], row["round"], row["attempt"])
            currency = Currency(row["unit"], row["relation"], Observer(row["observer"], row["colluders"]))
            price = Price(currency, from_json(row["event"]), row["delta_extra"], row["adversary"], row["basis"])
            return Reserved(address, row["request"], price, row["time"])
        case "committed":
            return Committed(row["of"], row["reply"], row["time"])
        case _:
            return None


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EntryError | EventError) else type(error).__name__


def _need(holds: bool, field: str, found: object, want: str) -> None:
    if not holds:
        raise EntryError(f"{field} = {repr(found)[:80]}; it must be {want}")


def _need_time(time: object) -> None:
    _need(isinstance(time, int) and not isinstance(time, bool) and abs(time) < _LARGEST, "time", time, "whole seconds")


def _need_digest(digest: object, field: str) -> None:
    holds = isinstance(digest, str) and len(digest) == 64 and not set(digest) - set("0123456789abcdef")
    _need(holds, field, digest, "64 hexadecimal digits")


def _count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
