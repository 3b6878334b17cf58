"""Certifying: at the end of a run its owners are asked for their signed statements, and the coordinator binds them.

What an owner does not give, or gives wrong, makes it *missing* in the certificate and fails nothing: of such an owner the
certificate says nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor

from ..privacy.claim import ClaimError
from ..privacy.event import NonPrivate, Nothing, Repeated
from ..privacy.ledger.certificate import (
    Binding,
    Certificate,
    CertificateError,
    Cost,
    Head,
    Missing,
    Signed,
    signed_binding,
    statement_in,
)
from ..privacy.ledger.creation import Clock
from ..privacy.ledger.currency import Currency
from ..privacy.ledger.field import EntryError
from ..privacy.ledger.store import Store
from ..privacy.recomputation import priced
from ..strategies import roster
from ..strategies.essence import essence
from ..strategies.federation import Federation
from ..strategies.messages import Reply
from ..strategies.modelfile import digest_of
from ..strategies.roster import Roster
from ..strategies.steps import Certify
from ..strategies.transport import Transport
from ..tasks.task import initial
from .runs import ServedRun
from .whole import write_whole

log = logging.getLogger(__name__)

_DEADLINE = 30.0  # seconds that owners have for their statements
_SEED = "every draw follows from a seed"


@dataclass(frozen=True, slots=True)
class Notary:
    """Who binds certificates: the coordinator by its signing key. `roster()` are the owners as they are enrolled now."""

    key: Ed25519PrivateKey = field(repr=False)
    roster: Callable[[], Roster]
    clock: Clock

    def certify(
        self, run: ServedRun, federation: Federation, seated: Transport, store: Store, rounds: int, weights: Tensor
    ) -> Certificate:
        """The certificate of a run after so many `rounds`, in its folder too; `seated` carries by seats.

        Raises `OSError` where it cannot be written, and what `roster()` and the ledger raise.
        """
        order, known = run.order(), self.roster()
        keys = {entry.number: entry.key for entry in known.entries}
        asked = [Certify(run.name, seat) for seat in range(len(order.seats))]
        replies = {
            each.owners[0]: each for each in seated.gather(asked, min(_DEADLINE, federation.config.rounds.deadline))
        }
        found: dict[int, Signed] = {}
        missing: list[Missing] = []
        for seat, number in sorted(enumerate(order.seats), key=lambda each: each[1]):
            given = _given(run.name, number, replies.get(seat), keys)
            if isinstance(given, Signed):
                found[number] = given
            else:
                log.warning("run %s: no statement of owner number %d: %s", run.name, number, given.reason)
                missing.append(given)
        text = roster.sign(known, self.key)
        charges, (head, digest) = max(len(store.spent().records(run.name)), rounds), store.head
        recipe = federation.recipe(federation.pipeline.at(federation.pipeline.initial()))
        binding = Binding(
            run=run.name, config=federation.config.digest(), recipe=essence(recipe), code=recipe.terms.code,
            rounds=rounds, charges=charges, model=_model(federation, weights), seeded=order.seed is not None,
            claims=tuple(costs(federation, charges, order.seed)), head=Head(store.heading.identity, head, digest.hex()),
            statements=tuple((number, each.digest) for number, each in found.items()), missing=tuple(missing),
            roster=hashlib.sha256(text.encode()).hexdigest(), key=self.key.public_key().public_bytes_raw().hex(),
            time=int(self.clock()),
        )  # fmt: skip
        made = Certificate(signed_binding(binding, self.key), tuple(found.values()), text)
        write_whole(run.certificate, made.to_bytes())
        return made


def costs(federation: Federation, charges: int, seed: int | None) -> Iterable[Cost]:
    """What so many releases cost against each observer of whom something can be said; under a seed every ε is infinite."""
    try:
        claims = federation.claims(charges)
    except ClaimError as error:  # nothing was charged then: the run was refused before its first round
        log.warning("no claim for the certificate: %s", error)
        return
    for claim in claims:
        event, count = (claim.event.of, claim.event.count) if isinstance(claim.event, Repeated) else (claim.event, 1)
        currency, extra = Currency(claim.unit, claim.relation, claim.observer), claim.delta_extra
        if seed is not None:
            event, count, extra = NonPrivate(_SEED), 1, 0.0
        events = ((event, count),) if count and not isinstance(event, Nothing) else ()
        yield priced(currency, claim.adversary, claim.basis, events, extra, federation.delta)


def _model(federation: Federation, weights: Tensor) -> str:
    """The digest of the task's model with these trained numbers `[d]`."""
    slots = federation.task.trainable(initial(federation.task, 0)).layout
    numbers = weights.detach().cpu().numpy().astype("<f4").tobytes()
    return digest_of([(slot.name, slot.shape) for slot in slots], numbers)


def _given(run: str, number: int, reply: Reply | None, keys: Mapping[int, bytes]) -> Signed | Missing:
    """The statement in a reply, checked to be that of the owner `number` on `run`."""
    if reply is None:
        return Missing(number, "silent", "it gave no answer in time")
    if number not in keys:
        return Missing(number, "revoked", "it is not enrolled any more")
    if reply.status != "ok" or reply.payload is None:
        return Missing(number, reply.code or reply.status, reply.reason or "it gave no statement")
    try:
        signed = Signed(**json.loads(reply.payload))
        statement = statement_in(signed, keys[number])
    except (CertificateError, EntryError, ValueError, TypeError, RecursionError) as error:
        return Missing(number, "statement", f"what it gave is no statement of its own ({type(error).__name__})")
    if (statement.run, statement.number) != (run, number):
        return Missing(number, "statement", "what it gave is a statement on something else")
    return signed
