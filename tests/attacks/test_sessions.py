"""A malicious coordinator against whole owners: sessions with ledger, policy, replies and roster, over the frames that travel.

Five owners under one policy; each attack ends in a typed refusal, no share leaves, and no attempt is free.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.approvals import Approvals
from tacit.client.guard import Guard
from tacit.client.policy import PolicyFrame
from tacit.client.refusal import RefusedError
from tacit.client.replies import Replies
from tacit.client.session import Session
from tacit.client.turn import Circle
from tacit.client.worker import Worker, agreed
from tacit.config import framed
from tacit.privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from tacit.privacy.ledger.store import Store, create
from tacit.privacy.secagg import messages
from tacit.server.masked import Directory, MaskedRounds
from tacit.server.tally import Tally
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Cohort, Recipe, Reply, Request, reply_from
from tacit.strategies.steps import LAST, VECTOR, Asked, Step, asked_in, number_of
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.metrics import Classification
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

MEMBERS = (3, 4, 7, 8, 11)
VICTIM = 7
CODE = "tacit 0.1.0"
ROSTER = hashlib.sha256(b"a roster").hexdigest()
CLIP, ENCODE = {"stage": "clip", "norm": 0.5}, {"stage": "encode", "bits": 18}
SHARED = {"stage": "skellam", "noise_multiplier": 4.0}
MASK = {"stage": "mask", "adversary": "malicious", "colluders": 1}
LINE = (CLIP, ENCODE, SHARED, MASK)
TERMS = Terms({"use": "digits"}, CODE, "zero-out", {"use": "everyone"}, 5, 20)
RECIPE = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, LINE, 4, 5, TERMS)
COHORT = Cohort(MEMBERS, ROSTER)
POLICY: dict[str, Any] = {
    "tasks": [{"use": "digits"}], "unit": "owner", "relation": "zero-out", "colluders": 1, "smallest_cohort": 4,
    "epsilon": 50.0, "delta": 1e-5, "clip": 1.0, "noise_multiplier": 2.0, "mask": True,
    "masking": {"adversary": "malicious", "threshold": 0.6, "bits": 16}, "work": {"attempts": 3},
}  # fmt: skip


def learner() -> Learner:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    return Learner(module, cross_entropy, Trainable(module), correct=Classification().correct)


LEARNER = learner()
DIM = 15


def signer(index: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"member %d" % index).digest())


def public(index: int) -> bytes:
    return signer(index).public_key().public_bytes_raw()


def data(index: int, rows: int = 5) -> Examples:
    return Examples(torch.randn(rows, 4, generator=torch.Generator().manual_seed(index)), torch.arange(rows) % 3)


@dataclass
class Site:
    """One owner beside its data: `start` opens its folder as an agent does; `trained` counts how often the data was used."""

    folder: Path
    index: int
    examples: Examples
    entropy: Entropy = field(default_factory=SystemEntropy)
    approved: frozenset[int] = frozenset(MEMBERS)
    policy: Mapping[str, Any] = field(default_factory=lambda: POLICY)
    trained: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        create(self.folder / "ledger", "ward")
        self.start()

    def start(self) -> None:
        self.store = Store(self.folder / "ledger", "ward")
        policy = framed(PolicyFrame, self.policy)
        guard = Guard(
            policy, "ward", {"digits": CODE}, Approvals(self.folder / "pending"), lambda: datetime(2024, 1, 1)
        )
        site = self

        class Counting(Worker):
            def hidden(self, request: Request) -> tuple[Tensor, int | None]:
                site.trained += 1
                return Worker.hidden(self, request)

        worker = Counting(
            self.index, LEARNER, self.examples, self.entropy, on_fault=lambda *what: self.faults.append(what[2])
        )
        attempts = policy.work.attempts
        replies = Replies(self.folder / "replies")
        self.session = Session(lambda _: worker, guard, self.store, replies, attempts, circles=self.circle)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def circle(self, cohort: Cohort) -> Circle:
        if cohort.roster != ROSTER:
            raise RefusedError("the cohort is numbered by another roster", "roster")
        keys = {index: public(index) for index in cohort.members}
        return Circle(self.index, keys, self.approved & set(cohort.members), signer(self.index))

    @property
    def charges(self) -> int:
        return len(self.store.spent().records())


Change = Callable[[Any], Any]  # a request or step, to what travels in its place; None for nothing


@dataclass
class Federation:
    """Five owners and a coordinator that may send each what it likes; `left` is every frame that left an owner."""

    sites: dict[int, Site]
    left: list[tuple[int, bytes]] = field(default_factory=list)

    def ask(self, asked: Asked) -> Reply:
        """The reply to a frame."""
        frame = self.sites[asked.owner].session.handle(asked.to_bytes())
        self.left.append((asked.owner, frame))
        return reply_from(frame)

    def attempt(self, first: Request, change: Change = lambda asked: asked) -> Tally:
        """One attempt of the real coordinator, whose frames `change` replaces on their way."""
        requests = tuple(replace(first, owner=index, cohort=None) for index in MEMBERS)
        line = agreed(replace(first, owner=MEMBERS[0]), LEARNER).pipeline
        phases = MaskedRounds(lambda: Directory(ROSTER, lambda owner: owner, public))(requests, 1.0, line)
        replies: list[Reply] = []
        try:
            phase = next(phases)
            while True:
                told = [change(asked) for asked in phase.requests]
                replies = [self.ask(asked) for asked in told if asked is not None]
                phase = phases.send(replies)
        except StopIteration as end:
            found: Tally = end.value
            return found

    def replies(self, step: int | None = None) -> list[Reply]:
        found = [reply_from(frame) for _, frame in self.left]
        return [reply for reply in found if step is None or reply.step == step]

    def openings(self) -> list[messages.Opening]:
        payloads = [reply.payload for reply in self.replies(LAST) if reply.payload is not None]
        return [messages.opening_from(payload, payload[5:37]) for payload in dict.fromkeys(payloads)]


def request(round: int = 1, attempt: int = 0, **changes: Any) -> Request:
    return replace(Request("run", round, attempt, VICTIM, RECIPE, torch.zeros(DIM), cohort=COHORT), **changes)


def line(*rows: dict[str, Any], **changes: Any) -> Request:
    return request(recipe=replace(RECIPE, pipeline=rows, **changes))


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    made = Federation({index: Site(tmp_path / str(index), index, data(index)) for index in MEMBERS})
    yield made
    for site in made.sites.values():
        site.store.close()


def test_an_honest_coordinator_gets_the_sum(federation: Federation) -> None:
    found = federation.attempt(request())
    assert found.owners == MEMBERS
    assert len(federation.openings()) == 5
    assert [site.charges for site in federation.sites.values()] == [1] * 5
    assert [site.trained for site in federation.sites.values()] == [1] * 5


# --- weak parameters ---

WEAK: dict[str, tuple[Request, str, str]] = {
    "no mask": (line(CLIP, ENCODE, SHARED), "mask", "add mask"),
    "a semi-honest server": (line(CLIP, ENCODE, SHARED, {**MASK, "adversary": "semi-honest"}), "mask", "malicious is required"),
    "nobody colludes": (line(CLIP, ENCODE, SHARED, {**MASK, "colluders": 0}), "mask", "colluders = 1 is required"),
    "too many collude": (line(CLIP, ENCODE, SHARED, {**MASK, "colluders": 4}), "recipe", "nobody honest"),
    "a narrow ring": (line(CLIP, {**ENCODE, "bits": 15}, SHARED, MASK), "mask", "at least 16 are required"),
    "sums of three": (line(*LINE, least=3), "cohort", "at least 4 are required"),
    "less noise": (line(CLIP, ENCODE, {**SHARED, "noise_multiplier": 0.5}, MASK), "noise", "at least 2 times"),
    "noise at the server": (
        line(CLIP, {"stage": "central-gaussian", "noise_multiplier": 9.0}, {**ENCODE, "bits": 40}, MASK),
        "claim|budget-life|noise", "",
    ),
    "a cohort of two": (request(cohort=Cohort((3, VICTIM), ROSTER)), "mask", "no more can survive than take part"),
    "a cohort beside itself": (request(cohort=Cohort((3, 4, 8, 11), ROSTER)), "mask", "does not list owner 7"),
    "a cohort of more than it says": (
        request(cohort=Cohort((*MEMBERS, *range(20, 40)), ROSTER)), "mask", "takes a threshold of",
    ),
    "another roster": (request(cohort=Cohort(MEMBERS, "0" * 64)), "roster", "another roster"),
    "no cohort": (request(cohort=None), "mask", "with both or neither"),
}  # fmt: skip


@pytest.mark.parametrize("what", WEAK)
def test_weaker_than_the_policy_is_refused_before_anything(federation: Federation, what: str) -> None:
    asked, codes, words = WEAK[what]
    reply = federation.ask(asked)
    assert reply.status == "refused"
    assert reply.code in codes.split("|"), (reply.code, reply.reason)
    assert words in reply.reason
    assert (reply.payload, reply.total) == (None, None)
    site = federation.sites[VICTIM]
    assert (site.charges, site.trained) == (0, 0)
    further = federation.ask(Step("run", 1, 0, VICTIM, 2, b""))
    assert (further.status, further.code, further.payload) == ("refused", "session", None)


def test_a_threshold_below_the_policy_s_is_refused(tmp_path: Path) -> None:
    """Where a policy wants nine tenths of a cohort to be needed, four of five are not."""
    strict = {**POLICY, "masking": {**POLICY["masking"], "threshold": 0.9}}
    site = Site(tmp_path / "strict", VICTIM, data(VICTIM), policy=strict)
    reply = Federation({VICTIM: site}).ask(request())
    assert (reply.code, site.charges) == ("mask", 0)
    assert "4 of 5 owners could take the masks off" in reply.reason
    site.store.close()


@pytest.mark.parametrize("strangers", [2, 3, 4])
def test_sybils_packed_around_one_victim_get_nothing(tmp_path: Path, strangers: int) -> None:
    """The coordinator's own inventions in the roster, as many as it likes: this owner approved none of them."""
    known = [VICTIM, *(each for each in MEMBERS if each != VICTIM)]
    approved = frozenset(known[: len(known) - strangers])
    site = Site(tmp_path / "victim", VICTIM, data(VICTIM), approved=approved)
    reply = Federation({VICTIM: site}).ask(request())
    assert (reply.status, reply.code, reply.payload) == ("refused", "mask", None)
    assert "not approved" in reply.reason
    assert (site.charges, site.trained) == (0, 0)
    site.store.close()


