"""Engine: the seam between a cohort and whatever trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.updates import Updates
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ..population import Population


class Engine(Protocol):
    """Trains a batch of owners on one round's recipe, from the streams and in the order of batches of the plain loop.

    What it gives agrees with the plain loop up to the order of float32 additions: `TOLERANCE` of the longest update.
    """

    @property
    def name(self) -> str:
        """What it is called in options and reports."""
        ...

    @property
    def purpose(self) -> str:
        """What it is for, in half a line."""
        ...

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        """Why it cannot do this work, in a line; None where it can."""
        ...

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        """Why another engine would be faster at work that this one accepts; None where it would not."""
        ...

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        """The requests dealt into the batches that are trained at once; a function of its arguments alone."""
        ...

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        """The owners' updates, in the order of `requests`; `memories` is read and brought up to date."""
        ...


TOLERANCE = 2.0**-14  # of the update's norm, for networks of a few layers after tens of steps


def in_turn(requests: Sequence[Request], size: int) -> list[list[Request]]:
    """Groups of `size` requests in the order in which they stand."""
    return [list(requests[first : first + size]) for first in range(0, len(requests), size)]
