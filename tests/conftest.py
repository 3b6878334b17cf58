"""Settings of all tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings

# Before anything loads torch: two test workers with two threads each take many times as long as with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test is timed: a busy machine would fail it. Examples are the same in every run, so that main passes or fails for
# everybody alike; `HYPOTHESIS_PROFILE=explore` looks for new ones.
settings.register_profile("tacit", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tacit"))


@dataclass
class Sealing:
    """A run of two owners that signed, and one that did not; what a certificate is made of, to be made otherwise."""

    owners: Mapping[int, Any]
    coordinator: Any
    roster: Any
    statements: Mapping[int, Any]
    binding: Any

    def signed(self, number: int, /, **changes: Any) -> Any:
        """The statement of an owner, with some fields otherwise."""
        from tacit.privacy.ledger.certificate import signed_statement

        return signed_statement(replace(self.statements[number], **changes), self.owners[number])

    def file(self, statements: Sequence[Any] | None = None, key: Any = None, text: str = "", **changes: Any) -> bytes:
        """The certificate, bound honestly whatever is in it, with some fields of the binding otherwise."""
        from tacit.privacy.ledger.certificate import Certificate, signed_binding
        from tacit.strategies import roster

        found = [self.signed(number) for number in self.statements] if statements is None else statements
        text = text or roster.sign(self.roster, self.coordinator)
        named = tuple((number, each.digest) for number, each in zip(self.statements, found, strict=True))
        given = {"statements": named, "roster": hashlib.sha256(text.encode()).hexdigest(), **changes}
        bound = signed_binding(replace(self.binding, **given), key or self.coordinator)
        return Certificate(bound, tuple(found), text).to_bytes()


@pytest.fixture(scope="session")
def sealing() -> Sealing:
    """Three releases of a Gaussian to two owners, charged on ledgers that are only told of."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from tacit.privacy.claim import Observer
    from tacit.privacy.event import Gaussian
    from tacit.privacy.ledger.certificate import Binding, Head, Missing, Statement, hidden
    from tacit.privacy.ledger.currency import Currency
    from tacit.privacy.recomputation import priced
    from tacit.strategies.roster import Entry, Roster

    coordinator, *keys = (Ed25519PrivateKey.from_private_bytes(bytes([index]) * 32) for index in range(1, 5))
    owners = dict(enumerate(keys, 1))
    entries = (Entry(number, f"ward-{number}", key.public_key().public_bytes_raw()) for number, key in owners.items())
    roster = Roster(bytes(32), 3, tuple(entries))
    currency = Currency("owner", "zero-out", Observer("server", 1))
    cost = priced(currency, "semi-honest", "statistical", ((Gaussian(9.0), 3),), 1e-12, 1e-5)
    statements = {
        number: Statement(
            "run-1", number, hidden("ward", f"id-{number}"), cost, ("a" * 64,), ("tacit 0.1.0",), (2, 6),
            Head(f"id-{number}", 7, "c" * 64), roster.digest().hex(), 1_700_000_000,
        )
        for number in (1, 2)
    }  # fmt: skip
    binding = Binding(
        "run-1", "b" * 64, "a" * 64, "tacit 0.1.0", 3, 3, "d" * 64, False, (cost,), Head("id-0", 7, "e" * 64), (),
        (Missing(3, "silent", "it gave no answer in time"),), "f" * 64,
        coordinator.public_key().public_bytes_raw().hex(), 1_700_000_001,
    )  # fmt: skip
    return Sealing(owners, coordinator, roster, statements, binding)
