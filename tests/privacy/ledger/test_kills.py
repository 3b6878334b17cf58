"""Killed at any instant, and between any two system calls of a charge: no charge is lost or counts less, and nothing is wedged.

A child, forked from this process, charges a signed and anchored ledger and tells what it was granted; it is killed with
`kill -9`. Between system calls it is stopped as a debugger does it (ptrace), so every place where it can die is tried.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import RollbackError
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0))
REQUEST, REPLY = "a" * 64, "b" * 64


def pays(_: Account) -> Price:
    return PRICE


class Site:
    """A ledger and its anchor in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.anchor = folder / "ward3.sqlite", folder / "anchors" / "ward3.anchor"

    def create(self) -> None:
        create(self.ledger, "ward3", clock=lambda: 0, key=KEY, anchor=self.anchor)

    def open(self) -> Store:
        return Store(self.ledger, "ward3", clock=lambda: 0, key=KEY, anchor=self.anchor)


def forked(work: Callable[[Callable[[str], None]], None]) -> tuple[int, int]:
    """A child that does `work`, which may say words; its process, and the pipe's end that they come from."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(end)
            work(lambda words: os.write(start, f"{words}\n".encode()) and None)
            code = 0
        finally:
            os._exit(code)
    os.close(start)
    return child, end


def told(end: int) -> list[str]:
    """All that a child said that has ended."""
    found = b""
    while part := os.read(end, 65536):
        found += part
    os.close(end)
    return found.decode().splitlines()


# --- at any instant ---


def kill_at_random(folder: Path, turns: int, seed: int) -> None:
    draw = random.Random(seed)
    place, before = folder, 0
    for turn in range(turns):
        if turn % 25 == 0:  # a ledger is read whole when it is opened
            place, before = folder / f"{turn}", 0
            place.mkdir()
            Site(place).create()
        site = Site(place)

        def work(say: Callable[[str], None], site: Site = site, turn: int = turn) -> None:
            with site.open() as store:
                say("ready")
                for round in range(100_000):
                    number = store.reserve(Address(f"run{turn}", round, 0), REQUEST, pays)
                    say("granted")
                    store.commit(number, REPLY)
                    say("sent")

        child, end = forked(work)
        assert os.read(end, 6) == b"ready\n"
        time.sleep(draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        words = told(end)
        granted, sent = words.count("granted"), words.count("sent")
        with site.open() as store:
            mine = store.spent().records(f"run{turn}")
            assert [each.reserved.address.round for each in mine] == list(range(len(mine)))
            assert granted <= len(mine) <= granted + 1
            assert sent <= sum(each.reply is not None for each in mine) <= granted
            assert len(store.spent().records()) == before + len(mine)
            store.reserve(Address(f"after{turn}", 0, 0), REQUEST, pays)
            before += len(mine) + 1


def test_killed_at_fifty_random_instants(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 50, seed=1)


@pytest.mark.soak
def test_killed_at_a_thousand_random_instants(tmp_path: Path) -> None:
    seed = int(os.environ.get("TACIT_KILL_SEED", time.time_ns()))
    print(f"TACIT_KILL_SEED={seed}")
    kill_at_random(tmp_path, 1000, seed)


class OverError(Exception):
    """The budget of this test is used up."""


def test_processes_that_share_a_ledger_and_are_killed_never_overspend_together(tmp_path: Path) -> None:
    """Each charges for runs of its own, all under one budget; one of them is killed on the way."""
    site, most = Site(tmp_path), 60
    site.create()

    def decide(spent: Account) -> Price:
        if len(spent.records()) >= most:
            raise OverError
        return PRICE

    def work(say: Callable[[str], None]) -> None:
        with Store(site.ledger, "ward3", key=KEY, anchor=site.anchor, patience=60.0) as store:
            try:
                for round in range(1000):
                    store.reserve(Address(f"run{os.getpid()}", round, 0), REQUEST, decide)
                    say("granted")
            except OverError:
                say("over")

    children = [forked(work) for _ in range(3)]
    first, end = children[0]
    assert os.read(end, 8) == b"granted\n"
    os.kill(first, signal.SIGKILL)
    granted = 1
    for child, end in children:
        words = told(end)
        os.waitpid(child, 0)
        granted += words.count("granted")
        assert child == first or words[-1] == "over"
    with site.open() as store:
        assert len(store.spent().records()) == most
        assert most - 1 <= granted <= most  # of the killed one, a charge may stand that it was not told of


# --- between any two system calls ---

_TRACEME, _CONT, _SYSCALL, _GETREGS, _OPTIONS = 0, 7, 24, 12, 0x4200
_SYSGOOD = 1
_STOPPED = signal.SIGTRAP | 0x80
_WRITE, _PWRITE, _FSYNC, _FDATASYNC = 1, 18, 74, 75  # x86-64
_CALL, _FIRST = 15, 14  # places of the number of a call and of its first argument among the registers


def ptrace(request: int, process: int, data: int = 0) -> None:
    found = ctypes.CDLL(None, use_errno=True).ptrace(
        ctypes.c_long(request), ctypes.c_int(process), ctypes.c_void_p(0), ctypes.c_void_p(data)
    )
    if found < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def traced(work: Callable[[Callable[[str], None]], Callable[[], None]]) -> tuple[int, int]:
    """A child, stopped between what `work` does and what it returns; its process, and the pipe's end of its words."""

    def child(say: Callable[[str], None]) -> None:
        then = work(say)
        ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        then()

    process, end = forked(child)
    _, status = os.waitpid(process, 0)
    if not os.WIFSTOPPED(status):
        os.close(end)
        pytest.skip("this machine lets no process trace another")
    ptrace(_OPTIONS, process, _SYSGOOD)
    return process, end


