"""What the attacks share: real owners, a real collector, a wire that writes everything down, and the laws that hold on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tacit.privacy.secagg import messages
from tacit.privacy.secagg.collector import Collector
from tacit.privacy.secagg.errors import AbortError, FaultError, RefusalError
from tacit.privacy.secagg.messages import Opening, Secret, context
from tacit.privacy.secagg.owner import STEPS, Owner
from tacit.privacy.secagg.parameters import Parameters


@dataclass
class Stream:
    """Bytes that a name decides, and everything that was drawn."""

    name: str
    drawn: list[bytes] = field(default_factory=list)

    def __call__(self, count: int) -> bytes:
        blocks = (
            hashlib.sha256(f"{self.name} {len(self.drawn)} {at}".encode()).digest() for at in range(count // 32 + 1)
        )
        self.drawn.append(b"".join(blocks)[:count])
        return self.drawn[-1]


def signer(index: int) -> Ed25519PrivateKey:
    """The signing key of one member: a coalition has those of its members."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"member %d" % index).digest())


class Program:
    """A server and colluding owners that follow the protocol. An attack has some of these methods, and the whole `World`."""

    def begin(self, world: World, step: str) -> None:
        """Before a step."""

    def tell(self, world: World, step: str, index: int, request: bytes) -> bytes | None:
        """What the server sends to one owner instead of the true request; None for nothing."""
        return request

    def say(self, world: World, step: str, index: int, answer: Any) -> Any:
        """What a (colluding) owner sends instead of its true answer; None for nothing."""
        return answer


HONEST = Program()


@dataclass
class World:
    """One attempt: its parties, every byte that left an owner, every refusal and every fault that was found."""

    parameters: Parameters
    context: bytes
    signing: dict[int, Ed25519PrivateKey]
    cohort: dict[int, bytes]
    owners: dict[int, Owner]
    streams: dict[int, Stream]
    collector: Collector
    vectors: dict[int, NDArray[np.integer[Any]]]
    left: list[tuple[int, str, Any]] = field(default_factory=list)
    refusals: dict[int, RefusalError] = field(default_factory=dict)
    silent: dict[int, int] = field(default_factory=dict)  # how much had left when an owner refused
    faults: dict[int, FaultError] = field(default_factory=dict)
    abort: AbortError | None = None

    def ask(self, index: int, step: str, request: bytes) -> Any:
        """An owner's answer, written down; None where it refuses."""
        owner = self.owners[index]
        try:
            if step == "mask":
                answer: Any = owner.mask(request, self.vectors[index])
            else:
                answer = owner.advertise() if step == "advertise" else getattr(owner, step)(request)
        except RefusalError as error:
            if index not in self.refusals:
                self.refusals[index], self.silent[index] = error, len(self.left)
            return None
        if not any(other is answer for _, _, other in self.left):
            self.left.append((index, step, answer))
        return answer

    def give(self, index: int, answer: Any) -> None:
        """An answer for the collector."""
        try:
            (self.collector.fold if self.collector.step == "mask" else self.collector.take)(index, answer)
        except FaultError as error:
            self.faults.setdefault(index, error)

    def step(self, program: Any = HONEST) -> None:
        """One exchange with everybody that the collector asks."""
        begin, tell, say = (getattr(program, each, getattr(HONEST, each)) for each in ("begin", "tell", "say"))
        step = self.collector.step
        begin(self, step)
        for index, request in self.collector.requests().items():
            told = tell(self, step, index, request)
            answer = None if told is None else self.ask(index, step, told)
            said = None if answer is None else say(self, step, index, answer)
            if said is not None:
                self.give(index, said)
        try:
            self.collector.close()
        except AbortError as error:
            self.abort = error

    def play(self, program: Any = HONEST, before: str = "done") -> None:
        """All exchanges, or those before a step."""
        while self.collector.step not in ("done", "aborted", before):
            self.step(program)

    def until(self, step: str) -> Mapping[int, bytes]:
        """Everybody's requests of `step`, after true exchanges."""
        self.play(before=step)
        return self.collector.requests()

    @property
    def session(self) -> bytes:
        return self.collector.session

    def openings(self) -> list[Opening]:
        """Every opening that left an owner, in whatever session."""
        return [messages.opening_from(sent, sent[5:37]) for _, step, sent in self.left if step == "unmask"]

    def sum(self, indices: Any) -> NDArray[np.int64]:
        """The plain sum of some members' vectors in the ring."""
        total = np.zeros(self.parameters.dim, dtype=np.uint64)
        for each in indices:
            total += self.vectors[each].astype(np.uint64)
        return (total & np.uint64((1 << self.parameters.bits) - 1)).astype(np.int64)

    def judge(self, honest: Any = None) -> None:
        """Laws of the wire, whatever was tried: one kind of share for an owner, one answer a step, nothing after a refusal."""
        trusted = set(self.cohort if honest is None else honest)
        kinds: dict[int, set[Secret]] = {}
        for at, (index, _, _) in enumerate(self.left):
            assert at < self.silent.get(index, len(self.left))
        for opening in self.openings():
            if opening.index in trusted:
                for dealer, (secret, _) in opening.shares.items():
                    kinds.setdefault(dealer, set()).add(secret)
        assert all(len(found) == 1 for found in kinds.values()), kinds
        for index, step, _ in self.left:
            assert step != "unmask" or self.owners[index]._secrets is None
        once = [(index, step) for index, step, _ in self.left if index in trusted]
        assert len(once) == len(set(once))
        for index in self.refusals:
            if self.refusals[index].code != "repeat":
                assert self.owners[index].ended
                assert self.owners[index]._secrets is None
                for step in STEPS:
                    before = len(self.left)
                    assert self.ask(index, step, b"") is None
                    assert len(self.left) == before

    def shares_of(self, dealer: int) -> dict[Secret, set[int]]:
        """Who showed a share of which secret of one owner."""
        found: dict[Secret, set[int]] = {secret: set() for secret in Secret}
        for opening in self.openings():
            if dealer in opening.shares:
                found[opening.shares[dealer][0]].add(opening.index)
        return found


