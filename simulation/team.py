"""Team: the processes that share a simulation's shards, this one and its further hands.

Shards and the order in which their sums are added depend on the work alone, and a sum has the same bits in every process.
So the result does not depend on how many there are, on who trains what, or on when the hands come: unless their number was
asked for, they are called in once the rounds to come are long enough to pay for their start.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO

import torch
from torch import Tensor

from ..client.worker import Plan
from ..strategies.algorithm import Algorithm
from ..strategies.messages import Request
from .alertness import Alertness
from .craft import Craft, CraftError, packed
from .hand import Done, Opening, Order, Start, kept_by, owners_of
from .population import FlatShares
from .region import Region, laid_out
from .shards import Shard, alike, shard_total, tried
from .work import Work

_START = 4.0  # seconds of a processor until a hand is ready
_PATIENCE = 120.0  # seconds for which a hand that was asked for may take to be ready
_ALERT = 2e-3  # seconds: what a coordinator does between two rounds of a small model
_SLOTS = 4  # sums that may wait for each process
_TOLD = 12  # last lines of a hand's own words
_MAIN = "from tacit.simulation.hand import main; main()"


class TeamError(RuntimeError):
    """A hand ended in the middle of its work; says how, and how to go on."""


@dataclass(slots=True, eq=False)
class _Hand:
    """One further process; `asked` are the shards that it has and has not answered."""

    process: subprocess.Popen[bytes]
    connection: Connection
    errors: IO[bytes]
    ready: bool = False
    asked: int = 0
    told: Opening | None = None  # the round that it knows of

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()


def _nothing() -> None:
    return


@dataclass(slots=True)
class Team:
    """Up to `most` processes for `rounds` rounds; `at_once` where they were asked for, whether they pay or not.

    `why` says why there are not more than there are. `meanwhile` is done where this process would wait for another: what will
    be needed whatever the others find, and takes nothing the second time.
    """

    most: int
    rounds: int
    at_once: bool = False
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    why: str = "none needed yet"
    meanwhile: Callable[[], None] = field(default=_nothing, repr=False)
    _hands: list[_Hand] = field(default_factory=list, repr=False)
    _region: Region | None = field(default=None, repr=False)
    _start: Start | None = field(default=None, repr=False)
    _over: bool = field(default=False, repr=False)  # no (further) attempt to call hands in
    _took: float = field(default=0.0, repr=False)  # seconds of the last round

    @property
    def size(self) -> int:
        """How many processes take part now."""
        return 1 + sum(hand.ready for hand in self._hands)

    def totals(self, work: Work, plan: Plan, shards: Sequence[Shard], memories: dict[int, Tensor]) -> Iterator[Tensor]:
        """The sums of the shards in their order; each is to be used before the next is asked for.

        Raises what `Work.total` raises, at the same group; `TeamError` for a hand that ended.
        """
        began = self.clock()
        if not self._hands and not self._over and len(shards) > 1 and self._pays(len(shards)):
            self._call(work, plan, shards[0][0][0])
        self._greet()
        if self.size > 1 and len(shards) > 1 and self._alike(shards, plan):
            whole = False
            try:
                yield from self._shared(work, plan, shards, memories)
                whole = True
            finally:
                if not whole:  # the hands may still be at this round's shards
                    self.close()
        else:
            for shard in shards:
                yield shard_total(work, plan, shard, memories)
        self.rounds -= 1
        self._took = self.clock() - began

    def close(self) -> None:
        """Let all hands go at once, whatever they are at; they are called in anew if there is more to do."""
        for hand in self._hands:
            hand.close()
        if self._region is not None:
            self._region.close()
        self._hands, self._region, self._start, self._over = [], None, None, False

    def _pays(self, shards: int) -> bool:
        processes = min(self.most, shards)
        saved = self._took * self.rounds * (1 - 1 / max(1, processes))
        if processes < 2 or not (self.at_once or saved > 2 * _START):
            self.why = f"the rounds to come take {self._took * self.rounds:.0f} s: too little for more processes"
            return False
        return True

    def _call(self, work: Work, plan: Plan, request: Request) -> None:
        """Start the hands; where that cannot be, `why` says it and this process goes on alone."""
        self._over = True
        if work.learner.device != "cpu":
            self.why = f"the device is {work.learner.device}"
            return
        if os.name != "posix":
            self.why = "this system hands no memory from process to process"
            return
        try:
            craft = packed(Craft(work.engine, work.learner, work.entropy))
        except CraftError as error:
            self.why = str(error)
            return
        training, total = work.population.training, plan.pipeline.empty()
        shares = FlatShares.of(work.population.shares)
        kept = [training.inputs, training.targets, torch.from_numpy(shares.rows), torch.from_numpy(shares.firsts)]
        held = [*kept, request.weights, request.broadcast]
        slots = [(tuple(total.shape), total.dtype)] * (_SLOTS * self.most)
        places, size = laid_out([*((tuple(each.shape), each.dtype) for each in held), *slots])
        try:
            self._region = Region.new(size)
            for each, place in zip(kept, places, strict=False):
                self._region.tensor(place).copy_(each)
            inputs, targets, rows, firsts, weights, broadcast, *room = places
            self._start = Start(size, self._alert(), inputs, targets, rows, firsts, weights, broadcast, tuple(room))
            for _ in range(self.most - 1):
                self._hands.append(_started(self._region))
        except OSError as error:
            self.close()
            self._over, self.why = True, f"the system gives no more processes ({error})"
            return
        for hand in self._hands:
            try:
                hand.connection.send([*sys.path, *craft.folders])
                hand.connection.send(self._start)
                hand.connection.send_bytes(craft.content)
            except ConnectionError:
                raise TeamError(self._ended(hand)) from None
        self.why = "as many as there are"

    def _alert(self) -> float:
        """For how long who waits stays awake: not at all where a processor is shared, which another could work on."""
        return _ALERT if processors() >= self.most else 0.0

    def _greet(self) -> None:
        """Take note of who is ready by now; where hands were asked for, wait for them."""
        for hand in self._hands:
            if hand.ready or not hand.connection.poll(_PATIENCE if self.at_once else 0):
                continue
            said = self._heard(hand)
            if said:
                self.close()
                self._over, self.why = True, f"another process cannot load the task ({said})"
                return
            hand.ready = True

    def _alike(self, shards: Sequence[Shard], plan: Plan) -> bool:
        """Whether all requests of the round carry the one model, of the size that there is room for."""
        first, start = shards[0][0][0], self._start
        if start is None or (plan.pipeline.final.dim,) != start.slots[0].shape:
            return False
        if first.weights.shape != start.weights.shape or first.broadcast.shape != start.broadcast.shape:
            return False
        return alike(shards)

    def _shared(self, work: Work, plan: Plan, shards: Sequence[Shard], memories: dict[int, Tensor]) -> Iterator[Tensor]:
        """Sums by whoever is free, handed out in order; at most as many wait as there are slots."""
        region, start = self._region, self._start
        if region is None or start is None:
            raise TeamError("hands without shared memory; start the simulation again")
        first = shards[0][0][0]
        region.tensor(start.weights).copy_(first.weights)
        region.tensor(start.broadcast).copy_(first.broadcast)
        hands = [hand for hand in self._hands if hand.ready]
        alertness = Alertness([hand.connection for hand in hands], start.alert)
        opening = Opening.of(first)
        remembers = type(plan.algorithm).contribute is not Algorithm.contribute
        # Memories may be larger than a pipe holds: a second order on its way to a hand that answers would block both.
        depth = 1 if remembers else 2
        made: dict[int, Tensor | None] = {}
        given = taken = 0
        while taken < len(shards):
            if taken in made:
                part = made.pop(taken)
                yield shard_total(work, plan, shards[taken], memories) if part is None else part
                taken += 1
                continue
            limit = min(len(shards), taken + len(start.slots))
            for hand in (each for times in range(depth) for each in hands if each.asked == times):
                spare = hand.asked == 0 or len(shards) - given > len(hands)
                if given < limit and spare:
                    self._ask(hand, opening, given, shards[given], memories)
                    given += 1
            arrived = alertness.now()
            if not arrived and given == limit:
                self.meanwhile()
                arrived = alertness.next()
            for hand in hands:
                if hand.connection in arrived:
                    done = self._answer(hand)
                    made[done.number] = region.tensor(start.slots[start.slot(done.number)]) if done.summed else None
                    memories.update({owner: torch.from_numpy(kept) for owner, kept in done.memories.items()})
            if not arrived and given < limit:
                made[given] = tried(work, plan, shards[given], memories)
                given += 1

    def _ask(self, hand: _Hand, opening: Opening, number: int, shard: Shard, memories: dict[int, Tensor]) -> None:
        owners, told, attempt, recipe = owners_of(shard), hand.told, None, None
        if told is not opening:  # in one message: each wakes the hand, on a processor that this one may be using
            attempt = (opening.run, opening.round, opening.attempt)
            recipe = opening.recipe if told is None or told.recipe is not opening.recipe else None
            hand.told = opening
        order = Order(number, owners, kept_by(owners, memories), attempt, recipe)
        try:
            hand.connection.send_bytes(pickle.dumps(order))
        except ConnectionError:
            raise TeamError(self._ended(hand)) from None
        hand.asked += 1

    def _answer(self, hand: _Hand) -> Done:
        done = self._heard(hand)
        if not isinstance(done, Done):
            raise TeamError(f"a process answered {type(done).__name__} to a shard; start the simulation again")
        hand.asked -= 1
        return done

    def _heard(self, hand: _Hand) -> object:
        try:
            said: object = hand.connection.recv()
        except (EOFError, ConnectionError):
            raise TeamError(self._ended(hand)) from None
        return said

    def _ended(self, hand: _Hand) -> str:
        code = hand.process.wait()
        hand.errors.seek(0)
        said = hand.errors.read().decode("utf-8", "replace").splitlines()[-_TOLD:]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = "; the machine may have run out of memory" if code == -9 else ""
        words = [": its last words:", *(f"  {line}" for line in said)] if said else [""]
        head = (
            f"one of {self.most} processes ended with {how}{hint}; resume the run, with --workers 1 if it happens again"
        )
        return "\n".join([head + words[0], *words[1:]])


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _started(region: Region) -> _Hand:
    mine, theirs = Pipe()
    errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the hand
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(theirs.fileno()), str(region.descriptor)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            pass_fds=(theirs.fileno(), region.descriptor), start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )  # fmt: skip
    except OSError:
        mine.close()
        errors.close()
        raise
    finally:
        theirs.close()
    return _Hand(process, mine, errors)