def calls(process: int) -> Iterator[int]:
    """Lets a traced child go on to the end of each of its system calls in turn; ends with the child."""
    entered = False
    signalled = 0
    while True:
        ptrace(_SYSCALL, process, signalled)
        _, status = os.waitpid(process, 0)
        if not os.WIFSTOPPED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return
        signalled = 0 if os.WSTOPSIG(status) == _STOPPED else os.WSTOPSIG(status)
        if signalled:
            continue
        entered = not entered
        if not entered:
            yield process


def killed_after(work: Callable[[Callable[[str], None]], Callable[[], None]], count: int) -> tuple[bool, list[str]]:
    """Whether a child had more than `count` system calls, after which it is killed; and what it said."""
    process, end = traced(work)
    for index, _ in enumerate(calls(process)):
        if index == count:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return True, told(end)
    return False, told(end)


def charge(site: Site, store: Store, say: Callable[[str], None]) -> None:
    number = store.reserve(Address("run", 1, 0), REQUEST, pays)
    say("granted")
    store.commit(number, REPLY)
    say("sent")
    store.survived(number, 5, Gaussian(3.0))


def charging(site: Site) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """A charge by a process that has the ledger open."""

    def work(say: Callable[[str], None]) -> Callable[[], None]:
        store = site.open()
        return lambda: charge(site, store, say)

    return work


def folding(site: Site) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """A charge of which each transaction brings the write-ahead log back into the file, as every thousandth page does."""

    def work(say: Callable[[str], None]) -> Callable[[], None]:
        store = site.open()
        store._connection.execute("PRAGMA wal_autocheckpoint = 1")
        return lambda: charge(site, store, say)

    return work


def whole(site: Site) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """A process that opens the ledger, charges and closes it."""

    def work(say: Callable[[str], None]) -> Callable[[], None]:
        def then() -> None:
            with site.open() as store:
                charge(site, store, say)

        return then

    return work


def left_behind(site: Site) -> None:
    """A ledger of a process that was killed: one charge is in its write-ahead log alone."""
    site.create()

    def work(say: Callable[[str], None]) -> None:
        store = site.open()
        store.reserve(Address("before", 0, 0), REQUEST, pays)
        os._exit(0)

    process, end = forked(work)
    os.waitpid(process, 0)
    assert told(end) == []
    assert site.ledger.with_name(f"{site.ledger.name}-wal").stat().st_size > 0


