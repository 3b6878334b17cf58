"""Exchange: the coordinator's transport to real owners, over a channel of the SuperLink. Knows no Flower itself.

All requests of a phase go out in one post, a model that they share is written once, and each reply is handed on as soon as it
is there. A message that a killed agent had taken is sent again, an agent that was away gets it when it is back, a
SuperLink that restarts is waited for, and a coordinator that restarts goes on waiting for the replies to the letters that it
had written down: agents answer a repeated request with the same bytes, so whichever reply comes first counts and the rest are
dropped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..strategies.codec import CodecError
from ..strategies.messages import MOST_NUMBERS, Reply, Request, reply_from
from ..strategies.parcel import Parcel, addressed, gathered, pieces, sharing, wrap
from ..strategies.steps import Asked, number_of
from .answer import ChannelLostError, SuperLinkError
from .flower import Address, Arrival, Channel, Letter, new_id, open_channel
from .pieces import Pieces, sender
from .whole import write_whole

log = logging.getLogger(__name__)

_WHOLE = 1 << 16
_STEP = 5.0
_POLL = 0.02
_SMALL = 4  # pieces
_PIECE = 5.0  # seconds more for each piece that travels: 1 MiB/s, the slowest line that a large model is meant for
_SOON = 3.0  # seconds until a request without pieces is sent again for the first time; twice as long each further time


def _silent(nodes: Sequence[int]) -> None:
    """Nobody is told; the nodes find their mail at their next poll."""


def _uncounted(direction: Literal["sent", "received"], count: int) -> None:
    return


@dataclass(slots=True)
class _Phase:
    """Where one phase stands: who is asked, under which letters, and who has answered."""

    asked: dict[int, Asked]
    until: float
    letters: dict[str, int] = field(default_factory=dict, repr=False)
    marks: dict[str, str] = field(default_factory=dict, repr=False)
    sent: dict[int, float] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)
    fetching: set[int] = field(default_factory=set)
    heavy: dict[int, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    spent: list[str] = field(default_factory=list, repr=False)

    def left(self) -> float:
        return self.until - time.monotonic()

    def open(self) -> list[int]:
        """Owners whose reply is neither here nor on its way."""
        return [o for o in self.asked if o not in self.answered and o not in self.fetching]


class Exchange:
    """Transport over Flower. One phase at a time."""

    def __init__(
        self, address: Address, folder: Path, nodes: Mapping[int, int], store: Pieces,
        *, numbers: int = MOST_NUMBERS, resend: float = 30.0, largest: int = 4 << 30, workers: int = 4,
        ring: Callable[[Sequence[int]], None] = _silent,
        carried: Callable[[Literal["sent", "received"], int], None] = _uncounted,
    ) -> None:  # fmt: skip
        """An exchange that keeps its token and its letters in `folder` (for this user only), and pieces in `store`.

        `nodes` gives the node of each owner. `numbers` and `largest`: most numbers and bytes of a reply; `resend`: seconds
        after which an unanswered request is sent again, a small one sooner; `ring` is told the nodes that have mail, so that
        they need not poll; `carried` is told the bytes of each frame, however often it is sent.
        """
        self._address, self._folder, self._nodes, self._pieces = address, folder, nodes, store
        self._published: set[str] = set()
        self._numbers, self._resend, self._largest, self._ring, self._carried = numbers, resend, largest, ring, carried
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="tacit-reply")
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="tacit-sweep")
        self._one = threading.Lock()
        self._channel: Channel | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def gather(self, requests: Sequence[Asked], deadline: float) -> list[Reply]:
        """Every reply that arrives within `deadline` seconds."""
        return list(self.replies(requests, deadline))

    def replies(self, requests: Sequence[Asked], deadline: float) -> Iterator[Reply]:
        """The replies one by one as they arrive, so that a caller need hold only their sum; ends like `gather`."""
        phase = _Phase({request.owner: request for request in requests}, time.monotonic() + deadline)
        if len(phase.asked) != len(requests):
            raise ValueError("two requests of a phase are for the same owner; ask each owner once")
        arrived: queue.SimpleQueue[tuple[int, Reply | None]] = queue.SimpleQueue()
        try:
            self._post(phase, list(phase.asked), self._written())
            pause = _POLL
            while len(phase.answered) < len(phase.asked) and phase.left() > 0:
                progress = self._turn(phase, arrived)
                pause = _POLL if progress else min(pause * 1.5, 0.25)
                yield from self._taken(phase, arrived, min(pause, max(0.0, phase.left())))
        finally:
            self._sweep(phase)

    def finish(self) -> None:
        """The run is over: delete what is left of it at the SuperLink."""
        self._sweeper.shutdown(wait=True)
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self._channel is not None:
            self._channel.finish()
            self._channel = None
        self._pieces.close()
        for name in ("channel.json", "letters.json"):
            (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop without ending the run; another `Exchange` on the same folder goes on within a minute."""
        self._sweeper.shutdown(wait=True)
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _turn(self, phase: _Phase, arrived: queue.SimpleQueue[tuple[int, Reply | None]]) -> bool:
        """Look once for replies and for what must be sent again; whether anything moved."""
        channel = self._channel
        if channel is None:
            self._post(phase, phase.open(), {})
            return False
        try:
            waiting = [id for id, owner in phase.letters.items() if owner not in phase.answered]
            arrivals = channel.collect(waiting, min(_STEP, phase.left())) if waiting else []
            for arrival in arrivals:
                self._arrive(phase, channel, arrival, arrived)
            again = self._due(phase, channel)
            if again:
                self._post(phase, again, {})
            return bool(arrivals or again)
        except ChannelLostError:
            log.warning("the channel is lost; opening a new one and sending again")
            self._lose(phase)
        except SuperLinkError as error:
            log.warning("%s", error)
        return False

    def _arrive(
        self, phase: _Phase, channel: Channel, arrival: Arrival, arrived: queue.SimpleQueue[tuple[int, Reply | None]]
    ) -> None:
        owner = phase.letters.pop(arrival.answers, None)
        if owner is None or owner in phase.answered or owner in phase.fetching:
            return
        if arrival.error:
            log.info("owner %d: %s", owner, arrival.error)
            phase.away.add(owner)
            return
        phase.fetching.add(owner)
        request, count, within = phase.asked[owner], pieces(arrival.letter), min(_STEP, phase.left())

        def fetch() -> None:
            reply: Reply | None = None
            try:
                who = sender(channel.key(self._nodes[owner], within)) if count else ""
                # Of large replies one at a time is put together: memory for one, not for all.
                with self._one if count > _SMALL else nullcontext():
                    frame = self._pieces.frame(arrival.letter, who, self._largest)
                    self._carried("received", len(frame))
                    reply = _checked(request, frame, self._numbers)
                    del frame
            except CodecError as error:
                log.warning("owner %d: a reply that cannot be read: %s", owner, error)
            except (SuperLinkError, OSError) as error:
                log.warning("owner %d: its reply was lost: %s", owner, error)
            arrived.put((owner, reply))

        self._workers.submit(fetch)

    def _taken(
        self, phase: _Phase, arrived: queue.SimpleQueue[tuple[int, Reply | None]], wait: float
    ) -> Iterator[Reply]:
        """Replies that are complete by now; waits up to `wait` seconds for the first."""
        while True:
            try:
                owner, reply = arrived.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0.0
            phase.fetching.discard(owner)
            if reply is None:
                phase.away.add(owner)
            elif owner not in phase.answered:
                phase.answered.add(owner)
                yield reply
            reply = None  # not kept while the next one is waited for: it may be as large as the model

    def _due(self, phase: _Phase, channel: Channel) -> list[int]:
        """Owners to whom the request must be sent again: unanswered for too long, or back after being away."""
        now = time.monotonic()
        due = [
            o for o in phase.open()
            if o not in phase.away and now - phase.sent[o] > self._patience(phase, o) and not self._coming(channel, phase, o)
        ]  # fmt: skip
        back = [o for o in phase.open() if o in phase.away and now - phase.sent[o] > 1.0]
        if back:
            online = channel.online(min(_STEP, phase.left()))
            for owner in back:
                phase.sent[owner] = now
            due += [owner for owner in back if self._nodes[owner] in online]
        return due

    def _coming(self, channel: Channel, phase: _Phase, owner: int) -> bool:
        """Whether pieces of the owner's reply come in just now."""
        return self._pieces.coming(sender(channel.key(self._nodes[owner], min(_STEP, phase.left()))))

    def _patience(self, phase: _Phase, owner: int) -> float:
        """Seconds until the request of `owner` is sent again. What was lost in a killed process costs a small request little;
        an owner that is only slow answers all of them with the same bytes."""
        if owner in phase.heavy:
            return self._resend + _PIECE * phase.heavy[owner]
        return min(self._resend, _SOON * 2.0 ** min(phase.times.get(owner, 1) - 1, 30))

    def _post(self, phase: _Phase, owners: Sequence[int], written: Mapping[str, str]) -> None:
        """Send the requests of `owners`, except those whose letters `written` (mark to id) an earlier process had sent."""
        if self._channel is None:
            try:
                self._channel, new = open_channel(self._address, self._folder / "channel.json", max(1.0, phase.left()))
            except SuperLinkError as error:
                log.warning("%s", error)
                for owner in owners:
                    phase.sent[owner] = time.monotonic()
                self._lose(phase)
                return
            written = {} if new else written
        channel = self._channel
        letters: list[Letter] = []
        bodies: dict[str, memoryview] = {}
        parcel: Parcel | None = None
        before: Asked | None = None
        for owner in owners:
            parcel, before = _wrapped(phase.asked[owner], before, parcel), phase.asked[owner]
            self._carried("sent", len(parcel.letter) + sum(len(piece) for piece in parcel.pieces))
            if parcel.names:
                phase.heavy[owner] = len(parcel.names)
                bodies |= {name.hex(): piece for name, piece in zip(parcel.names, parcel.pieces, strict=True)}
            mark = hashlib.sha256(b"%d " % owner + parcel.letter).hexdigest()
            id = written.get(mark) or new_id()
            phase.letters[id] = owner
            phase.marks[id] = mark
            phase.sent[owner] = time.monotonic()
            phase.times[owner] = phase.times.get(owner, 0) + 1
            phase.away.discard(owner)
            if mark not in written:
                letters.append(Letter(id, self._nodes[owner], parcel.letter))
        try:
            self._publish(bodies)
            self._write(phase)
            taken = channel.post(letters, max(1.0, phase.left()), max(0.0, phase.left()))
        except SuperLinkError as error:
            log.warning("%s", error)
            self._lose(phase)
            return
        for letter in letters:
            if letter.id not in taken:
                log.warning("owner %d has no node at the SuperLink", phase.letters[letter.id])
                phase.away.add(phase.letters.pop(letter.id))
        self._ring([letter.node for letter in letters])

    def _publish(self, bodies: Mapping[str, memoryview]) -> None:
        """Let owners fetch the pieces of requests, before any letter names them, and leave theirs."""
        self._pieces.admit(self._largest)
        # What an earlier process had published is written anew: it may have been damaged with the machine.
        self._pieces.publish({name: piece for name, piece in bodies.items() if name not in self._published})
        self._published |= bodies.keys()

    def _lose(self, phase: _Phase) -> None:
        """Forget the channel and its letters; everybody who has not answered is asked anew."""
        phase.spent += phase.letters
        phase.letters.clear()
        phase.away |= set(phase.open())
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _write(self, phase: _Phase) -> None:
        """Note which letters are out, before they are."""
        notes = {phase.marks[id]: id for id in phase.letters}
        write_whole(self._folder / "letters.json", json.dumps(notes).encode())

    def _written(self) -> dict[str, str]:
        try:
            found = json.loads((self._folder / "letters.json").read_text())
            return {str(mark): str(id) for mark, id in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _sweep(self, phase: _Phase) -> None:
        """Delete the pieces, which nobody needs any more, and, behind the round's back, what would reach an agent too late."""
        self._pieces.clear()
        self._published.clear()
        channel, ids = self._channel, [*phase.letters, *phase.spent]
        if channel is None or not ids:
            return
        # What was answered lies in its run's rows only, and goes with the run.

        def sweep() -> None:
            try:
                channel.forget(ids, _STEP)
            except SuperLinkError as error:
                log.debug("not swept: %s", error)

        self._sweeper.submit(sweep)


def _wrapped(asked: Asked, before: Asked | None, parcel: Parcel | None) -> Parcel:
    """The parcel of `asked`. Where it carries the very model that the one before it does, that one's pieces are its own too."""
    if not isinstance(asked, Request):
        return sharing(wrap(asked.to_bytes(), _WHOLE), parcel)
    head, *arrays = asked.parts()
    same = isinstance(before, Request) and asked.weights is before.weights and asked.broadcast is before.broadcast
    if same and parcel is not None and parcel.names:
        return addressed(parcel, head)
    return gathered(head, arrays, _WHOLE)


def _checked(request: Asked, frame: bytes | memoryview, numbers: int) -> Reply:
    """The reply in `frame`, if it answers `request` with no more than so many `numbers`. Raises `CodecError`."""
    reply = reply_from(frame, numbers)
    expected = (request.run, request.round, request.attempt, (request.owner,), number_of(request))
    if (reply.run, reply.round, reply.attempt, reply.owners, reply.step) != expected:
        raise CodecError(
            f"it answers round {reply.round}, attempt {reply.attempt}, step {reply.step} for owner {reply.owners[0]}"
        )
    return reply
