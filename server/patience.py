"""Patience: whether the coordinator asks again, and how long it waits where owners could not take part just now.

An owner whose disk is full, or that has enough to do, answers at once. Without a pause such answers would use up a round's
attempts in moments, and each attempt is charged at the owners that did take part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .witness import Witness

_LEAST = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Waits D/2^(k−1) seconds before the first of k attempts that are left: the whole `deadline` D before the last one.

    At least a second, and never more than D. It waits only where `witness` says that waiting may help; whoever was silent was
    waited for already. Where all that are missing said no by their policies it does not ask again: the answer would be the
    same, at another charge for the others.
    """

    witness: Witness
    deadline: float
    sleep: Callable[[float], None] = field(default=time.sleep)

    def __call__(self, left: int) -> bool:
        """Whether the next of `left` attempts is worth making, now."""
        if self.witness.denials():
            return False
        if self.witness.waits():
            self.sleep(min(self.deadline, max(_LEAST, self.deadline * 2.0 ** (1 - left))))
        return True