def kill_within(
    folder: Path, working: Callable[[Site], Callable[[Callable[[str], None]], Callable[[], None]]]
) -> set[tuple[str, ...]]:
    """Kill `working` after each of its system calls, and hold what is found then; what was told in time.

    Granted → charged, and an older copy is refused from then on; sent → committed; in every case it goes on.
    """
    fresh = folder / "fresh"
    fresh.mkdir()
    left_behind(Site(fresh))
    count, going, seen = 0, True, set()
    while going:
        place = folder / "now"
        shutil.copytree(fresh, place)
        site = Site(place)
        going, words = killed_after(working(site), count)
        seen.add(tuple(words))
        if "granted" in words:
            rolled = folder / "rolled"
            shutil.copytree(place, rolled)
            for each in rolled.glob("ward3.sqlite*"):
                each.unlink()
            for each in fresh.glob("ward3.sqlite*"):
                shutil.copy(each, rolled)
            with pytest.raises(RollbackError, match="older copy"):
                Site(rolled).open()
            shutil.rmtree(rolled)
        with site.open() as store:
            assert store.find(Address("before", 0, 0)) is not None
            found = store.find(Address("run", 1, 0))
            assert found is not None or "granted" not in words
            assert (found is not None and found.reply is not None) or "sent" not in words
            assert len(store.spent().records()) == 1 + (found is not None)
            assert set(store.spent().events(PRICE.currency)) == {PRICE.event}  # whoever survived
            store.commit(store.reserve(Address("run", 1, 1), REQUEST, pays), REPLY)
        with site.open() as store:
            assert len(store.spent().records()) == 2 + (found is not None)
        assert going or (found is not None and found.realised is not None)
        shutil.rmtree(place)
        count += 1
    assert count > 20
    return seen


@pytest.mark.parametrize("working", [charging, folding, whole])
def test_killed_between_any_two_system_calls_of_a_charge(
    tmp_path: Path, working: Callable[[Site], Callable[[Callable[[str], None]], Callable[[], None]]]
) -> None:
    assert kill_within(tmp_path, working) == {(), ("granted",), ("granted", "sent")}


def kill_while_making(folder: Path, stride: int) -> set[tuple[bool, bool]]:
    """Kill the making of a ledger after every `stride`-th system call; what there was then: an anchor, a ledger."""
    count, going, outcomes = 0, True, set()
    while going:
        place = folder / f"{count}"
        place.mkdir()
        site = Site(place)
        going, _ = killed_after(lambda _, site=site: site.create, count)  # type: ignore[misc]  # bound now
        outcomes.add((site.anchor.exists(), site.ledger.exists()))
        if not site.ledger.exists():
            site.create()
        with site.open() as store:
            store.reserve(Address("run", 1, 0), REQUEST, pays)
        shutil.rmtree(place)
        count += stride
    return outcomes


def test_killed_while_it_is_made_it_is_whole_or_not_there_and_can_be_made(tmp_path: Path) -> None:
    assert kill_while_making(tmp_path, 7) == {(False, False), (True, False), (True, True)}


@pytest.mark.soak
def test_killed_between_any_two_system_calls_of_its_making(tmp_path: Path) -> None:
    assert kill_while_making(tmp_path, 1) == {(False, False), (True, False), (True, True)}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the registers of this processor")
def test_what_was_written_is_synced_before_anything_is_granted(tmp_path: Path) -> None:
    """A lost battery takes what was not synced: each file that was written was synced before the grant is told."""
    site = Site(tmp_path)
    site.create()
    process, end = traced(charging(site))
    registers = (ctypes.c_ulonglong * 27)()
    unsynced: set[int] = set()
    synced: list[int] = []
    grants = 0
    for _ in calls(process):
        ptrace(_GETREGS, process, ctypes.addressof(registers))
        call, file = registers[_CALL], registers[_FIRST]
        if call == _PWRITE:
            unsynced.add(file)
        elif call in (_FSYNC, _FDATASYNC):
            unsynced.discard(file)
            synced.append(file)
        elif call == _WRITE:  # it says `granted`, and later `sent`
            assert not unsynced
            assert len(set(synced)) == 2  # ledger and anchor
            grants += 1
            synced.clear()
    assert grants == 2
    assert told(end) == ["granted", "sent"]
