"""Certificate: what a run cost, as each of its owners signed it, bound together and signed by the coordinator.

    statement signature = Ed25519(owner,       "tacit statement 1\\0"   | text of the statement)
    binding signature   = Ed25519(coordinator, "tacit certificate 1\\0" | text of the binding)

Texts are JSON in ASCII with sorted keys and no spaces, and the file is such JSON too, so that every byte of it is either
signed or has one value only. The binding names each statement and the roster by SHA-256. What the numbers rest on is attested
by who signs; that they follow from the events is for the reader to work out again (`privacy.recomputation`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..claim import Adversary, Basis, Observer
from ..event import Composed, Event, EventError, Repeated, from_json, to_json
from .account import Account
from .currency import Currency
from .field import EntryError, is_count, is_real, need, need_digest, need_name, need_time

FORMAT = 1
_STATEMENT, _BINDING, _ASSET = b"tacit statement 1\0", b"tacit certificate 1\0", b"tacit asset 1\0"
_MOST = 8 << 20  # characters of a file
_LONGEST = 300

Row: TypeAlias = dict[str, Any]
_Value = TypeVar("_Value", "Statement", "Binding")


class CertificateError(RuntimeError):
    """A certificate that is not what its signers signed, or that says what does not follow; says which line of it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What so many releases cost: `events` with how often each was charged, and the ε that follows at `delta`.

    `delta_extra` is the total variation between what ran and what is accounted, of all releases together.
    """

    currency: Currency
    adversary: Adversary
    basis: Basis
    events: tuple[tuple[Event, int], ...]
    delta_extra: float
    delta: float
    epsilon: float

    def __post_init__(self) -> None:
        need(self.adversary in get_args(Adversary), "adversary", self.adversary, "one that claims know")
        need(self.basis in get_args(Basis), "basis", self.basis, "one that claims know")
        need(is_real(self.delta_extra) and self.delta_extra >= 0, "delta_extra", self.delta_extra, "at least 0")
        need(is_real(self.delta) and 0 < self.delta < 1, "delta", self.delta, "in (0, 1)")
        need(_is_epsilon(self.epsilon), "epsilon", self.epsilon, "a number of at least 0, or inf")
        need(all(is_count(count) and count > 0 for _, count in self.events), "events", "a count", "at least 1")

    @property
    def event(self) -> Event:
        """All of it as one event, for an accountant."""
        return Composed(tuple(Repeated(event, count) for event, count in self.events))

    @property
    def charges(self) -> int:
        """How many releases were charged."""
        return sum(count for _, count in self.events)

    def to_json(self) -> Row:
        """The cost as it is signed."""
        return {
            "unit": self.currency.unit, "relation": self.currency.relation, "observer": self.currency.observer.who,
            "colluders": self.currency.observer.colluders, "adversary": self.adversary, "basis": self.basis,
            "events": [{"event": to_json(event), "count": count} for event, count in self.events],
            "delta_extra": self.delta_extra, "delta": self.delta,
            "epsilon": self.epsilon if math.isfinite(self.epsilon) else "inf",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """Line `number` of the ledger with the random `identity`, and its digest, which stands for all lines up to it."""

    identity: str
    number: int
    digest: str

    def __post_init__(self) -> None:
        need_name(self.identity, "identity")
        need(is_count(self.number), "number", self.number, "the number of a line")
        need_digest(self.digest, "digest")

    def to_json(self) -> Row:
        """The head as it is signed."""
        return {"identity": self.identity, "number": self.number, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Statement:
    """What one owner says that a run cost one of its assets.

    `asset` hides the asset's name (`hidden`); `recipes` are the digests of what it agreed to do, `codes` the versions of the
    code that did it; `lines` are the first and the last line of its ledger that charge the run.
    """

    run: str
    number: int
    asset: str
    cost: Cost
    recipes: tuple[str, ...]
    codes: tuple[str, ...]
    lines: tuple[int, int]
    head: Head
    roster: str
    time: int

    def __post_init__(self) -> None:
        need_name(self.run, "run")
        need(is_count(self.number), "number", self.number, "the number of an owner")
        need_digest(self.asset, "asset")
        need_digest(self.roster, "roster")
        need_time(self.time)
        for recipe in self.recipes:
            need_digest(recipe, "recipes")
        for code in self.codes:
            _need_text(code, "codes")
        first, last = self.lines
        need(is_count(first) and is_count(last) and 0 < first <= last, "lines", self.lines, "two lines after line 0")
        # A ledger gains at least one line with each charge: a head before the last of them is that of an older copy.
        holds = last <= self.head.number and last - first + 1 >= self.cost.charges
        need(holds, "head", self.head.number, f"at or after {self.cost.charges} charges in lines {first} to {last}")

    def to_json(self) -> Row:
        """The statement as it is signed."""
        return {
            "kind": "statement", "format": FORMAT, "run": self.run, "number": self.number, "asset": self.asset,
            "cost": self.cost.to_json(), "recipes": list(self.recipes), "codes": list(self.codes),
            "lines": list(self.lines), "head": self.head.to_json(), "roster": self.roster, "time": self.time,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Missing:
    """An owner of the run without a statement: of it, nothing is said. `code` is for programs, `reason` for people."""

    number: int
    code: str
    reason: str

    def __post_init__(self) -> None:
        need(is_count(self.number), "number", self.number, "the number of an owner")
        need(isinstance(self.code, str) and len(self.code) <= 30, "code", self.code, "a short word")
        need(isinstance(self.reason, str) and len(self.reason) <= 4096, "reason", self.reason, "a text")

    def to_json(self) -> Row:
        """The owner as it is listed."""
        return {"number": self.number, "code": self.code, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Binding:
    """What the coordinator says of the run: its claims, and whose statements there are.

    | field      | is                                                                                                 |
    |------------|----------------------------------------------------------------------------------------------------|
    | config     | SHA-256 of the resolved configuration, as checkpoints carry it                                     |
    | recipe     | the digest of what owners were asked to do                                                         |
    | rounds     | rounds of the final model; `charges` also counts releases that were lost                           |
    | model      | SHA-256 of the final model's numbers (32-bit floats, little-endian, in the order of its layout)    |
    | seeded     | whether all draws follow from a seed: nothing is private then                                      |
    | claims     | what it cost against each observer of whom something can be said                                   |
    | statements | SHA-256 of each statement's text, by owner's number                                                |
    | roster     | SHA-256 of the signed roster, as it stands in the file                                             |
    """

    run: str
    config: str
    recipe: str
    code: str
    rounds: int
    charges: int
    model: str
    seeded: bool
    claims: tuple[Cost, ...]
    head: Head
    statements: tuple[tuple[int, str], ...]
    missing: tuple[Missing, ...]
    roster: str
    key: str
    time: int

    def __post_init__(self) -> None:
        need_name(self.run, "run")
        for name in ("config", "recipe", "model", "roster", "key"):
            need_digest(getattr(self, name), name)
        _need_text(self.code, "code")
        need(isinstance(self.seeded, bool), "seeded", self.seeded, "true or false")
        need(is_count(self.rounds) and self.rounds > 0, "rounds", self.rounds, "at least 1")
        need(is_count(self.charges) and self.charges >= self.rounds, "charges", self.charges, f"at least {self.rounds}")
        for number, digest in self.statements:
            need(is_count(number), "number", number, "the number of an owner")
            need_digest(digest, "statements")
        numbers = [*(number for number, _ in self.statements), *(each.number for each in self.missing)]
        need(len(set(numbers)) == len(numbers), "statements", "an owner twice", "each owner once")
        need_time(self.time)
        holds = not self.seeded or all(math.isinf(each.epsilon) for each in self.claims)
        need(holds, "claims", "a finite ε", "infinite, because every draw follows from a seed")

    def to_json(self) -> Row:
        """The binding as it is signed."""
        return {
            "kind": "certificate", "format": FORMAT, "run": self.run, "config": self.config, "recipe": self.recipe,
            "code": self.code, "rounds": self.rounds, "charges": self.charges, "model": self.model,
            "seeded": self.seeded, "claims": [each.to_json() for each in self.claims], "head": self.head.to_json(),
            "statements": [{"number": number, "sha256": digest} for number, digest in self.statements],
            "missing": [each.to_json() for each in self.missing], "roster": self.roster, "key": self.key,
            "time": self.time,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signed:
    """A text and its Ed25519 signature, in hexadecimal."""

    text: str = field(repr=False)
    signature: str = field(repr=False)

    def __post_init__(self) -> None:
        need(isinstance(self.text, str), "text", self.text, "a text")
        holds = isinstance(self.signature, str) and len(self.signature) == 128
        need(holds and not set(self.signature) - set("0123456789abcdef"), "signature", self.signature, "128 digits")

    def to_json(self) -> Row:
        """As it stands in the file."""
        return {"text": self.text, "signature": self.signature}

    @property
    def digest(self) -> str:
        """SHA-256 of text and signature, hexadecimal."""
        return hashlib.sha256(f"{self.text}\0{self.signature}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The file: the coordinator's binding, the owners' statements in the order of the binding, and the signed roster."""

    binding: Signed
    statements: tuple[Signed, ...]
    roster: str = field(repr=False)

    def to_bytes(self) -> bytes:
        """The file's content, ended by one line feed."""
        row = {"certificate": self.binding.to_json(), "roster": self.roster,
               "statements": [each.to_json() for each in self.statements]}  # fmt: skip
        return (_canonical(row) + "\n").encode()


