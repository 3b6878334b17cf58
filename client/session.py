"""Session: one contribution for each attempt, paid before the data is touched, and the same bytes for the same request.

    request → known? → policy → charge on the disk → data touched → reply on the disk → commit → bytes leave

| what comes                                              | what goes back                        | cost      |
|---------------------------------------------------------|---------------------------------------|-----------|
| an attempt not seen before, within policy and budget    | a contribution with fresh noise       | in full   |
| the byte-identical request of an attempt that was paid  | the stored reply, byte for byte       | none      |
| the same, its outcome unknown or its reply acknowledged | a refusal                             | none more |
| other bytes for an attempt that was paid                | a refusal                             | none more |

Under masks one attempt takes several steps (`strategies.steps`), each answered once; the same bytes again get the same answer
while this process lives, other bytes end the attempt. The data is touched in the step that sends the masked vector, which is
stored and committed like a message in the clear; but secrets are in memory only, so after a restart the attempt is refused.

Rules 12, 14, 15 and 16 of PRIVACY.md. What is refused depends on requests, policy and ledger, never on data: where training
breaks on the data, the contribution of an owner without examples takes its place, noise included, and only the owner's log
tells. A crash leaves an open reservation, which stays charged in full, and its attempt is refused from then on.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from ..privacy.event import Event
from ..privacy.ledger.account import Account, Record
from ..privacy.ledger.entry import Address, EntryError, Price
from ..privacy.ledger.errors import CorruptError, LedgerError, TakenError
from ..privacy.ledger.store import Step as Moment
from ..privacy.ledger.store import Store
from ..privacy.pipeline import Env
from ..privacy.updates import Dense
from ..strategies.messages import Recipe, Reply, Request
from ..strategies.steps import VECTOR, Asked, Certify, Step, asked_in
from .attest import no_statement
from .refusal import Code, RefusedError
from .replies import Replies
from .turn import Circles, Turn, no_circle
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


def _unnoted(run: str, recipe: Recipe) -> None:
    return


def unknown_outcome(request: Request, plan: Plan, survivors: int) -> Event | None:
    """What an owner notes of survivors that notes nothing."""
    return None


Realise: TypeAlias = Callable[[Request, Plan, int], Event | None]


class Session:
    """What one owner does with the requests for one asset, whoever sends them and however often.

    `worker(request)` is the owner's half of the run that a request belongs to; it raises `RefusedError` for what it does not
    know and looks at no example. `attempts` is the most that one round may charge. `step` is called with the name of each
    step before the next one: the place to stop a process in a test. `circles` gives the cohort of a masked attempt as this
    owner knows it. `note` is told each recipe before its charge; `attest` gives the signed statement of what a run cost;
    `realise` says what the survivors of a masked attempt made of its event, which the ledger notes and never charges by.
    Threads may share a session; requests take turns.
    """

    def __init__(
        self, worker: Callable[[Request], Worker], policy: Policy, store: Store, replies: Replies, attempts: int,
        step: Moment = _nowhere, circles: Circles = no_circle, note: Callable[[str, Recipe], None] = _unnoted,
        attest: Callable[[str], bytes] = no_statement, realise: Realise = unknown_outcome,
    ) -> None:  # fmt: skip
        """Goes on from what the folder holds; raises `LedgerError` where that is newer than the ledger."""
        self._worker = worker
        self._policy = policy
        self._store = store
        self._replies = replies
        self._attempts = attempts
        self._step = step
        self._circles = circles
        self._note = note
        self._attest = attest
        self._realise = realise
        self._turns: dict[Address, _Seat] = {}
        self._lock = threading.Lock()
        self._settle()

    def handle(self, frame: bytes) -> bytes:
        """The reply frame to the frame of a request or step. Raises `CodecError`, before anything is done, for neither."""
        asked = asked_in(frame)
        digest = hashlib.sha256(frame).hexdigest()
        with self._lock:
            try:
                if isinstance(asked, Certify):
                    return self._certified(asked)
                return self._answer(asked, digest) if isinstance(asked, Request) else self._further(asked, digest)
            except RefusedError as refusal:
                log.info("run %r, round %d refused: %s", asked.run, asked.round, refusal)
                return refusal_of(asked, asked.owner, refusal).to_bytes()

    def holds(self, asked: Asked) -> bool:
        """Whether what is asked belongs to a masked attempt that is under way here."""
        with self._lock:
            return any((at.run, at.round, at.attempt) == (asked.run, asked.round, asked.attempt) for at in self._turns)

    def charged(self, run: str) -> bool:
        """Whether anything was charged here for a run. Raises `LedgerError`."""
        return bool(self._store.spent().records(run))

    def acknowledge(self, run: str) -> None:
        """Forget the kept replies of a run that is over; their attempts stay charged and are refused from now on."""
        with self._lock:
            self._end(run)
            self._forget(run)

    def _answer(self, request: Request, digest: str) -> bytes:
        address = _address(request)
        try:
            known = self._store.find(address)
            if known is None:
                worker = self._worker(request)
                if request.owner != worker.owner:
                    raise RefusedError(
                        f"the request is for owner {request.owner}; this is owner {worker.owner}", "address"
                    )
                plan = agreed(request, worker.learner)
                seats: list[Turn] = []

                def decide(spent: Account) -> Price:
                    price = self._price(request, plan, spent)
                    seats.extend(self._turn(worker, request, plan))
                    self._noted(request)
                    return price

                number = self._store.reserve(address, digest, decide)
        except TakenError:  # by another process, a moment ago
            raise _unknown(address) from None
        except LedgerError as error:
            log.error("%s", error)  # it names files of this machine
            raise RefusedError(
                "this owner's ledger takes no charge now", "ledger", "its administrator finds the cause in its log"
            ) from error
        if known is not None:
            seat = self._turns.get(address)
            if seat is not None and (answer := seat.answer(1, digest)) is not None:
                return answer
            if request.cohort is not None and known.reserved.request == digest:
                raise _unknown(address)  # its secrets went with the process that had them
            return self._again(known, digest)
        self._step("reserved")
        for turn in seats:
            return self._begun(address, number, worker.owner, turn, digest, request, plan)
        return self._fresh(number, worker, request, plan)

    def _certified(self, asked: Certify) -> bytes:
        """The signed statement of what a run cost: from the ledger alone, charged nothing."""
        where = (asked.run, asked.round, asked.attempt, (asked.owner,))
        return Reply(*where, "ok", payload=self._attest(asked.run)).to_bytes()

    def _turn(self, worker: Worker, request: Request, plan: Plan) -> list[Turn]:
        """The turn of a masked attempt; none where messages leave in the clear. Raises `RefusedError`; looks at no data."""
        if request.cohort is None and not plan.pipeline.final.masked:
            return []
        if request.cohort is None or not plan.pipeline.final.masked:
            raise RefusedError(
                "a mask without a cohort, or a cohort without a mask", "mask", "ask with both or neither"
            )
        circle = self._circles(request.cohort)
        if circle.index != request.owner:
            raise RefusedError(f"the request is for owner {request.owner}; this is owner {circle.index}", "address")
        return [Turn(request, plan, circle, worker.entropy, lambda: contribution(worker, request, plan)[0])]

    def _begun(
        self, address: Address, number: int, owner: int, turn: Turn, digest: str, request: Request, plan: Plan
    ) -> bytes:
        """The answer to the request of a masked attempt; the earlier attempts of its run end here."""
        self._end(address.run)
        seat = _Seat(number, owner, turn, lambda survivors: self._realise(request, plan, survivors))
        reply = turn.begin().to_bytes()
        seat.answers[1] = digest, reply
        self._turns[address] = seat
        return reply

    def _further(self, step: Step, digest: str) -> bytes:
        """The answer to a later step of a masked attempt; the same bytes for the same step."""
        seat = self._turns.get(_address(step))
        if seat is None or step.owner != seat.owner:
            raise RefusedError(f"no masked attempt {step.attempt} of round {step.round} is under way here", "session",
                               "ask under a new attempt")  # fmt: skip
        if (answer := seat.answer(step.number, digest)) is not None:
            return answer
        if seat.over is not None:
            raise RefusedError("this attempt ended here", seat.over, "begin another attempt")
        try:
            reply = seat.turn.take(step).to_bytes()
        except RefusedError as refusal:
            seat.end(refusal.refusal.code)
            reply = refusal_of(step, step.owner, refusal).to_bytes()
            log.info("run %r, round %d ended: %s", step.run, step.round, refusal)
        except _BREAKS as fault:
            log.error("round %d of run %r breaks this owner's machine: %r", step.round, step.run, fault)
            reply = _failed(seat, step, "this owner's machine cannot compute the recipe")
        else:
            if step.number == VECTOR and not self._kept(seat.number, reply, step.round, step.run):
                reply = _failed(seat, step, "this owner's disk did not take the reply")
        seat.answers[step.number] = digest, reply
        self._survived(seat)
        if step.number > VECTOR and VECTOR in seat.answers:
            seat.answers[VECTOR] = seat.answers[VECTOR][0], None  # the vector is in the sum, and as large as the model
        return reply

    def _survived(self, seat: _Seat) -> None:
        """Note who survived, once it is agreed. Nothing depends on it, so nothing stops where the disk does not take it."""
        event = seat.realise(seat.turn.survivors) if seat.turn.survivors else None
        if event is None:
            return
        try:
            self._store.survived(seat.number, seat.turn.survivors, event)
        except LedgerError as error:
            log.warning("how many survived cannot be noted: %s", error)

    def _noted(self, request: Request) -> None:
        try:
            self._note(request.run, request.recipe)
        except OSError as error:
            log.error("%s", error)  # it names files of this machine
            raise RefusedError(
                "this owner's disk takes no note now", "ledger", "its administrator finds the cause in its log"
            ) from error

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
        if not self._kept(number, reply, request.round, request.run):
            return Reply(*where, "failed", reason="this owner's disk did not take the reply").to_bytes()
        return reply

    def _kept(self, number: int, reply: bytes, round: int, run: str) -> bool:
        """Whether a message is on the disk, and its charge committed, so that it may leave."""
        try:
            self._replies.keep(number, reply)
            self._step("stored")
            self._store.commit(number, hashlib.sha256(reply).hexdigest())
        except (LedgerError, OSError) as error:
            # Whatever was made stays here, because it could not be sent a second time.
            log.error("round %d of run %r was trained but cannot be kept: %s", round, run, error)
            return False
        self._step("committed")
        try:
            self._forget(run, but=number)
        except (LedgerError, OSError) as error:
            log.warning("earlier replies of run %r cannot be removed: %s", run, error)
        return True

    def _end(self, run: str) -> None:
        """Forget the masked attempt of a run that is under way, and its secrets."""
        self._turns = {at: seat for at, seat in self._turns.items() if at.run != run}

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


@dataclass(slots=True)
class _Seat:
    """A masked attempt under way: the line that pays for it, and each answered step with the request's digest and the reply."""

    number: int
    owner: int
    turn: Turn
    realise: Callable[[int], Event | None]
    answers: dict[int, tuple[str, bytes | None]] = field(default_factory=dict, repr=False)
    over: Code | None = None

    def answer(self, step: int, digest: str) -> bytes | None:
        """What was answered to the same bytes; None for a step to come. Other bytes end the attempt, by `RefusedError`."""
        if step not in self.answers:
            return None
        asked, reply = self.answers[step]
        if asked != digest and self.over is not None:
            return None
        if asked != digest:
            self.end("session")
            raise RefusedError(f"step {step} was asked for in other words", "session", "begin another attempt")
        if reply is None:  # no reason to end: the network may deliver a message again at any time
            raise RefusedError("the masked vector was sent and is no longer kept", "session")
        return reply

    def end(self, why: Code) -> None:
        """Answer nothing more: what went wrong here must not be tried again with the same secrets."""
        self.turn.end()
        self.answers.clear()
        self.over = why


