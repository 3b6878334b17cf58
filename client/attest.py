"""Attest: an owner's signed statement of what a run cost an asset, out of its ledger. Touches no data and charges nothing.

The statement says what the ledger says, and the recipes that were agreed to. That clip and noise ran as these have it, the
owner attests by signing; an agent whose draws follow from a seed signs nothing (PRIVACY.md 10).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..privacy.ledger.certificate import Head, Statement, charged, hidden, signed_statement
from ..privacy.ledger.creation import Clock
from ..privacy.ledger.errors import LedgerError
from ..privacy.ledger.store import Store
from ..privacy.recomputation import priced
from .recipes import Recipes
from .refusal import RefusedError

log = logging.getLogger(__name__)


def no_statement(run: str) -> bytes:
    """What an owner says that signs none."""
    raise RefusedError("this owner signs no statements", "claim")


@dataclass(slots=True)
class Attest:
    """Statements of the owner `number` on the asset whose ledger is `store`, at its own `delta`.

    `roster()` is the digest of the roster that it keeps. Called with a run's name, it gives the signed statement as JSON, or
    raises `RefusedError`. The newest statement is kept, so that asking again costs nothing.
    """

    number: int
    store: Store
    recipes: Recipes
    delta: float
    roster: Callable[[], str]
    clock: Clock
    seeded: bool
    key: Ed25519PrivateKey = field(repr=False)
    _made: tuple[str, int, bytes] = ("", -1, b"")

    def __call__(self, run: str) -> bytes:
        if self.seeded:
            raise RefusedError(
                "every draw of this owner follows from a seed: ε = ∞, and it signs no certificate", "claim"
            )
        try:
            return self._statement(run)
        except (LedgerError, OSError) as error:
            log.error("no statement on run %r: %s", run, error)  # it names files of this machine
            raise RefusedError("this owner's ledger cannot be read now", "ledger") from error

    def _statement(self, run: str) -> bytes:
        account, (head, digest) = self.store.spent(), self.store.head
        if self._made[:2] == (run, head):
            return self._made[2]
        records = account.records(run)
        if not records:
            raise RefusedError(f"nothing was charged here for run {run}", "address")
        currencies = account.currencies(run)
        if len(currencies) != 1:
            raise RefusedError(f"run {run} was charged under different policies, which do not add up", "unit")
        (currency,) = currencies
        prices = {(each.reserved.price.adversary, each.reserved.price.basis) for each in records}
        if len(prices) != 1:
            raise RefusedError(f"the charges of run {run} rest on different assumptions, which do not add up", "claim")
        ((adversary, basis),) = prices
        cost = priced(
            currency, adversary, basis, charged(account, currency, run), account.delta_extra(currency, run), self.delta
        )
        recipes, codes = self.recipes.of(run)
        heading, numbers = self.store.heading, [each.number for each in records]
        made = Statement(
            run, self.number, hidden(heading.asset, heading.identity), cost, recipes, codes, (min(numbers), max(numbers)),
            Head(heading.identity, head, digest.hex()), self.roster(), int(self.clock()),
        )  # fmt: skip
        text = json.dumps(signed_statement(made, self.key).to_json()).encode()
        self._made = run, head, text
        return text
