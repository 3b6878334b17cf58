"""Session: paid before the data is touched, kept before it leaves, and for one attempt one answer, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.client import session as session_module
from tacit.client.refusal import RefusedError
from tacit.client.replies import Replies
from tacit.client.session import Session
from tacit.client.worker import Plan, Worker
from tacit.privacy.claim import Observer, event_of
from tacit.privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from tacit.privacy.event import Event, Gaussian
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import CorruptError, LedgerError
from tacit.privacy.ledger.store import Store, create
from tacit.strategies.codec import MAGIC, CodecError
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Recipe, Reply, Request, reply_from
from tacit.strategies.steps import LAST, VECTOR, Certify, asked_in
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

OWNER = Currency("owner", "zero-out", Observer("server"))
TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
OWN = ({"stage": "clip", "norm": 0.5}, {"stage": "own-gaussian", "noise_multiplier": 2.0})
EVENT = Gaussian(2.0)
SGD = {"use": "sgd", "lr": 0.5}
DP_SGD = {"use": "dp-sgd", "norm": 1.0, "noise_multiplier": 1.0, "rate": 0.5, "denominator": 3.0}
DIM = 15


def request(round: int = 1, attempt: int = 0, **changes: Any) -> Request:
    recipe = Recipe(SGD, {"use": "fedavg"}, OWN, 5, 10, TERMS)
    return replace(Request("run", round, attempt, 4, recipe, torch.zeros(DIM), torch.zeros(0)), **changes)


def learner() -> Learner:
    torch.manual_seed(0)
    made = nn.Linear(4, 3)
    return Learner(made, cross_entropy, Trainable(made))


SHARED = learner()


def data() -> Examples:
    return Examples(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3)


class Seen(Worker):
    """Notes when the data is about to be touched."""

    touched: Callable[[Request], None] = staticmethod(lambda request: None)

    def contribute(self, request: Request) -> tuple[Tensor, int | None]:
        type(self).touched(request)
        return Worker.contribute(self, request)


@dataclass
class Pays:
    """Pays for so many contributions of whatever is sound."""

    limit: int = 1000

    def check(self, request: Request, plan: Plan, spent: Account) -> Price:
        if sum(spent.events(OWNER).values()) >= self.limit:
            raise RefusedError("nothing is left", "budget-life")
        return Price(OWNER, event_of(plan.pipeline.final, Observer("server")), plan.pipeline.final.delta_extra)


@dataclass
class Owner:
    """An owner's folder and what it did: `start` opens it as an agent does."""

    folder: Path
    examples: Examples = field(default_factory=data)
    entropy: Entropy = field(default_factory=SystemEntropy)
    policy: Pays = field(default_factory=Pays)
    attempts: int = 3
    touched: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        create(self.ledger, "ward3")
        self.start()

    @property
    def ledger(self) -> Path:
        return self.folder / "ward3.ledger"

    def start(self, **given: Any) -> None:
        class Mine(Seen):
            touched = staticmethod(lambda request: self.touched.append((request.round, request.attempt)))

        self.store = Store(self.ledger, "ward3", patience=0.05)
        self.worker = Mine(4, SHARED, self.examples, self.entropy, on_fault=lambda *what: self.faults.append(what[2]))
        self.replies = Replies(self.folder / "replies")
        self.session = Session(
            lambda request: self.worker, self.policy, self.store, self.replies, self.attempts, **given
        )

    def restart(self) -> None:
        self.store.close()
        self.start()

    def ask(self, asked: Request) -> Reply:
        return reply_from(self.session.handle(asked.to_bytes()))

    def charges(self) -> int:
        return sum(self.store.spent().events(OWNER).values())


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


# --- once only ---


def test_a_contribution_is_paid_and_kept(owner: Owner) -> None:
    frame = request().to_bytes()
    reply = owner.session.handle(frame)
    assert reply_from(reply).status == "ok"
    record = owner.store.find(Address("run", 1, 0))
    assert record is not None
    assert record.reply is not None
    assert owner.store.spent().events(OWNER) == {EVENT: 1}
    assert owner.replies.read(record.number) == reply


