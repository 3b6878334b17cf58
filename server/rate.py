"""Rate: at most so many events a minute, so that whoever can cause one cannot wash everything else out of a bounded log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_MINUTE = 60.0


@dataclass(slots=True)
class Rate:
    """Lets `most` events pass in each minute and counts the others. `clock` counts seconds from anywhere."""

    most: int
    clock: Callable[[], float] = field(default=time.monotonic)
    _since: float = field(default=float("-inf"))
    _passed: int = 0
    _held: int = 0

    def passes(self) -> bool:
        """Whether another event may pass now."""
        now = self.clock()
        if not 0 <= now - self._since < _MINUTE:
            self._since, self._passed = now, 0
        if self._passed >= self.most:
            self._held += 1
            return False
        self._passed += 1
        return True

    def held(self) -> int:
        """How many were held back since this was asked last."""
        held, self._held = self._held, 0
        return held