def test_one_key_under_two_numbers_is_refused(federation: Federation) -> None:
    site = federation.sites[VICTIM]
    honest = site.circle

    def twice(cohort: Cohort) -> Circle:
        found = honest(cohort)
        return replace(found, keys={**found.keys, 4: public(3)})

    site.session._circles = twice
    reply = federation.ask(request())
    assert (reply.status, reply.code, site.charges) == ("refused", "mask", 0)
    assert "one key stands for two" in reply.reason


# --- sessions: replays, restarts, retries ---


def stopped(federation: Federation, at: int, first: Request | None = None) -> dict[int, Step]:
    """An attempt up to the step `at`, whose requests nobody was sent: the first frames of what the coordinator may replay."""
    kept: dict[int, Step] = {}

    def held(asked: Asked) -> Asked | None:
        if number_of(asked) < at:
            return asked
        if number_of(asked) == at and isinstance(asked, Step):
            kept[asked.owner] = asked
        return None

    federation.attempt(request() if first is None else first, held)
    return kept


@pytest.mark.parametrize("at", range(2, LAST + 1))
def test_a_restarted_agent_knows_no_attempt_any_more(federation: Federation, at: int) -> None:
    """Else one vector were masked twice, or shares of both kinds shown: before the restart and after it."""
    kept = stopped(federation, at)
    site = federation.sites[VICTIM]
    trained = site.trained
    site.restart()
    for asked in (kept[VICTIM], request(), replace(request(), weights=torch.ones(DIM))):
        reply = federation.ask(asked)
        assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "session", None, None)
    assert (site.charges, site.trained) == (1, trained)
    assert VICTIM not in {opening.index for opening in federation.openings()}
    found = federation.attempt(request(attempt=1))  # another attempt: fresh keys, fresh noise, its own charge
    assert found.owners == MEMBERS
    assert site.charges == 2


