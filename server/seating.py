"""Seating: owners at the coordinator have numbers that never change; a run counts those who take part from 0.

On the wire an owner goes by its number less one, which is all that it knows of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ..strategies.messages import Reply
from ..strategies.steps import Asked
from ..strategies.transport import Transport


def wire_number(number: int) -> int:
    """By what an owner's requests are addressed: its number at the coordinator, from 0."""
    return number - 1


def _nobody() -> Collection[int]:
    return ()


@dataclass(frozen=True, slots=True)
class Seated:
    """A transport for the seats 0, 1, … of a run over one for owners; seat k is the owner with the number `seats[k]`.

    `gone()` are numbers of owners that are no longer enrolled: nobody waits for them, and they are named.
    """

    transport: Transport
    seats: tuple[int, ...]
    gone: Callable[[], Collection[int]] = _nobody

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        """As the transport, with seats for owners."""
        gone = self.gone()
        for request in (each for each in requests if self.seats[each.owner] in gone):
            where = (request.run, request.round, request.attempt, (request.owner,))
            yield Reply(*where, "failed", reason="was revoked", code="revoked")
        requests = [each for each in requests if self.seats[each.owner] not in gone]
        asked = {wire_number(self.seats[request.owner]): request.owner for request in requests}
        sent = [replace(request, owner=wire_number(self.seats[request.owner])) for request in requests]
        for reply in self.transport.gather(sent, deadline) if sent else ():
            yield replace(reply, owners=tuple(asked[owner] for owner in reply.owners))
