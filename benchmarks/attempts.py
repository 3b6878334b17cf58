"""One attempt of our secure aggregation in this process, with clocks on every owner and on the collector; and its memory.

Owners and collector see what they would see on machines of their own: fresh keys, real messages, packed vectors. Every sum is
checked against the plain one.
"""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import dataclass, field

import numpy as np
from clocks import Clock
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tacit.privacy.secagg import mask
from tacit.privacy.secagg.collector import Collector
from tacit.privacy.secagg.messages import context
from tacit.privacy.secagg.owner import Owner
from tacit.privacy.secagg.parameters import Parameters
from tacit.strategies.codec import pack, unpack_into


@dataclass(slots=True)
class Took:
    """Clocks `("owner", i, step)`, `("server", step)`, `("pack", i)`, `("unpack", i)`; bytes that each owner sent."""

    clock: Clock = field(default_factory=Clock)
    sent: dict[int, int] = field(default_factory=dict)


def parties(parameters: Parameters) -> tuple[dict[int, bytes], bytes, dict[int, Ed25519PrivateKey]]:
    """A cohort, its context and its members' signing keys."""
    signers = {each: Ed25519PrivateKey.generate() for each in range(parameters.n)}
    cohort = {each: key.public_key().public_bytes_raw() for each, key in signers.items()}
    where = {"run": "benchmark", "round": 1, "attempt": 1, "task": bytes(32), "roster": bytes(32)}
    return cohort, context(**where, cohort=cohort, parameters=parameters), signers  # type: ignore[arg-type]


def attempt(parameters: Parameters, drops: int = 0) -> Took:
    """All six exchanges; `drops` owners fall silent when vectors are due."""
    cohort, about, signers = parties(parameters)
    vector = np.random.default_rng(0).integers(0, 1 << parameters.bits, parameters.dim)
    took, owners = Took(), {}
    clock = took.clock
    for each in cohort:
        took.sent[each] = 0
        with clock.running("owner", each, "begin"):
            owners[each] = Owner(parameters, about, each, signers[each], cohort, frozenset(cohort), os.urandom)
    with clock.running("server", "begin"):
        collector = Collector(parameters, about, cohort)
    silent = frozenset(range(drops))
    # One for all: a server alone in its process gets the same memory again for each vector, here the owners would take it.
    arrived = np.zeros(parameters.dim, mask.element(parameters.bits))
    while collector.step != "done":
        step = collector.step
        with clock.running("server", step):
            requests = collector.requests()
        for each, request in requests.items():
            if step != "mask":
                with clock.running("owner", each, step):
                    answer = _answer(owners[each], step, request)
                took.sent[each] += len(answer)
                with clock.running("server", step):
                    collector.take(each, answer)
            elif each not in silent:
                with clock.running("owner", each, step):
                    sent = owners[each].mask(request, vector)
                with clock.running("pack", each):
                    packed = pack(sent, parameters.bits)
                took.sent[each] += len(packed)
                with clock.running("unpack", each):
                    unpack_into(packed, parameters.bits, arrived)
                with clock.running("server", step):
                    collector.fold(each, arrived)
        with clock.running("server", step):
            collector.close()
    expected = vector.astype(np.uint64) * np.uint64(parameters.n - drops) & np.uint64((1 << parameters.bits) - 1)
    if not np.array_equal(collector.total(), expected):
        raise RuntimeError("the sum is wrong; the attempt is no measurement")
    return took


def owner_memory(parameters: Parameters) -> float:
    """The most bytes that masking and packing one owner's vector take beside the vector itself, by tracemalloc."""
    cohort, about, signers = parties(parameters)
    owners = {
        each: Owner(parameters, about, each, signers[each], cohort, frozenset(cohort), os.urandom) for each in cohort
    }
    collector = Collector(parameters, about, cohort)
    while collector.step != "mask":
        step = collector.step
        for each, request in collector.requests().items():
            collector.take(each, _answer(owners[each], step, request))
        collector.close()
    request = collector.requests()[0]
    vector: NDArray[np.int64] = np.random.default_rng(0).integers(0, 1 << parameters.bits, parameters.dim)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        packed = pack(owners[0].mask(request, vector), parameters.bits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if len(packed) != -(-parameters.bits * parameters.dim // 8):
        raise RuntimeError("the vector did not pack; this is no measurement")
    return float(peak - before)


def _answer(owner: Owner, step: str, request: bytes) -> bytes:
    match step:
        case "advertise":
            return owner.advertise()
        case "deal":
            return owner.deal(request)
        case "check":
            return owner.check(request)
        case "agree":
            return owner.agree(request)
        case _:
            return owner.unmask(request)