@pytest.mark.parametrize("at", range(2, LAST + 1))
@pytest.mark.parametrize("later", [{"attempt": 1}, {"round": 2}, {"run": "another"}], ids=str)
def test_steps_of_an_earlier_attempt_are_no_steps_of_a_later_one(
    federation: Federation, at: int, later: dict[str, Any]
) -> None:
    kept = stopped(federation, at)
    now = stopped(federation, at, request(**later))
    before = len(federation.openings())
    if "run" not in later:  # the attempt before is over
        reply = federation.ask(kept[VICTIM])
        assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "session", None, None)
    moved = replace(now[VICTIM], payload=kept[VICTIM].payload)
    reply = federation.ask(moved)
    assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "mask", None, None)
    reply = federation.ask(now[VICTIM])  # and what was refused once is over
    assert (reply.status, reply.payload, reply.total) == ("refused", None, None)
    assert len(federation.openings()) == before


@pytest.mark.parametrize("at", range(2, LAST + 1))
def test_a_step_asked_for_in_other_words_ends_the_attempt_and_shows_nothing_new(
    federation: Federation, at: int
) -> None:
    """For other bytes no answer, and from then on none for the same bytes either. There are never two answers to one step."""
    asked: list[Step] = []

    def note(each: Asked) -> Asked:
        if isinstance(each, Step) and each.owner == VICTIM and each.number == at:
            asked.append(each)
        return each

    federation.attempt(request(), note)
    if at != VECTOR:  # it is in the sum, and no longer kept
        first = next(reply for reply in federation.replies(at) if reply.owners == (VICTIM,))
        assert federation.ask(asked[0]).payload == first.payload
    other = federation.ask(replace(asked[0], payload=asked[0].payload + b"\0"))
    assert (other.status, other.payload, other.total) == ("refused", None, None)
    again = federation.ask(asked[0])
    assert (again.status, again.payload, again.total) == ("refused", None, None)
    assert (federation.sites[VICTIM].trained, federation.sites[VICTIM].charges) == (1, 1)