def test_the_same_request_gets_the_same_bytes_and_costs_nothing_more(owner: Owner) -> None:
    frame = request().to_bytes()
    first = owner.session.handle(frame)
    assert owner.session.handle(frame) == first
    owner.restart()
    assert owner.session.handle(frame) == first
    assert (owner.charges(), owner.touched) == (1, [(1, 0)])


def test_another_request_for_the_same_attempt_is_refused(owner: Owner) -> None:
    """Else the server learns the difference of two models from two messages with one noise, or two noises for one price."""
    owner.ask(request())
    for other in (request(weights=torch.ones(DIM)), request(recipe=replace(request().recipe, least=6))):
        reply = owner.ask(other)
        assert (reply.status, reply.code, reply.total) == ("refused", "session", None)
        assert "in other words" in reply.reason
    assert (owner.charges(), owner.touched) == (1, [(1, 0)])


def test_a_new_attempt_has_fresh_noise_and_its_own_charge(owner: Owner) -> None:
    first, second = owner.ask(request()), owner.ask(request(attempt=1))
    assert first.total is not None
    assert second.total is not None
    assert not torch.equal(first.total, second.total)
    assert owner.charges() == 2


def test_attempts_of_a_round_are_capped(owner: Owner) -> None:
    for attempt in (0, 5, 2):
        assert owner.ask(request(attempt=attempt)).status == "ok"
    reply = owner.ask(request(attempt=3))
    assert (reply.status, reply.code) == ("refused", "rounds")
    assert "has had its 3 attempts" in reply.reason
    assert owner.ask(request(round=2)).status == "ok"
    assert owner.charges() == 4


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "restart", "acknowledge"]),
        st.integers(1, 3), st.integers(0, 2), st.integers(0, 1),
    ), max_size=25,
)  # fmt: skip


@settings(max_examples=25)
@given(OPERATIONS)
def test_whatever_is_asked_in_whatever_order(operations: list[tuple[str, int, int, int]]) -> None:
    """One answer for one attempt, one charge for one training, and never more attempts than the cap."""
    with tempfile.TemporaryDirectory() as folder:
        owner = Owner(Path(folder), attempts=2)
        asked: dict[tuple[int, int], int] = {}
        answered: dict[tuple[int, int], bytes] = {}
        for what, round, attempt, variant in operations:
            if what == "restart":
                owner.restart()
            elif what == "acknowledge":
                owner.session.acknowledge("run")
                assert owner.replies.numbers() == ()
            else:
                frame = request(round, attempt, weights=torch.full((DIM,), float(variant))).to_bytes()
                reply = owner.session.handle(frame)
                if reply_from(reply).status == "ok":
                    assert asked.setdefault((round, attempt), variant) == variant
                    assert answered.setdefault((round, attempt), reply) == reply
                else:
                    known = (round, attempt) in asked
                    assert known or sum(where[0] == round for where in asked) == 2
            assert len(owner.replies.numbers()) <= 1
        assert owner.touched == list(asked)
        assert owner.charges() == len(asked)
        owner.store.close()


