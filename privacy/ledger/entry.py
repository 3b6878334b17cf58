"""Entry: one line of a data asset's ledger, its canonical bytes, and the chain that the lines form.

    digestₙ = SHA-256(tag | n as 8 bytes | digestₙ₋₁ | bodyₙ),   digest₋₁ = 32 zero bytes

A body is JSON with sorted keys and no spaces, in the closed schema of this file: nothing is looked up by a name from it but
in explicit tables.

| line        | says                                                                                       |
|-------------|--------------------------------------------------------------------------------------------|
| `Heading`   | line 0: whose ledger it is, and the key that signs it                                      |
| `Allowed`   | how much may be spent from here on, and who said so                                        |
| `Reserved`  | a charge, before data is touched                                                           |
| `Committed` | what a charge led to, before bytes leave                                                   |
| `Survived`  | how many answered, and what that made of a charge: no guarantee, and charged nothing       |
| `Anchored`  | the anchor was lost and made anew here; what was before is vouched for by the chain alone  |

The chain shows that lines were changed, taken out or put in; not that the last ones are missing: anchors do (PRIVACY.md 22).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from ..claim import Adversary, Basis, Claim, Observer
from ..event import Event, EventError, from_json, to_json
from .allowance import Allowed, Limit
from .currency import Currency as Currency
from .field import EntryError as EntryError
from .field import is_count, is_real, need, need_digest, need_name, need_time

FORMAT = 2
START = bytes(32)
_TAG = b"tacit ledger 2\0"
_LONGEST = 256


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
        holds = is_real(self.delta_extra) and 0 <= self.delta_extra <= 1
        need(holds, "delta_extra", self.delta_extra, "a probability")
        need(self.adversary in get_args(Adversary), "adversary", self.adversary, "one that claims know")
        need(self.basis in get_args(Basis), "basis", self.basis, "one that claims know")


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
        need_name(self.run, "run")
        need(is_count(self.round), "round", self.round, "an integer of at least 0")
        need(is_count(self.attempt), "attempt", self.attempt, "an integer of at least 0")

    def __str__(self) -> str:
        return f"run {self.run}, round {self.round}, attempt {self.attempt}"


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose ledger this is. `identity` is random, so that a ledger made anew is another ledger.

    `key` is the Ed25519 key that signs every line, in hexadecimal; empty for a ledger that nobody signs.
    """

    asset: str
    identity: str
    time: int
    key: str = ""

    def __post_init__(self) -> None:
        need_name(self.asset, "asset")
        need(isinstance(self.identity, str) and bool(self.identity), "identity", self.identity, "a text")
        need_time(self.time)
        if self.key != "":
            need_digest(self.key, "key")