def test_a_noisy_vector_never_enters_a_second_session(tmp_path: Path) -> None:
    """The same model, asked for twice: the difference of the owner's two messages would be nothing but noise taken off."""
    federation = Federation({index: Site(tmp_path / str(index), index, data(index)) for index in MEMBERS})
    vectors = []
    for attempt in (0, 1):
        before = len(federation.left)
        assert federation.attempt(request(attempt=attempt)).owners == MEMBERS
        replies = [reply_from(frame) for owner, frame in federation.left[before:] if owner == VICTIM]
        vectors += [reply.total for reply in replies if reply.total is not None]
    assert len(vectors) == 2
    assert federation.sites[VICTIM].trained == 2
    assert not torch.equal(vectors[0], vectors[1])
    assert federation.sites[VICTIM].charges == 2


def test_a_run_that_was_acknowledged_goes_on_with_nothing(federation: Federation) -> None:
    kept = stopped(federation, LAST)
    site = federation.sites[VICTIM]
    site.session.acknowledge("run")
    for asked in (kept[VICTIM], request()):
        reply = federation.ask(asked)
        assert (reply.status, reply.code, reply.payload) == ("refused", "session", None)
    assert VICTIM not in {opening.index for opening in federation.openings()}


# --- ground beacons: the graph, the cohort's session and its masks follow from advertisements ---


def test_a_session_that_is_drawn_anew_until_it_pleases_is_an_attempt_each_and_charged(federation: Federation) -> None:
    """Withholding an advertisement gives another session, and needs another attempt: three at most, each charged."""
    sessions = set()
    for attempt in range(3):
        left_out = MEMBERS[attempt]
        stopped_at = stopped(federation, 3, request(attempt=attempt))
        sessions |= {step.payload[5:37] for step in stopped_at.values()}
        assert left_out in stopped_at
    assert len(sessions) == 3
    for attempt in (3, 4, 99):
        reply = federation.ask(request(attempt=attempt))
        assert (reply.status, reply.code, reply.payload) == ("refused", "rounds", None)
    site = federation.sites[VICTIM]
    assert (site.charges, site.trained) == (3, 0)
    assert not federation.openings()


def test_advertisements_withheld_and_shown_again_are_one_session_or_none(federation: Federation) -> None:
    """Within an attempt an owner deals once: a directory with fewer members after that is refused."""
    kept = stopped(federation, 3)
    site = federation.sites[VICTIM]
    payloads = {reply.owners[0]: reply.payload for reply in federation.replies(1)}
    context = payloads[VICTIM][5:37]  # type: ignore[index]  # step 1 has a payload
    full = tuple(
        messages.advertisement_from(payload, context) for owner, payload in payloads.items() if owner != 11 and payload
    )
    fewer = messages.Directory(messages.entries(full), full).to_bytes(context)
    reply = federation.ask(replace(kept[VICTIM], number=2, payload=fewer))
    assert (reply.status, reply.code, reply.payload) == ("refused", "session", None)
    assert len({reply.payload for reply in federation.replies(2) if reply.owners == (VICTIM,) and reply.payload}) == 1
    assert site.charges == 1