def test_one_request_in_two_threads_is_one_contribution(owner: Owner) -> None:
    frame, found = request().to_bytes(), []
    threads = [threading.Thread(target=lambda: found.append(owner.session.handle(frame))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert (len(found), owner.charges(), len(owner.touched)) == (4, 1, 1)


def test_a_later_round_acknowledges_the_earlier_ones_of_its_run_only(owner: Owner) -> None:
    owner.ask(request())
    owner.ask(request(run="other"))
    assert owner.ask(request(round=2)).status == "ok"
    reply = owner.ask(request())
    assert (reply.status, reply.code) == ("refused", "session")
    assert "a later round" in reply.reason
    assert owner.ask(request(run="other")).status == "ok"
    assert len(owner.replies.numbers()) == 2
    owner.session.acknowledge("other")
    assert owner.ask(request(run="other")).status == "refused"
    assert owner.ask(request(round=2)).status == "ok"
    assert (owner.charges(), len(owner.touched)) == (3, 3)


# --- before the data is touched ---


class Untouchable(Examples):
    """Data that fails whoever looks at it."""

    def __init__(self) -> None:
        return

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the data was touched: {name}")


REFUSED: dict[str, tuple[Request, str, str]] = {
    "another owner": (request(owner=5), "address", "for owner 5; this is owner 4"),
    "a run with a name too long for a ledger": (request(run="a" * 300), "address", "printable"),
    "another model": (request(weights=torch.zeros(9)), "model", "15 numbers"),
    "an unsound pipeline": (request(recipe=replace(request().recipe, pipeline=OWN[1:])), "recipe", "clip"),
    "over the budget": (request(), "budget-life", "nothing is left"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_costs_nothing_and_touches_nothing(tmp_path: Path, what: str) -> None:
    owner = Owner(tmp_path, examples=Untouchable(), policy=Pays(limit=0 if what == "over the budget" else 9))
    asked, code, words = REFUSED[what]
    head = owner.store.head
    for _ in range(2):
        reply = owner.ask(asked)
        assert (reply.status, reply.code, reply.total) == ("refused", code, None)
        assert words in reply.reason
    assert owner.store.head == head
    assert owner.touched == []
    owner.policy.limit = 9  # nothing was taken: the same attempt may come again when it is permitted
    with pytest.raises(AssertionError, match="the data was touched"):
        owner.ask(request())


def test_a_worker_that_does_not_know_the_run_refuses(owner: Owner) -> None:
    def unknown(request: Request) -> Worker:
        raise RefusedError("no asset has this task", "task")

    session = Session(unknown, owner.policy, owner.store, owner.replies, 3)
    assert reply_from(session.handle(request().to_bytes())).code == "task"
    assert owner.charges() == 0


def test_what_is_no_request_is_no_request(owner: Owner) -> None:
    for frame in (b"", MAGIC + b"?", Reply("run", 1, 0, (4,), "refused").to_bytes()):
        with pytest.raises(CodecError):
            owner.session.handle(frame)
    assert owner.store.head[0] == 0


def test_a_ledger_that_takes_no_charge_stops_everything_and_names_no_file(owner: Owner) -> None:
    holder = sqlite3.connect(owner.ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    reply = owner.ask(request())
    assert (reply.status, reply.code) == ("refused", "ledger")
    assert str(owner.folder) not in reply.reason
    assert owner.touched == []
    holder.execute("ROLLBACK")
    assert owner.ask(request()).status == "ok"
    holder.execute("DELETE FROM entries")
    holder.execute("INSERT INTO entries VALUES (9, '{}', zeroblob(32), NULL)")
    holder.close()
    assert owner.ask(request(round=2)).code == "ledger"
    assert owner.touched == [(1, 0)]


def test_the_charge_is_on_the_disk_before_the_data_is_touched(owner: Owner) -> None:
    found = []

    def look(asked: Request) -> None:
        with Store(owner.ledger, "ward3") as witness:
            found.append(witness.find(Address(asked.run, asked.round, asked.attempt)))

    type(owner.worker).touched = staticmethod(look)
    owner.ask(request())
    assert [each is not None and each.reply is None for each in found] == [True]


# --- after the data was touched ---


BROKEN = {
    "a class that is none": Examples(torch.zeros(20, 4), torch.full((20,), 99)),
    "rows of another width": Examples(torch.zeros(20, 7), torch.zeros(20, dtype=torch.int64)),
}


@pytest.mark.parametrize("solver", [SGD, DP_SGD], ids=["sgd", "dp-sgd"])
@pytest.mark.parametrize("what", BROKEN)
def test_data_on_which_training_breaks_shows_in_the_log_of_the_owner_only(
    tmp_path: Path, what: str, solver: dict[str, Any]
) -> None:
    """Another reply, or none, would tell that the data has such a row (PRIVACY.md 12)."""
    pipeline = OWN if solver is SGD else ()
    asked = request(recipe=replace(request().recipe, solver=solver, pipeline=pipeline))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    usual = Owner(tmp_path / "a", entropy=SeededEntropy(7))
    broken = Owner(tmp_path / "b", entropy=SeededEntropy(7), examples=BROKEN[what])
    frames = [each.session.handle(asked.to_bytes()) for each in (usual, broken)]
    assert len(frames[0]) == len(frames[1])
    replies = [reply_from(frame) for frame in frames]
    assert [reply.status for reply in replies] == ["ok", "ok"]
    for total in (replies[0].total, replies[1].total):
        assert total is not None
        assert float(total.to(torch.float32).norm()) > 0.05  # the noise is there
    assert usual.faults == []
    assert "training broke" in broken.faults[0]
    assert broken.charges() == 1


def test_broken_data_stands_for_the_zero_vector_with_its_noise(tmp_path: Path) -> None:
    owner = Owner(tmp_path, entropy=SeededEntropy(7), examples=BROKEN["a class that is none"])
    asked = request()
    still = Worker(4, SHARED, data().subset([]), SeededEntropy(7)).contribute(asked)[0]
    found = owner.ask(asked).total
    assert found is not None
    assert torch.equal(found, still)


def test_a_recipe_that_breaks_without_data_has_failed(owner: Owner) -> None:
    class Breaking(Worker):
        def contribute(self, request: Request) -> tuple[Tensor, int | None]:
            raise RuntimeError("secret row 17")

    asked = request(recipe=replace(request().recipe, solver=DP_SGD, pipeline=()))
    owner.worker = Breaking(4, SHARED, data(), SystemEntropy(), on_fault=lambda *what: owner.faults.append(what[2]))  # type: ignore[assignment]  # stands for the owner's
    reply = owner.ask(asked)
    assert (reply.status, reply.total) == ("failed", None)
    assert "17" not in reply.reason + owner.faults[0]
    assert owner.charges() == 1


def test_a_reply_that_cannot_be_kept_does_not_leave(owner: Owner) -> None:
    shutil.rmtree(owner.folder / "replies")
    reply = owner.ask(request())
    assert (reply.status, reply.total) == ("failed", None)
    assert str(owner.folder) not in reply.reason
    assert owner.charges() == 1
    (owner.folder / "replies").mkdir(mode=0o700)
    again = owner.ask(request())
    assert (again.status, again.code) == ("refused", "session")
    assert owner.ask(request(attempt=1)).status == "ok"
    assert owner.charges() == 2


def test_a_kept_reply_that_was_changed_does_not_leave(owner: Owner) -> None:
    owner.ask(request())
    (number,) = owner.replies.numbers()
    reply = owner.replies.read(number)
    assert reply is not None
    owner.replies.keep(number, reply[:-1] + bytes([reply[-1] ^ 1]))
    assert owner.ask(request()).code == "session"
    owner.replies.drop(number)
    (owner.folder / "replies" / f"{number}.reply").mkdir()  # cannot be read at all
    assert owner.ask(request()).code == "session"
    assert (owner.charges(), len(owner.touched)) == (1, 1)


# --- after a crash ---


def test_a_ledger_older_than_the_replies_beside_it_is_refused(owner: Owner) -> None:
    """Somebody restored yesterday's ledger: today's charges would be forgotten."""
    owner.ask(request())
    owner.store.close()
    older = owner.ledger.read_bytes()
    owner.start()
    owner.ask(request(round=2))
    owner.store.close()
    owner.ledger.write_bytes(older)
    with pytest.raises(CorruptError, match="older than the reply"):
        owner.start()


MOMENTS = ("begun", "caught up", "decided", "written", "kept", "done")
STEPS = [
    *(f"reserve: {step}" for step in MOMENTS), "reserved", "contributed", "stored",
    *(f"commit: {step}" for step in MOMENTS), "committed",
]  # fmt: skip

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from torch import nn
from tacit.client.replies import Replies
from tacit.client.session import Session
from tacit.client.worker import Worker
from tacit.privacy.claim import Observer, event_of
from tacit.privacy.entropy import SystemEntropy
from tacit.privacy.ledger.entry import Currency, Price
from tacit.privacy.ledger.store import Store
from tacit.strategies.learner import Learner
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable

class Policy:
    def check(self, request, plan, spent):
        return Price(Currency("owner", "zero-out", Observer("server")), event_of(plan.pipeline.final, Observer("server")))

class Seen(Worker):
    def contribute(self, request):
        (folder / "touched").touch()
        return Worker.contribute(self, request)

base = Path(sys.argv[1])
frame = (base / "frame").read_bytes()
module = nn.Linear(4, 3)
learner = Learner(module, cross_entropy, Trainable(module))
for step in sys.argv[2:]:
    folder = base / step.replace(": ", "-")
    child = os.fork()
    if not child:
        stop = lambda found: os.kill(os.getpid(), signal.SIGKILL) if found == step else None
        worker = Seen(4, learner, Examples(torch.ones(5, 4), torch.arange(5) % 3), SystemEntropy())
        store = Store(folder / "ward3.ledger", "ward3", step=stop)
        session = Session(lambda request: worker, Policy(), store, Replies(folder / "replies"), 3, step=stop)
        (folder / "sent").write_bytes(session.handle(frame))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_killed_between_any_two_steps_it_lost_no_charge_and_goes_on(tmp_path: Path) -> None:
    """Data touched → charged. Sent → the same bytes again. Outcome unknown → refused; a new attempt goes on."""
    frame = request().to_bytes()
    (tmp_path / "frame").write_bytes(frame)
    steps = [*STEPS, "never"]
    for step in steps:
        (tmp_path / step.replace(": ", "-")).mkdir()
        create(tmp_path / step.replace(": ", "-") / "ward3.ledger", "ward3")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *steps], stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [*[str(-signal.SIGKILL)] * len(STEPS), "0"]
    for index, step in enumerate(steps):
        folder = tmp_path / step.replace(": ", "-")
        owner = Owner.__new__(Owner)
        owner.folder, owner.examples, owner.entropy, owner.policy = folder, data(), SystemEntropy(), Pays()
        owner.attempts, owner.touched, owner.faults = 3, [], []
        owner.start()
        charged, committed = index >= STEPS.index("reserve: kept"), index >= STEPS.index("commit: kept")
        assert owner.charges() == charged, step
        assert charged or not (folder / "touched").exists(), step
        assert (folder / "sent").exists() is (step == "never")
        assert len(owner.replies.numbers()) == committed, step
        again = owner.session.handle(frame)
        assert reply_from(again).status == ("ok" if committed or not charged else "refused"), step
        assert owner.touched == ([] if charged else [(1, 0)]), step
        if step == "never":
            assert again == (folder / "sent").read_bytes()
        assert owner.ask(request(attempt=1)).status == "ok"
        assert owner.charges() == 2
        assert len(owner.replies.numbers()) == 1
        owner.store.close()


# --- masked attempts ---


class SeenHidden(Seen):
    """As `Seen`, for messages that are masked."""

    def hidden(self, request: Request) -> tuple[Tensor, int | None]:
        type(self).touched(request)
        return Worker.hidden(self, request)


@dataclass
class Ring(Owner):
    """The owner 4 of a cohort, whose other members are at work beside it; `happened` tells of its steps in order."""

    begin: Any = None
    happened: list[str] = field(default_factory=list)

    def start(self, **given: Any) -> None:
        def touched(request: Request) -> None:
            self.happened.append("touched")
            self.touched.append((request.round, request.attempt))

        class Mine(SeenHidden):
            pass

        Mine.touched = staticmethod(touched)
        super().start(circles=lambda cohort: self.begin().circle(4), step=self.happened.append, **given)
        self.worker = Mine(4, SHARED, self.examples, self.entropy, on_fault=lambda *what: self.faults.append(what[2]))

    def attempt(self, **changes: Any) -> Any:
        """A masked attempt in which this owner answers by its session."""
        return self.begin(
            self.begin().asked if not changes else masked_of(self.begin, **changes), voices={4: self.says}
        )

    def says(self, frame: bytes) -> bytes:
        return self.session.handle(frame)

    def tell(self, frame: bytes) -> Reply:
        return reply_from(self.says(frame))


def masked_of(begin: Any, **changes: Any) -> Request:
    return replace(begin().asked, **changes)


@pytest.fixture
def ring(tmp_path: Path, masking: Any) -> Ring:
    return Ring(tmp_path, begin=masking)


def test_a_masked_attempt_is_paid_first_and_kept_before_it_leaves(ring: Ring) -> None:
    """Charged before anything is answered; the data in the step that masks; on the disk and committed before it leaves."""
    attempt = ring.attempt().until(VECTOR)
    assert ring.happened == ["reserved"]
    assert ring.charges() == 1
    assert ring.store.find(Address("run", 1, 0)).reply is None
    reply = ring.says(attempt.frame(4))
    assert ring.happened == ["reserved", "touched", "stored", "committed"]
    record = ring.store.find(Address("run", 1, 0))
    assert ring.replies.read(record.number) == reply
    attempt.until(0)
    assert attempt.tally.owners == (0, 2, 4, 5, 7)
    assert (ring.charges(), ring.touched, ring.faults) == (1, [(1, 0)], [])


def test_every_step_is_answered_once_and_the_same_bytes_the_same(ring: Ring) -> None:
    attempt = ring.attempt()
    said: dict[int, tuple[bytes, bytes]] = {}
    for number in range(1, LAST + 1):
        frame = attempt.frame(4)
        said[number] = frame, ring.says(frame)
        attempt.step()
        for at, (asked, answer) in said.items():
            if at == VECTOR < number:  # in the sum already, and as large as the model; no reason to end
                assert ring.tell(asked).code == "session"
            else:
                assert ring.says(asked) == answer
    assert attempt.tally.owners == (0, 2, 4, 5, 7)
    assert (ring.charges(), ring.touched) == (1, [(1, 0)])


@pytest.mark.parametrize("at", range(1, LAST + 1))
def test_other_bytes_for_a_step_end_the_attempt(ring: Ring, at: int) -> None:
    attempt = ring.attempt().until(at)
    frame = attempt.frame(4)
    ring.says(frame)
    asked = asked_in(frame)
    other = replace(asked, weights=asked.weights + 1) if at == 1 else replace(asked, payload=asked.payload + b"\0")
    reply = ring.tell(other.to_bytes())
    assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "session", None, None)
    again = ring.tell(frame)
    assert (again.status, again.payload, again.total) == ("refused", None, None)
    assert ring.charges() == 1
    assert ring.tell(attempt_frame(ring, attempt=1)).status == "ok"  # another attempt is another session
    assert ring.charges() == 2


def attempt_frame(ring: Ring, **changes: Any) -> bytes:
    return ring.attempt(**changes).frame(4)


@pytest.mark.parametrize("at", range(1, LAST + 1))
def test_after_a_restart_the_attempt_is_unknown(ring: Ring, at: int) -> None:
    attempt = ring.attempt()
    first = attempt.frame(4)
    attempt.until(at)
    frame = attempt.frame(4)
    ring.says(frame)
    ring.restart()
    for asked in (first, frame):
        reply = ring.tell(asked)
        assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "session", None, None)
    assert ring.charges() == 1
    assert len(ring.touched) == (at >= VECTOR)


def test_a_refused_verdict_touches_no_data(ring: Ring) -> None:
    attempt = ring.attempt().until(VECTOR)
    honest = asked_in(attempt.frame(4))
    reply = ring.tell(replace(honest, payload=honest.payload[:-1]).to_bytes())
    assert (reply.status, reply.code, reply.total) == ("refused", "mask", None)
    assert (ring.tell(attempt.frame(4)).status, ring.touched, ring.charges()) == ("refused", [], 1)
    assert ring.replies.numbers() == ()


def test_a_vector_that_the_disk_does_not_take_never_leaves(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = ring.attempt().until(VECTOR)

    def full(number: int, reply: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ring.replies, "keep", full)
    for status in ("failed", "failed"):  # the same bytes, the same answer: no second try
        reply = ring.tell(attempt.frame(4))
        assert (reply.status, reply.total) == (status, None)
        assert "disk" in reply.reason
    assert (ring.touched, ring.charges()) == ([(1, 0)], 1)
    attempt.until(0)
    assert attempt.tally.owners == (0, 2, 5, 7)
    assert "disk" in attempt.tally.faults[4]


def test_a_machine_that_cannot_train_says_so_once(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = ring.attempt().until(VECTOR)
    tries: list[int] = []

    def broken(*_: Any) -> Any:
        tries.append(1)
        raise MemoryError

    monkeypatch.setattr(session_module, "contribution", broken)
    for _ in range(3):
        reply = ring.tell(attempt.frame(4))
        assert (reply.status, reply.total) == ("failed", None)
    assert (len(tries), ring.charges()) == (1, 1)


def test_data_that_breaks_training_changes_nothing_that_can_be_seen(tmp_path: Path, masking: Any) -> None:
    """PRIVACY.md 12: a vector all the same, noise and masks included; only the owner's log tells."""
    broken = Examples(torch.zeros(5, 9), torch.zeros(5, dtype=torch.int64))  # of another width than the model
    ring = Ring(tmp_path, examples=broken, begin=masking)
    attempt = ring.attempt().until(0)
    assert attempt.tally.owners == (0, 2, 4, 5, 7)
    assert len(ring.faults) == 1


def test_a_later_attempt_ends_an_earlier_one_of_its_run_and_no_other(ring: Ring) -> None:
    first, other = ring.attempt().until(2), ring.attempt(run="other").until(2)
    assert ring.session.holds(asked_in(first.frame(4)))
    ring.attempt(attempt=1).until(2)
    assert not ring.session.holds(asked_in(first.frame(4)))
    assert ring.tell(first.frame(4)).code == "session"
    assert other.until(0).tally.owners == (0, 2, 4, 5, 7)


def test_masked_attempts_are_capped_and_each_is_charged(ring: Ring) -> None:
    for attempt in range(3):
        assert ring.tell(attempt_frame(ring, attempt=attempt)).status == "ok"
    reply = ring.tell(attempt_frame(ring, attempt=3))
    assert (reply.status, reply.code) == ("refused", "rounds")
    assert (ring.charges(), ring.touched) == (3, [])


def test_steps_for_nobody_are_refused(ring: Ring) -> None:
    attempt = ring.attempt().until(2)
    step = asked_in(attempt.frame(4))
    for other in (replace(step, run="x"), replace(step, round=2), replace(step, attempt=1), replace(step, owner=5)):
        reply = ring.tell(other.to_bytes())
        assert (reply.status, reply.code, reply.payload) == ("refused", "session", None)
    assert attempt.until(0).tally.owners == (0, 2, 4, 5, 7)  # and disturb nobody


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"cohort": None}, "mask"), ({"recipe": "plain"}, "mask"), ({"owner": 5}, "address")],
    ids=["a mask without a cohort", "a cohort without a mask", "another owner's"],
)
def test_what_cannot_be_masked_is_refused_before_it_is_charged(ring: Ring, changes: dict[str, Any], code: str) -> None:
    asked = masked_of(ring.begin)
    if "recipe" in changes:
        changes = {"recipe": replace(asked.recipe, pipeline=OWN)}
    reply = ring.tell(replace(asked, **changes).to_bytes())
    assert (reply.status, reply.code) == ("refused", code)
    assert (ring.charges(), ring.touched, ring.happened) == (0, [], [])