@dataclass(frozen=True, slots=True)
class Reserved:
    """A charge, durable before any data is touched. `request` is the SHA-256 of the request, in hexadecimal.

    `server` is who asked: its signing key in hexadecimal, or empty where there is only one.
    """

    address: Address
    request: str
    price: Price
    time: int
    server: str = ""

    def __post_init__(self) -> None:
        need_digest(self.request, "request")
        need_time(self.time)
        need(isinstance(self.server, str) and len(self.server) <= _LONGEST, "server", self.server, "a text")


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome of the charge in line `of`, durable before any byte leaves. `reply` is the SHA-256 of what leaves."""

    of: int
    reply: str
    time: int

    def __post_init__(self) -> None:
        need(is_count(self.of), "of", self.of, "the number of a line")
        need_digest(self.reply, "reply")
        need_time(self.time)


@dataclass(frozen=True, slots=True)
class Survived:
    """So many `survivors` shared the noise of the charge in line `of`, which makes it `event`; the charge stays what it is.

    Said once of a charge, after it was committed, where the number is known (PRIVACY.md 14).
    """

    of: int
    survivors: int
    event: Event
    time: int

    def __post_init__(self) -> None:
        need(is_count(self.of), "of", self.of, "the number of a line")
        need(is_count(self.survivors), "survivors", self.survivors, "an integer of at least 0")
        need_time(self.time)


@dataclass(frozen=True, slots=True)
class Anchored:
    """The anchor was lost, and `by` had it made anew: that nothing was rolled back before is not shown by it."""

    by: str
    time: int

    def __post_init__(self) -> None:
        need_name(self.by, "by")
        need_time(self.time)


Entry: TypeAlias = Heading | Allowed | Reserved | Committed | Survived | Anchored


def chained(previous: bytes, number: int, body: bytes) -> bytes:
    """The digest of line `number`, after a line with digest `previous`."""
    return hashlib.sha256(_TAG + number.to_bytes(8, "big") + previous + body).digest()


def body_of(entry: Entry) -> bytes:
    """The canonical bytes of a line."""
    row: dict[str, Any]
    match entry:
        case Heading(asset, identity, time, key):
            row = {"kind": "ledger", "format": FORMAT, "asset": asset, "identity": identity, "time": time, "key": key}
        case Allowed(currency, delta, limits, by, time, run, replaces):
            row = {
                "kind": "allowed", **_currency_row(currency), "delta": delta, "by": by, "run": run, "replaces": replaces,
                "limits": {each.scope: [_finite(each.epsilon), each.rule] for each in limits}, "time": time,
            }  # fmt: skip
        case Reserved(address, request, price, time, server):
            row = {
                "kind": "reserved", "run": address.run, "round": address.round, "attempt": address.attempt,
                "request": request, "server": server, **_currency_row(price.currency),
                "adversary": price.adversary, "basis": price.basis, "delta_extra": price.delta_extra,
                "event": to_json(price.event), "time": time,
            }  # fmt: skip
        case Committed(of, reply, time):
            row = {"kind": "committed", "of": of, "reply": reply, "time": time}
        case Survived(of, survivors, event, time):
            row = {"kind": "survived", "of": of, "survivors": survivors, "event": to_json(event), "time": time}
        case Anchored(by, time):
            row = {"kind": "anchored", "by": by, "time": time}
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def entry_from(body: bytes) -> Entry:
    """The line that `body_of` wrote; raises `EntryError`, and nothing else, for whatever it did not write."""
    try:
        row = json.loads(body)
        entry = _entry(row) if isinstance(row, dict) else None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EntryError(f"not a line of ledger format {FORMAT} ({_told(error)})") from error
    if entry is None or body_of(entry) != body:
        raise EntryError(f"not a line of ledger format {FORMAT} (an unknown kind, or not in its canonical form)")
    return entry


def _entry(row: Mapping[str, Any]) -> Entry | None:
    match row["kind"]:
        case "ledger" if row["format"] == FORMAT:
            return Heading(row["asset"], row["identity"], row["time"], row["key"])
        case "allowed":
            limits = tuple(Limit(scope, _infinite(pair[0]), pair[1]) for scope, pair in row["limits"].items())
            return Allowed(_currency(row), row["delta"], limits, row["by"], row["time"], row["run"], row["replaces"])
        case "reserved":
            address = Address(row["run"], row["round"], row["attempt"])
            event = from_json(row["event"])
            price = Price(_currency(row), event, row["delta_extra"], row["adversary"], row["basis"])
            return Reserved(address, row["request"], price, row["time"], row["server"])
        case "committed":
            return Committed(row["of"], row["reply"], row["time"])
        case "survived":
            return Survived(row["of"], row["survivors"], from_json(row["event"]), row["time"])
        case "anchored":
            return Anchored(row["by"], row["time"])
        case _:
            return None


def _currency_row(currency: Currency) -> dict[str, Any]:
    return {
        "unit": currency.unit, "relation": currency.relation, "observer": currency.observer.who,
        "colluders": currency.observer.colluders,
    }  # fmt: skip


def _currency(row: Mapping[str, Any]) -> Currency:
    return Currency(row["unit"], row["relation"], Observer(row["observer"], row["colluders"]))


def _finite(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"


def _infinite(value: Any) -> Any:
    return math.inf if value == "inf" else value


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EntryError | EventError) else type(error).__name__