# --- order and work ---


@pytest.mark.parametrize("number", range(3, LAST + 1))
def test_steps_that_are_skipped_end_the_attempt_and_no_data_is_used(federation: Federation, number: int) -> None:
    assert federation.ask(request()).status == "ok"
    for _ in range(2):
        reply = federation.ask(Step("run", 1, 0, VICTIM, number, b"anything"))
        assert (reply.status, reply.code, reply.payload, reply.total) == ("refused", "mask", None, None)
    site = federation.sites[VICTIM]
    assert (site.trained, site.charges) == (0, 1)


def test_one_charge_is_one_training_however_often_a_vector_is_asked_for(federation: Federation) -> None:
    """A verdict that is refused after the data was used is no way to have the owner train for ever."""
    kept = stopped(federation, VECTOR)
    site = federation.sites[VICTIM]
    for number in range(4):
        reply = federation.ask(replace(kept[VICTIM], payload=kept[VICTIM].payload[:-1] + bytes([number + 1])))
        assert (reply.status, reply.code, reply.total) == ("refused", "mask", None)
    assert federation.ask(kept[VICTIM]).status == "refused"
    assert site.trained <= 1
    assert site.charges == 1


# --- data: nothing but the masked numbers may depend on it ---

HOSTILE_DATA: dict[str, Examples] = {
    "ordinary": data(99),
    "none": data(99).subset([]),
    "one example": data(99, 1),
    "not a number": Examples(torch.full((5, 4), math.nan), torch.arange(5) % 3),
    "infinite": Examples(torch.full((5, 4), math.inf), torch.arange(5) % 3),
    "huge": Examples(torch.full((5, 4), 1e38), torch.arange(5) % 3),
    "a class that is none": Examples(torch.zeros(5, 4), torch.full((5,), 99)),
    "another width": Examples(torch.zeros(5, 9), torch.zeros(5, dtype=torch.int64)),
}
MODELS: dict[str, Tensor] = {
    "zeros": torch.zeros(DIM),
    "not a number": torch.full((DIM,), math.nan),
    "infinite": torch.full((DIM,), -math.inf),
    "as large as can be": torch.full((DIM,), torch.finfo(torch.float32).max),
    "one infinite weight": torch.tensor([math.inf] + [0.0] * (DIM - 1)),
    "tiny": torch.full((DIM,), 1e-45),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_crafted_model_gets_the_same_behaviour_from_all_data(tmp_path: Path, model: str) -> None:
    """Frame for frame of the same length, byte for byte the same but for the vector, and no refusal (PRIVACY.md 12)."""
    seen: dict[str, list[bytes]] = {}
    for number, (what, examples) in enumerate(HOSTILE_DATA.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        sites = {
            index: Site(
                folder / str(index), index, examples if index == VICTIM else data(index), SeededEntropy(5), faults=[]
            )
            for index in MEMBERS
        }
        federation = Federation(sites)
        found = federation.attempt(request(weights=MODELS[model]))
        assert found.owners == MEMBERS
        seen[what] = [frame for owner, frame in federation.left if owner == VICTIM]
        assert [reply_from(frame).status for frame in seen[what]] == ["ok"] * LAST
        for site in sites.values():
            site.store.close()
    for frames in seen.values():
        assert list(map(len, frames)) == list(map(len, seen["ordinary"]))
        for step, (frame, other) in enumerate(zip(frames, seen["ordinary"], strict=True), start=1):
            if step != VECTOR:
                assert frame == other
            else:
                one, two = reply_from(frame), reply_from(other)
                assert (one.ring, one.status, one.total.shape) == (two.ring, two.status, two.total.shape)  # type: ignore[union-attr]


def test_what_travels_as_a_step_is_read_as_one(federation: Federation) -> None:
    stepped = Step("run", 1, 0, VICTIM, 2, b"x")
    assert asked_in(stepped.to_bytes()) == stepped
    reply = federation.ask(replace(stepped, run="a" * 300))
    assert (reply.status, reply.code) == ("refused", "address")
    assert federation.ask(request()).status == "ok"
    for wrong in (replace(stepped, attempt=1), replace(stepped, round=2), replace(stepped, run="other")):
        reply = federation.ask(wrong)
        assert (reply.status, reply.code, reply.payload) == ("refused", "session", None)
    frame = federation.sites[VICTIM].session.handle(replace(stepped, owner=8).to_bytes())
    assert reply_from(frame).code == "session"