def hidden(asset: str, identity: str) -> str:
    """An asset's name as strangers see it: hashed with the random identity of its ledger, so that it cannot be guessed."""
    return hashlib.sha256(_ASSET + identity.encode() + b"\0" + asset.encode()).hexdigest()


def signed_statement(statement: Statement, key: Ed25519PrivateKey) -> Signed:
    """The statement with the owner's signature."""
    return _signed(_STATEMENT, statement.to_json(), key)


def signed_binding(binding: Binding, key: Ed25519PrivateKey) -> Signed:
    """The binding with the coordinator's signature."""
    return _signed(_BINDING, binding.to_json(), key)


def statement_in(signed: Signed, key: bytes) -> Statement:
    """The statement that the holder of the Ed25519 `key` (`[32]` bytes) signed; raises `CertificateError`."""
    return _opened(signed, _STATEMENT, key, statement_from)


def binding_in(signed: Signed) -> Binding:
    """The binding, signed by the key that it names; raises `CertificateError`. Whose key that is, the roster says."""
    try:
        named = bytes.fromhex(json.loads(signed.text)["key"])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise CertificateError("the certificate names no key; ask the coordinator for the file again") from None
    return _opened(signed, _BINDING, named, binding_from)


def certificate_in(content: bytes) -> Certificate:
    """The certificate in a file, no signature checked yet; raises `CertificateError` unless each byte is as it was written."""
    try:
        if len(content) > _MOST:
            raise CertificateError(f"a file of {len(content)} bytes is no certificate; at most {_MOST}")
        row = json.loads(content)
        found = Certificate(
            Signed(**row["certificate"]), tuple(Signed(**each) for each in row["statements"]), row["roster"]
        )
        if found.to_bytes() == content:
            return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CertificateError(f"not a certificate of this format ({_told(error)})") from error
    raise CertificateError("not a certificate as it was written: bytes were changed; ask for the file again")


