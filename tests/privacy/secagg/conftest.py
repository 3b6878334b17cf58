"""What the tests of secure aggregation share: one attempt's parties, made from a seed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tacit.privacy.secagg import exchange
from tacit.privacy.secagg.collector import Collector
from tacit.privacy.secagg.messages import context
from tacit.privacy.secagg.owner import Owner
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


@functools.cache
def signing_key(index: int) -> Ed25519PrivateKey:
    """The key of one member."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"signer %d" % index).digest())


@dataclass
class Attempt:
    """The parties of one attempt, the members' vectors, and all that owners sent."""

    parameters: Parameters
    context: bytes
    cohort: dict[int, bytes]
    owners: dict[int, Owner]
    streams: dict[int, Stream]
    collector: Collector
    vectors: dict[int, NDArray[np.integer[Any]]]

    def sum(self, indices: Any) -> NDArray[np.int64]:
        """The plain sum of some members' vectors in the ring."""
        total = np.zeros(self.parameters.dim, dtype=np.uint64)
        for each in indices:
            total += self.vectors[each].astype(np.uint64)
        return (total & np.uint64((1 << self.parameters.bits) - 1)).astype(np.int64)

    def run(self, deliver: exchange.Deliver = exchange.everything) -> NDArray[Any]:
        """All steps."""
        return exchange.run(self.owners, self.vectors, self.collector, deliver)

    def until(self, step: str) -> Mapping[int, bytes]:
        """Everybody's requests of `step`, all steps before it done by everybody."""
        while self.collector.step != step:
            at = self.collector.step
            for index, request in self.collector.requests().items():
                exchange.answer(self.owners[index], at, request, self.vectors[index], self.collector, index)
            self.collector.close()
        return self.collector.requests()


def indices(n: int) -> list[int]:
    """Roster indices of a cohort: neither contiguous nor from zero."""
    return [3 * each + 2 for each in range(n)]


def begin(parameters: Parameters, seed: int = 0, attempt: int = 1, without: frozenset[int] = frozenset()) -> Attempt:
    """An attempt; the same seed gives the same bytes. `without` leaves members out of a cohort that is n without them."""
    members = [each for each in indices(parameters.n + len(without)) if each not in without]
    cohort = {each: signing_key(each).public_key().public_bytes_raw() for each in members}
    about = context(
        run="digits", round=3, attempt=attempt, task=bytes(32), roster=bytes(32), cohort=cohort, parameters=parameters
    )
    streams = {each: Stream(f"{seed} {attempt} {each}") for each in members}
    owners = {
        each: Owner(parameters, about, each, signing_key(each), cohort, frozenset(cohort), streams[each])
        for each in members
    }
    draw = np.random.default_rng(seed)
    vectors = {each: draw.integers(0, 1 << parameters.bits, parameters.dim) for each in members}
    return Attempt(parameters, about, cohort, owners, streams, Collector(parameters, about, cohort), vectors)


MALICIOUS = Parameters(n=5, least=4, colluders=1, threshold=4, bits=20, dim=9, adversary="malicious")


@pytest.fixture(scope="session", name="begin")
def begin_() -> Callable[..., Attempt]:
    """Makes attempts."""
    return begin


@pytest.fixture
def small() -> Attempt:
    """Five members, one of which may drop or collude, against a malicious server."""
    return begin(MALICIOUS)
