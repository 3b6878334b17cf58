"""Session: one contribution for each attempt, paid before the data is touched, and the same bytes for the same request.

    request → known? → policy → charge on the disk → data touched → reply on the disk → commit → bytes leave

| what comes                                              | what goes back                        | cost      |
|---------------------------------------------------------|---------------------------------------|-----------|
| an attempt not seen before, within policy and budget    | a contribution with fresh noise       | in full   |
| the byte-identical request of an attempt that was paid  | the stored reply, byte for byte       | none      |
| the same, its outcome unknown or its reply acknowledged | a refusal                             | none more |
| other bytes for an attempt that was paid                | a refusal                             | none more |

Rules 12, 14, 15 and 16 of PRIVACY.md. What is refused depends on requests, policy and ledger, never on data: where training
breaks on the data, the contribution of an owner without examples takes its place, noise included, and only the owner's log
tells. A crash leaves an open reservation, which stays charged in full, and its attempt is refused from then on.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from ..privacy.ledger.account import Account, Record
from ..privacy.ledger.entry import Address, EntryError, Price
from ..privacy.ledger.errors import CorruptError, LedgerError, TakenError
from ..privacy.ledger.store import Step, Store
from ..privacy.pipeline import Env
from ..privacy.updates import Dense
from ..strategies.messages import Reply, Request, request_from
from .refusal import RefusedError
from .replies import Replies
from .worker import Plan, Worker, agreed, refusal_of

log = logging.getLogger(__name__)

# What training can raise on data: numbers, shapes, memory of the machine or its accelerator, files read on the way.
_BREAKS = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


class Policy(Protocol):
    """What an owner permits, and what it costs."""

    def check(self, request: Request, plan: Plan, spent: Account) -> Price:
        """The price of one attempt: its event at the floor of the schedule (PRIVACY.md 14).

        Raises `RefusedError` where the plan is not permitted or does not fit beside what was spent; looks at no data. It is
        called while nobody else can charge the asset.
        """
        ...


def _nowhere(step: str) -> None:
    return


class Session:
    """What one owner does with the requests for one asset, whoever sends them and however often.

    `worker(request)` is the owner's half of the run that a request belongs to; it raises `RefusedError` for what it does not
    know and looks at no example. `attempts` is the most that one round may charge. `step` is called with the name of each
    step before the next one: the place to stop a process in a test. Threads may share a session; requests take turns.
    """

    def __init__(
        self, worker: Callable[[Request], Worker], policy: Policy, store: Store, replies: Replies, attempts: int,
        step: Step = _nowhere,
    ) -> None:  # fmt: skip
        """Goes on from what the folder holds; raises `LedgerError` where that is newer than the ledger."""
        self._worker = worker
        self._policy = policy
        self._store = store
        self._replies = replies
        self._attempts = attempts
        self._step = step
        self._lock = threading.Lock()
        self._settle()

    def handle(self, frame: bytes) -> bytes:
        """The reply frame to a request frame. Raises `CodecError`, before anything is done, for what is no request."""
        request = request_from(frame)
        digest = hashlib.sha256(frame).hexdigest()
        with self._lock:
            try:
                return self._answer(request, digest)
            except RefusedError as refusal:
                log.info("run %r, round %d refused: %s", request.run, request.round, refusal)
                return refusal_of(request, request.owner, refusal).to_bytes()

    def acknowledge(self, run: str) -> None:
        """Forget the kept replies of a run that is over; their attempts stay charged and are refused from now on."""
        with self._lock:
            self._forget(run)

    def _answer(self, request: Request, digest: str) -> bytes:
        try:
            address = Address(request.run, request.round, request.attempt)
        except EntryError as error:
            raise RefusedError(str(error), "address") from error
        try:
            known = self._store.find(address)
            if known is None:
                worker = self._worker(request)
                if request.owner != worker.owner:
                    raise RefusedError(
                        f"the request is for owner {request.owner}; this is owner {worker.owner}", "address"
                    )
                plan = agreed(request, worker.learner)
                number = self._store.reserve(address, digest, lambda spent: self._price(request, plan, spent))
        except TakenError:  # by another process, a moment ago
            raise _unknown(address) from None
        except LedgerError as error:
            log.error("%s", error)  # it names files of this machine
            raise RefusedError(
                "this owner's ledger takes no charge now", "ledger", "its administrator finds the cause in its log"
            ) from error
        if known is not None:
            return self._again(known, digest)
        self._step("reserved")
        return self._fresh(number, worker, request, plan)

    def _price(self, request: Request, plan: Plan, spent: Account) -> Price:
        if spent.attempts(request.run, request.round) >= self._attempts:
            raise RefusedError(
                f"round {request.round} has had its {self._attempts} attempts", "rounds", "go on with the next round"
            )
        return self._policy.check(request, plan, spent)

    def _again(self, record: Record, digest: str) -> bytes:
        """The stored reply of an attempt that was paid, for the byte-identical request only."""
        address = record.reserved.address
        if record.reserved.request != digest:
            raise RefusedError(f"{address} was asked for in other words", "session", "ask under a new attempt")
        if record.reply is None:
            raise _unknown(address)
        try:
            reply = self._replies.read(record.number)
        except OSError as error:
            log.error("the stored reply of %s cannot be read: %s", address, error)
            raise _unknown(address) from error
        if reply is None:
            raise RefusedError(f"{address} was answered, and a later round asked for since", "session")
        if hashlib.sha256(reply).hexdigest() != record.reply:
            log.error("the stored reply of %s is not what was made; it is not sent", address)
            raise _unknown(address)
        return reply

    def _fresh(self, number: int, worker: Worker, request: Request, plan: Plan) -> bytes:
        """The contribution that line `number` pays for; nothing from here on depends on the data but its numbers."""
        where = (request.run, request.round, request.attempt, (worker.owner,))
        try:
            total, ring = contribution(worker, request, plan)
        except _BREAKS as fault:  # without any data, too: so says nothing of it
            log.error("round %d of run %r breaks this owner's machine: %r", request.round, request.run, fault)
            return Reply(*where, "failed", reason="this owner's machine cannot compute the recipe").to_bytes()
        self._step("contributed")
        reply = Reply(*where, "ok", total, ring).to_bytes()
        try:
            self._replies.keep(number, reply)
            self._step("stored")
            self._store.commit(number, hashlib.sha256(reply).hexdigest())
        except (LedgerError, OSError) as error:
            # Whatever was made stays here, because it could not be sent a second time.
            log.error("round %d of run %r was trained but cannot be kept: %s", request.round, request.run, error)
            return Reply(*where, "failed", reason="this owner's disk did not take the reply").to_bytes()
        self._step("committed")
        try:
            self._forget(request.run, but=number)
        except (LedgerError, OSError) as error:
            log.warning("earlier replies of run %r cannot be removed: %s", request.run, error)
        return reply

    def _forget(self, run: str, but: int = -1) -> None:
        """Drop the kept replies of a run: asking for a later one acknowledges them."""
        for number in self._replies.numbers():
            record = self._store.record(number)
            if number != but and record is not None and record.reserved.address.run == run:
                self._replies.drop(number)

    def _settle(self) -> None:
        """After a start: what a crash left behind is removed; what the ledger does not know stops everything."""
        self._replies.sweep()
        for number in self._replies.numbers():
            record = self._store.record(number)
            if record is None:
                raise CorruptError(
                    f"{self._store.path}: older than the reply to its line {number}, which was paid for after it; restore "
                    f"the ledger from a copy made since its last charge"
                )
            if record.reply is None:
                self._replies.drop(number)  # it never left, and never will


def contribution(worker: Worker, request: Request, plan: Plan) -> tuple[Tensor, int | None]:
    """The worker's message `[d']` and its ring, as long and as noisy whatever its examples are (PRIVACY.md 12).

    Where training breaks on them, the zero vector takes its place; where the solver adds the noise, the update of no examples.
    """
    try:
        return worker.contribute(request)
    except _BREAKS as fault:
        worker.on_fault(worker.owner, request.round, f"training broke ({type(fault).__name__}; look at the data)")
    if plan.pipeline.source.prior is not None:
        return replace(worker, examples=worker.examples.subset([])).contribute(request)
    nothing = Dense(torch.zeros(1, plan.pipeline.source.dim))
    unmeasured = torch.zeros(1, plan.pipeline.final.measured)
    env = Env(worker.entropy, request.round, request.attempt, (worker.owner,), measures=unmeasured)
    return plan.pipeline.send(nothing, env).dense()[0], plan.pipeline.final.ring


def _unknown(address: Address) -> RefusedError:
    return RefusedError(f"what became of {address} is not known here", "session", "ask under a new attempt")
