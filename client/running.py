"""Running: which runs are under way at this owner. What a policy's `concurrency` counts.

Nobody tells an owner that a run has ended. A run is under way from its first permitted request on until its last round was
asked for, or until it has not asked for so long that it may be taken for over. After a restart the count begins anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..strategies.messages import Request

QUIET = 120.0  # seconds: twice the usual deadline of a round


class Running:
    """The runs of one agent; usable from several threads. `clock` gives seconds that never jump."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, quiet: float = QUIET) -> None:
        self._clock, self._quiet = clock, quiet
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def permitted(self, request: Request) -> None:
        """A request was permitted: its run is under way, or over if this is its last round."""
        with self._lock:
            if request.round >= request.recipe.terms.rounds:
                self._asked.pop(request.run, None)
            else:
                self._asked[request.run] = self._clock()

    def now(self) -> frozenset[str]:
        """The names of the runs that are under way."""
        with self._lock:
            since = self._clock() - self._quiet
            self._asked = {run: at for run, at in self._asked.items() if at > since}
            return frozenset(self._asked)