SEVEN = Parameters(n=7, least=5, colluders=1, threshold=5, bits=20, dim=6, adversary="malicious")
EVE = 20  # the member of `SEVEN` that is in league with the server


def world(
    parameters: Parameters = SEVEN, *, seed: int = 0, attempt: int = 1, round: int = 3, run: str = "digits",
    without: frozenset[int] = frozenset(), approved: frozenset[int] | None = None, task: bytes = bytes(32),
) -> World:  # fmt: skip
    """An attempt; the same arguments give the same bytes."""
    members = [each for each in (3 * at + 2 for at in range(parameters.n + len(without))) if each not in without]
    signing = {each: signer(each) for each in members}
    cohort = {each: key.public_key().public_bytes_raw() for each, key in signing.items()}
    about = context(
        run=run, round=round, attempt=attempt, task=task, roster=bytes(32), cohort=cohort, parameters=parameters
    )
    streams = {each: Stream(f"{seed} {run} {round} {attempt} {each}") for each in members}
    counting = frozenset(cohort) if approved is None else approved
    owners = {each: Owner(parameters, about, each, signing[each], cohort, counting, streams[each]) for each in members}
    draw = np.random.default_rng(seed)
    vectors = {each: draw.integers(0, 1 << parameters.bits, parameters.dim) for each in members}
    return World(parameters, about, signing, cohort, owners, streams, Collector(parameters, about, cohort), vectors)


@pytest.fixture(scope="session", name="world")
def world_() -> Callable[..., World]:
    """Makes attempts."""
    return world


@pytest.fixture(scope="session")
def defeated() -> Callable[[World, Any], None]:
    """Plays a server that lies: those that it hits refuse with its `code`, and it is shown no share that it could use.

    `hit` and `code` are the attack's; `opens` says that others, or the same ones before, rightly show shares.
    """

    def defeat(at: World, attack: Any) -> None:
        if hasattr(attack, "prepare"):
            attack.prepare(world)
        at.play(attack)
        honest = [each for each in at.cohort if each != EVE]
        assert attack.hit
        for index in attack.hit:
            assert at.refusals[index].code == attack.code, (index, at.refusals[index])
        if not getattr(attack, "opens", False):
            assert [opening.index for opening in at.openings() if opening.index != EVE] == []
        at.judge(honest)
        for victim in honest:  # no two secrets of one owner can be put together, whoever helps
            shown = at.shares_of(victim)
            assert min(len(shown[secret] | {EVE}) for secret in Secret) < at.parameters.threshold

    return defeat