def test_strangers_are_refused_before_anything_is_charged(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ring.begin
    ring.begin = lambda *given, **more: whole(*given, approved=frozenset({4}), **more)
    reply = ring.tell(attempt_frame(ring))
    assert (reply.status, reply.code) == ("refused", "mask")
    assert "not approved" in reply.reason
    assert ring.charges() == 0


# --- who survived ---


@pytest.mark.parametrize(("silent", "survivors"), [({}, 5), ({7: VECTOR}, 4), ({7: VECTOR + 1}, 5)])
def test_who_survived_is_noted_once_it_is_agreed_and_changes_no_charge(
    ring: Ring, silent: dict[int, int], survivors: int
) -> None:
    """An owner knows it in masked rounds only, from the list that it signed; it is said, and never charged by."""
    ring.store.close()
    ring.start(realise=lambda request, plan, present: Gaussian(float(present)))
    attempt = ring.attempt()
    attempt.silent = silent
    attempt.until(LAST)
    charge = ring.store.find(Address("run", 1, 0))
    assert charge.realised is None
    events = ring.store.spent().events(charge.reserved.price.currency)
    last = attempt.frame(4)
    attempt.until(0)
    record = ring.store.find(Address("run", 1, 0))
    assert (record.realised.survivors, record.realised.event) == (survivors, Gaussian(float(survivors)))
    assert len(attempt.tally.owners) == survivors
    assert ring.store.spent().events(charge.reserved.price.currency) == events
    head = ring.store.head
    assert ring.tell(last).status == "ok"
    assert ring.store.head == head


def test_an_owner_that_cannot_note_who_survived_answers_all_the_same(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.store.close()
    ring.start(realise=lambda request, plan, present: Gaussian(1.0))
    attempt = ring.attempt().until(LAST)

    def full(number: int, survivors: int, event: Event) -> None:
        raise LedgerError("no room")

    monkeypatch.setattr(ring.store, "survived", full)
    attempt.until(0)
    assert attempt.tally.owners == (0, 2, 4, 5, 7)


def test_in_a_plain_round_nobody_tells_an_owner_who_survived(owner: Owner) -> None:
    owner.store.close()
    owner.start(realise=lambda request, plan, present: Gaussian(1.0))
    assert owner.ask(request()).status == "ok"
    assert owner.store.find(Address("run", 1, 0)).realised is None


# --- what a run cost ---


def test_a_statement_is_asked_for_free_and_touches_nothing(owner: Owner) -> None:
    owner.store.close()
    owner.start(attest=lambda run: b"signed " + run.encode())
    owner.ask(request())
    before, touched = owner.store.head, list(owner.touched)
    reply = reply_from(owner.session.handle(Certify("run", 4).to_bytes()))
    assert (reply.status, reply.payload, reply.total) == ("ok", b"signed run", None)
    assert (owner.store.head, owner.touched) == (before, touched)
    assert (owner.session.charged("run"), owner.session.charged("other")) == (True, False)


def test_who_signs_nothing_says_so(owner: Owner) -> None:
    reply = reply_from(owner.session.handle(Certify("run", 4).to_bytes()))
    assert (reply.status, reply.code) == ("refused", "claim")


def test_a_recipe_is_noted_before_it_is_charged(owner: Owner) -> None:
    told: list[tuple[str, str, int]] = []

    def note(run: str, recipe: Recipe) -> None:
        told.append((run, recipe.digest(), len(owner.touched)))
        if run == "full":
            raise OSError("no room")

    owner.store.close()
    owner.start(note=note)
    assert owner.ask(request()).status == "ok"
    assert told == [("run", request().recipe.digest(), 0)]
    reply = owner.ask(request(run="full"))
    assert (reply.status, reply.code) == ("refused", "ledger")
    assert owner.charges() == 1
