"""Exchange: a whole attempt in one process, real bytes between real owners and a real collector.

For the in-memory transport and for tests: `deliver` may lose or change whatever travels, as a network or a server would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .collector import Collector, Step
from .errors import FaultError, RefusalError
from .mask import Vector
from .owner import Owner

Deliver = Callable[[Step, int, bytes], bytes | None]
"""`deliver(step, owner, request)` gives the request that reaches the owner; None where the owner dropped out."""


def everything(step: Step, owner: int, request: bytes) -> bytes | None:
    """Every request arrives as it was sent."""
    return request


def run(
    owners: Mapping[int, Owner],
    vectors: Mapping[int, NDArray[np.integer[Any]]],
    collector: Collector,
    deliver: Deliver = everything,
) -> Vector:
    """The survivors' sum. An owner that refuses or is at fault is silent from then on. Raises `AbortError`."""
    while collector.step != "done":
        step = collector.step
        for index, request in collector.requests().items():
            arrived = deliver(step, index, request)
            if arrived is None:
                continue
            try:
                answer(owners[index], step, arrived, vectors[index], collector, index)
            except (RefusalError, FaultError):
                continue  # the owner says why in `ended`, the collector in `faults`
        collector.close()
    return collector.total()


def answer(
    owner: Owner, step: Step, request: bytes, vector: NDArray[np.integer[Any]], collector: Collector, index: int
) -> None:
    """One owner's answer to one request, taken by the collector. Raises `RefusalError`, `FaultError`."""
    if step == "advertise":
        collector.take(index, owner.advertise())
    elif step == "deal":
        collector.take(index, owner.deal(request))
    elif step == "check":
        collector.take(index, owner.check(request))
    elif step == "mask":
        collector.fold(index, owner.mask(request, vector))
    elif step == "agree":
        collector.take(index, owner.agree(request))
    else:
        collector.take(index, owner.unmask(request))