def statement_from(row: Row) -> Statement:
    """The statement that `to_json` wrote; raises `EntryError`, `EventError`, `LookupError`, `TypeError` for others."""
    first, last = row["lines"]
    return Statement(
        row["run"], row["number"], row["asset"], cost_from(row["cost"]), tuple(row["recipes"]), tuple(row["codes"]),
        (first, last), Head(**row["head"]), row["roster"], row["time"],
    )  # fmt: skip


def binding_from(row: Row) -> Binding:
    """The binding that `to_json` wrote; raises as `statement_from`."""
    return Binding(
        row["run"], row["config"], row["recipe"], row["code"], row["rounds"], row["charges"], row["model"],
        row["seeded"], tuple(cost_from(each) for each in row["claims"]), Head(**row["head"]),
        tuple((each["number"], each["sha256"]) for each in row["statements"]),
        tuple(Missing(**each) for each in row["missing"]), row["roster"], row["key"], row["time"],
    )  # fmt: skip


def cost_from(row: Row) -> Cost:
    """The cost that `to_json` wrote; raises as `statement_from`."""
    return Cost(
        Currency(row["unit"], row["relation"], Observer(row["observer"], row["colluders"])), row["adversary"],
        row["basis"], tuple((from_json(each["event"]), each["count"]) for each in row["events"]), row["delta_extra"],
        row["delta"], math.inf if row["epsilon"] == "inf" else row["epsilon"],
    )  # fmt: skip


def charged(account: Account, currency: Currency, run: str) -> tuple[tuple[Event, int], ...]:
    """What a run was charged, in the order of the events' canonical text."""
    found = account.events(currency, run).items()
    return tuple(sorted(found, key=lambda each: _canonical(to_json(each[0]))))


def _signed(tag: bytes, row: Row, key: Ed25519PrivateKey) -> Signed:
    text = _canonical(row)
    return Signed(text, key.sign(tag + text.encode()).hex())


def _opened(signed: Signed, tag: bytes, key: bytes, read: Callable[[Row], _Value]) -> _Value:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signed.signature), tag + signed.text.encode())
    except (InvalidSignature, ValueError):
        raise CertificateError(
            "not signed by the key that has to have signed it: it was changed, or is forged"
        ) from None
    try:
        found = read(json.loads(signed.text))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CertificateError(f"signed, but not of format {FORMAT} ({_told(error)})") from error
    if _canonical(found.to_json()) != signed.text:
        raise CertificateError(f"signed, but not of format {FORMAT} (not in its canonical form)")
    return found


def _canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _is_epsilon(value: object) -> bool:
    return (is_real(value) and value >= 0) or value == math.inf


def _need_text(text: object, name: str) -> None:
    need(isinstance(text, str) and 0 < len(text) <= _LONGEST and text.isprintable(), name, text, "a short text")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EntryError | EventError) else type(error).__name__
