"""A cohort that masks: five owners with keys of their own, and the coordinator's half, driven frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.refusal import RefusedError
from tacit.client.turn import Circle, Turn
from tacit.client.worker import Plan, agreed, refusal_of
from tacit.privacy.entropy import SeededEntropy
from tacit.server.masked import Directory, MaskedRounds
from tacit.server.tally import Tally
from tacit.strategies.learner import Learner
from tacit.strategies.messages import Cohort, Recipe, Reply, Request, reply_from
from tacit.strategies.steps import Asked, asked_in, number_of
from tacit.strategies.terms import Terms
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

MEMBERS = (0, 2, 4, 5, 7)
ROSTER = "ab" * 32
DIM, RING = 15, 16
MASKED = (
    {"stage": "clip", "norm": 0.5}, {"stage": "encode", "bits": RING}, {"stage": "skellam", "noise_multiplier": 2.0},
    {"stage": "mask"},
)  # fmt: skip
TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
KEYS = {index: Ed25519PrivateKey.from_private_bytes(bytes([index + 1]) * 32) for index in MEMBERS}
PUBLIC = {index: key.public_key().public_bytes_raw() for index, key in KEYS.items()}

Answers = Callable[[Asked], bytes]


@dataclass
class Masking:
    """One masked attempt of the owners `MEMBERS`: the coordinator's half, and a `Turn` of everybody who has no other voice.

    `voices` answer for some of them, frame in and frame out; `vectors` is what each of the others adds.
    """

    asked: Request
    voices: Mapping[int, Callable[[bytes], bytes]] = field(default_factory=dict)
    silent: Mapping[int, int] = field(default_factory=dict)
    approved: frozenset[int] = frozenset(MEMBERS)
    made: list[int] = field(default_factory=list)
    turns: dict[int, Turn] = field(default_factory=dict)
    told: dict[int, list[Reply]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        module = nn.Linear(4, 3)
        self.learner = Learner(module, cross_entropy, Trainable(module))
        self.plan: Plan = agreed(self.asked, self.learner)
        requests = tuple(replace(self.asked, owner=owner, cohort=None) for owner in MEMBERS)
        directory = Directory(ROSTER, lambda owner: owner, PUBLIC.__getitem__)
        self.phases = MaskedRounds(lambda: directory)(requests, 1.0, self.plan.pipeline)
        self.phase = next(self.phases)
        self.tally: Tally | None = None

    def vector(self, owner: int) -> Tensor:
        return torch.arange(owner, owner + DIM)

    def circle(self, owner: int) -> Circle:
        return Circle(owner, PUBLIC, self.approved, KEYS[owner])

    def turn(self, request: Request, **changes: Any) -> Turn:
        """A turn of the request's owner, which notes when its vector is made."""

        def vector() -> Tensor:
            self.made.append(request.owner)
            return self.vector(request.owner)

        given = {"circle": self.circle(request.owner), "entropy": SeededEntropy(3), "vector": vector, **changes}
        return Turn(request, self.plan, **given)

    def frame(self, owner: int) -> bytes:
        """What the coordinator asks `owner` in this step."""
        return next(asked.to_bytes() for asked in self.phase.requests if asked.owner == owner)

    def answer(self, asked: Asked) -> bytes:
        """What an owner without a voice of its own answers."""
        try:
            if isinstance(asked, Request):
                self.turns[asked.owner] = self.turn(asked)
                return self.turns[asked.owner].begin().to_bytes()
            return self.turns[asked.owner].take(asked).to_bytes()
        except RefusedError as refusal:
            return refusal_of(asked, asked.owner, refusal).to_bytes()

    def step(self) -> int:
        """Everybody who is not silent answers; the number of the step that comes next, 0 after the last."""
        replies: list[Reply] = []
        for asked in self.phase.requests:
            if number_of(asked) >= self.silent.get(asked.owner, 99):
                continue
            voice = self.voices.get(asked.owner)
            frame = asked.to_bytes()
            reply = reply_from(self.answer(asked_in(frame)) if voice is None else voice(frame))
            self.told.setdefault(asked.owner, []).append(reply)
            replies.append(reply)
        return self.hear(replies)

    def hear(self, replies: Sequence[Reply]) -> int:
        """The coordinator takes `replies` for those of this step."""
        try:
            self.phase = self.phases.send(replies)
        except StopIteration as done:
            self.tally = done.value
            return 0
        return number_of(self.phase.requests[0])

    def until(self, number: int) -> Masking:
        """Go on until step `number` is asked for; 0 for the end."""
        while number_of(self.phase.requests[0]) != number and self.step() != number:
            continue
        return self

    def total(self, *owners: int) -> Tensor:
        """The sum of the vectors of `owners` in the ring."""
        return torch.from_numpy(np.sum([self.vector(each).numpy() for each in owners], axis=0) % (1 << RING))


def asks(owner: int = 4, round: int = 1, attempt: int = 0, **changes: Any) -> Request:
    recipe = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, MASKED, 4, 5, TERMS)
    cohort = Cohort(MEMBERS, ROSTER)
    return replace(Request("run", round, attempt, owner, recipe, torch.zeros(DIM), torch.zeros(0), cohort), **changes)


@pytest.fixture(scope="session")
def masked_request() -> Callable[..., Request]:
    """A request of a masked attempt, to owner 4 unless it says otherwise."""
    return asks


@pytest.fixture(scope="session")
def masking() -> Callable[..., Masking]:
    """What begins a masked attempt; `MEMBERS` are 0, 2, 4, 5 and 7."""
    return lambda asked=None, **given: Masking(asks() if asked is None else asked, **given)
