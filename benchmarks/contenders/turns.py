"""Turns: the contender's end of a benchmark. It is ready, is told a number of rounds, says how long they took, and waits.

One JSON object a line on standard input and output; whatever libraries print goes to standard error instead. The end of
the input is the end of the contender.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO


class Turns:
    """What this process was told to do, and how much of it is left."""

    def __init__(self) -> None:
        self._answers: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._left = 0
        self._began = 0.0

    def ready(self, **about: str) -> None:
        """Everything is loaded; `about` is what the report says of this contender."""
        self._say({"ready": about})

    def next(self) -> int:
        """The rounds of the next turn, whose clock starts now; 0 where there is none."""
        line = sys.stdin.readline()
        self._left = int(json.loads(line)["rounds"]) if line.strip() else 0
        self._began = time.perf_counter()
        return self._left

    def done(self) -> None:
        """The turn is over."""
        self._say({"seconds": time.perf_counter() - self._began})

    def after_round(self) -> bool:
        """For loops that are not ours to stop: one round has ended. Between turns it does not come back; False at the end."""
        self._left -= 1
        if self._left > 0:
            return True
        self.done()
        return self.next() > 0

    def serve(self, run: Callable[[int], None]) -> None:
        """Turns of `run(rounds)` until the end."""
        while rounds := self.next():
            run(rounds)
            self.done()

    def _say(self, answer: dict[str, object]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
