"""Clocks: who spent how much time, wall and processor, where one process plays several parts in turn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds: on the wall, and of all threads of this process on processors."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(slots=True)
class Clock:
    """Exclusive times: whoever begins stops the clock of whoever was running, until it ends. Names begin with the part."""

    spent: defaultdict[tuple[object, ...], Spent] = field(default_factory=lambda: defaultdict(Spent))
    _running: list[tuple[object, ...]] = field(default_factory=list)
    _since: Spent = field(default_factory=Spent)

    @contextmanager
    def running(self, *name: object) -> Iterator[None]:
        """Time goes to `name`."""
        self._book()
        self._running.append(name)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def of(self, *beginning: object) -> Spent:
        """Everything under names that begin so."""
        length = len(beginning)
        return sum((spent for name, spent in self.spent.items() if name[:length] == beginning), Spent())

    def each(self, part: str) -> list[Spent]:
        """What each of a part's players spent, by the second word of the name."""
        return [self.of(part, player) for player in dict.fromkeys(name[1] for name in self.spent if name[0] == part)]

    def _book(self) -> None:
        now = Spent(time.perf_counter(), time.process_time())
        if self._running:
            passed = Spent(now.wall - self._since.wall, now.cpu - self._since.cpu)
            self.spent[self._running[-1]] += passed
        self._since = now