def _failed(seat: _Seat, step: Step, reason: str) -> bytes:
    """A failure that ends a masked attempt: nothing more of it leaves."""
    seat.end("session")
    where = (step.run, step.round, step.attempt, (seat.owner,))
    return Reply(*where, "failed", reason=reason, step=step.number).to_bytes()


def _address(asked: Asked) -> Address:
    try:
        return Address(asked.run, asked.round, asked.attempt)
    except EntryError as error:
        raise RefusedError(str(error), "address") from error


def contribution(worker: Worker, request: Request, plan: Plan) -> tuple[Tensor, int | None]:
    """The worker's message `[d']` and its ring, as long and as noisy whatever its examples are (PRIVACY.md 12).

    Where training breaks on them, the zero vector takes its place; where the solver adds the noise, the update of no examples.
    """
    masked = plan.pipeline.final.masked is not None
    try:
        return worker.hidden(request) if masked else worker.contribute(request)
    except _BREAKS as fault:
        worker.on_fault(worker.owner, request.round, f"training broke ({type(fault).__name__}; look at the data)")
    if plan.pipeline.source.prior is not None:
        blank = replace(worker, examples=worker.examples.subset([]))
        return blank.hidden(request) if masked else blank.contribute(request)
    nothing = Dense(torch.zeros(1, plan.pipeline.source.dim))
    unmeasured = torch.zeros(1, plan.pipeline.final.measured)
    env = Env(worker.entropy, request.round, request.attempt, (worker.owner,), masked=masked, measures=unmeasured)
    return plan.pipeline.send(nothing, env).dense()[0], plan.pipeline.final.ring


def _unknown(address: Address) -> RefusedError:
    return RefusedError(f"what became of {address} is not known here", "session", "ask under a new attempt")
