"""Alertness: waiting on connections wide awake for a moment, before going to sleep until one has something to say.

To be woken takes a processor longer than most of what a hand and its simulation say to one another takes them. Who looks
again and again for `seconds` after its last work misses that; longer than so, nobody keeps a processor from others.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection


@dataclass(frozen=True, slots=True, eq=False)
class Alertness:
    """For as long as `connections` are open; one that has ended has something to say, too. POSIX alone."""

    connections: Iterable[Connection]
    seconds: float
    _poll: select.poll = field(init=False, repr=False)
    _of: dict[int, Connection] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_poll", select.poll())
        object.__setattr__(self, "_of", {each.fileno(): each for each in self.connections})
        for descriptor in self._of:
            self._poll.register(descriptor, select.POLLIN)

    def now(self) -> list[Connection]:
        """Which connections have something to say."""
        return [self._of[descriptor] for descriptor, _ in self._poll.poll(0)]

    def next(self) -> list[Connection]:
        """The same, once there is one."""
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            if found := self.now():
                return found
            os.sched_yield()
        return [self._of[descriptor] for descriptor, _ in self._poll.poll()]
