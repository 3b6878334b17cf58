"""Witness: a transport that looks on: what was asked and answered, for the operator's metrics, and which owners said no.

Whether a round that could not be completed *failed* or was *refused* is decided here and nowhere else: it was refused where
every owner whose contribution is missing answered the last attempt, and the answer was a no of its policy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..strategies.messages import Reply
from ..strategies.steps import Asked, number_of
from ..strategies.transport import Transport
from .metrics import Metrics

# Codes of refusals that say nothing about the run: another attempt, or the owner's own repair, may bring another answer.
PASSING = frozenset({"address", "session", "ledger", "busy", "paused", "roster", ""})
# Those of them that time mends, and not another attempt by itself. No code: the owner's machine or disk failed.
LASTING = frozenset({"ledger", "busy", "paused", "roster", ""})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why one owner, by its seat, does not take part."""

    seat: int
    code: str
    reason: str

    def __str__(self) -> str:
        return f"owner {self.seat} ({self.code}): {self.reason}"


@dataclass(slots=True)
class Witness:
    """`transport`, watched. What it remembers is the attempt of the newest request."""

    transport: Transport
    metrics: Metrics
    _attempt: tuple[int, int] = (0, -1)
    _asked: set[int] = field(default_factory=set)
    _denials: dict[int, Denial] = field(default_factory=dict)
    _there: set[int] = field(default_factory=set)
    _lasting: set[int] = field(default_factory=set)

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        """As the transport."""
        if requests and (requests[0].round, requests[0].attempt) != self._attempt:
            self._attempt = requests[0].round, requests[0].attempt
            self._asked = {request.owner for request in requests}
            self._denials, self._lasting = {}, set()
        self._there = set()
        started = time.monotonic()
        for reply in self.transport.gather(requests, deadline):
            self._note(reply)
            yield reply
        if requests:
            self.metrics.phase_took(str(number_of(requests[0])), time.monotonic() - started)

    @property
    def survivors(self) -> int:
        """How many owners answered the last exchange well."""
        return len(self._there)

    def denials(self) -> tuple[Denial, ...]:
        """Who refused, where every owner that is missing from the last attempt did so by its policy; else nobody."""
        missing = self._asked - self._there
        final = {seat for seat, denial in self._denials.items() if denial.code not in PASSING}
        return tuple(self._denials[seat] for seat in sorted(missing)) if missing and missing <= final else ()

    def waits(self) -> bool:
        """Whether an owner that is missing from the last attempt said that it cannot take part now, for what passes in time."""
        return bool(self._lasting - self._there)

    def _note(self, reply: Reply) -> None:
        self.metrics.replied(reply.status)
        if reply.status == "ok":
            self._there.update(reply.owners)
            return
        if reply.code in LASTING:
            self._lasting.update(reply.owners)
        if reply.status == "refused":
            self.metrics.refused(reply.code)
            self._denials.update({seat: Denial(seat, reply.code, reply.reason) for seat in reply.owners})
