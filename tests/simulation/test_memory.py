"""Memory: a group for which there is no room is trained in halves, and one owner for whom there is none is named."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from tacit.config import parse
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.memory import refused_memory
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.transport import SimulationError, Vectorised

TEXT = """
[task]
use = "breast-cancer"
[population]
owners = 11
[rounds]
total = 2
[strategy]
use = "scaffold"
[local]
use = "sgd"
lr = 0.1
[budget]
epsilon = inf
"""


@dataclass(frozen=True, slots=True)
class Hungry(PlainLoop):
    """Asks the system for more than there is when it has trained more than `most` owners."""

    most: int = 2
    tried: list[int] = field(default_factory=list)

    def train(self, plan: Any, learner: Any, requests: Any, *rest: Any) -> Any:
        self.tried.append(len(requests))
        updates = PlainLoop.train(self, plan, learner, requests, *rest)
        if len(requests) > self.most:
            torch.empty(1 << 50, dtype=torch.float64)
        return updates


def run_with(engine: PlainLoop) -> Simulation:
    simulation = prepare(parse(TEXT, {}), seed=3, engine="plain-loop", device="cpu", workers=1)
    assert isinstance(simulation.transport, Vectorised)
    simulation.transport.engine = engine
    list(simulation.rounds())
    return simulation


def test_a_group_is_halved_until_it_fits_and_nothing_of_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    hungry = Hungry()
    with caplog.at_level(logging.WARNING):
        found = run_with(hungry)
    assert hungry.tried[:4] == [11, 5, 2, 3]
    assert "no memory to train 11 owners at once (9007199254740992 bytes refused)" in caplog.text
    expected = run_with(PlainLoop())
    torch.testing.assert_close(found.progress.weights, expected.progress.weights, rtol=1e-5, atol=1e-6)
    for owner, memory in expected.transport.memories.items():  # remembered once, not twice
        torch.testing.assert_close(found.transport.memories[owner], memory, rtol=1e-4, atol=1e-5)


def test_one_owner_for_whom_there_is_none_is_named_with_the_size() -> None:
    with pytest.raises(SimulationError, match=r"round 1, owner 0: there is no memory .*9007199254740992 bytes refused"):
        run_with(Hungry(most=0))


def test_what_the_libraries_say_of_memory_is_understood() -> None:
    with pytest.raises(MemoryError) as numpy_says:
        np.empty(1 << 50)
    assert refused_memory(numpy_says.value) == "8.00 PiB"
    said = "CUDA out of memory. Tried to allocate 2.34 GiB. GPU 0 has a total capacity of 10 GiB"
    assert refused_memory(torch.OutOfMemoryError(said)) == "2.34 GiB"
    assert refused_memory(MemoryError()) == "some"
    assert refused_memory(RuntimeError("the shapes do not fit")) is None
    assert refused_memory(ValueError("out of memory")) is None


FREED = """
import resource
import numpy as np
from tacit.simulation.memory import keep_freed_memory
print(keep_freed_memory())
for turn in range(6):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for each in [np.empty(30 << 20, dtype=np.uint8) for _ in range(3)]:
        each.fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def freed(**variables: str) -> tuple[bool, int]:
    """Whether a process keeps what it frees, and how many pages it has to make anew for 360 MB that it takes in turns."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ended = subprocess.run(
        [sys.executable, "-c", FREED], env=clean | variables, capture_output=True, text=True, check=True
    )
    kept, pages = ended.stdout.split()
    return kept == "True", int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing else has these thresholds")
def test_freed_memory_is_taken_again() -> None:
    kept, pages = freed()
    assert kept
    assert pages < 2_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing else has these thresholds")
def test_thresholds_that_somebody_has_set_stand() -> None:
    kept, _ = freed(MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
