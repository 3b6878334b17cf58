"""Store: no charge is lost, none counts less than in full, and what cannot be vouched for is refused, whatever happens.

Real files, real processes, real `kill -9`: a child charges and tells what it was granted; the parent kills it and reads.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.entry import START, Address, Currency, Price, body_of, chained
from tacit.privacy.ledger.errors import (
    AssetError,
    CorruptError,
    DiskError,
    LedgerError,
    LockedError,
    MissingError,
    ReadOnlyError,
    TakenError,
    VersionError,
    fault_of,
)
from tacit.privacy.ledger.store import Store, create

OWNER = Currency("owner", "zero-out", Observer("server"))
PRICE = Price(OWNER, Gaussian(2.0))
REQUEST, REPLY = "a" * 64, "b" * 64


def pays(_: Account) -> Price:
    return PRICE


def charges(store: Store) -> int:
    return store.spent().events(OWNER).get(Gaussian(2.0), 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "ward3.ledger"
    create(place, "ward3")
    return place


# --- charging ---


def test_what_was_charged_is_there_when_it_is_opened_again(path: Path) -> None:
    with Store(path, "ward3", clock=lambda: 1_700_000_000.5) as store:
        first = store.reserve(Address("run", 1, 0), REQUEST, pays)
        store.commit(first, REPLY)
        second = store.reserve(Address("run", 2, 0), REQUEST, pays)
        head = store.head
    with Store(path, "ward3") as store:
        assert store.head == head
        assert charges(store) == 2
        found, still = store.find(Address("run", 1, 0)), store.record(second)
        assert found is not None
        assert still is not None
        assert (found.number, found.reply, found.reserved.request) == (first, REPLY, REQUEST)
        assert found.reserved.time == 1_700_000_000
        assert (still.reserved.address, still.reply) == (Address("run", 2, 0), None)
        assert store.find(Address("run", 3, 0)) is None


def test_an_attempt_is_charged_once(path: Path) -> None:
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 1, 0), REQUEST, pays)
        with pytest.raises(TakenError, match="run run, round 1, attempt 0 was charged before"):
            store.reserve(Address("run", 1, 0), REQUEST, pays)
        store.reserve(Address("run", 1, 1), REQUEST, pays)
        assert charges(store) == 2


def test_what_the_budget_refuses_is_not_charged(path: Path) -> None:
    class OverError(Exception):
        pass

    def decide(spent: Account) -> Price:
        if spent.events(OWNER).get(Gaussian(2.0), 0) >= 3:
            raise OverError
        return PRICE

    with Store(path, "ward3") as store:
        for round in range(3):
            store.reserve(Address("run", round, 0), REQUEST, decide)
        head = store.head
        with pytest.raises(OverError):
            store.reserve(Address("run", 3, 0), REQUEST, decide)
        assert store.head == head
        assert charges(store) == 3
        store.reserve(Address("run", 3, 0), REQUEST, pays)  # not taken by the refusal


def test_a_commit_is_final(path: Path) -> None:
    with Store(path, "ward3") as store:
        number = store.reserve(Address("run", 1, 0), REQUEST, pays)
        store.commit(number, REPLY)
        head = store.head
        store.commit(number, REPLY)
        assert store.head == head
        with pytest.raises(LedgerError, match="another reply"):
            store.commit(number, "c" * 64)
        for wrong in (0, 99):
            with pytest.raises(LedgerError, match="no charge"):
                store.commit(wrong, REPLY)


def test_a_clock_that_runs_backwards_changes_no_order(path: Path) -> None:
    times = iter([500.0, -3.0, 100.0, 2e9])
    with Store(path, "ward3", clock=lambda: next(times)) as store:
        for round in range(4):
            store.reserve(Address("run", round, 0), REQUEST, pays)
    with Store(path, "ward3") as store:
        found = [each.reserved for each in store.spent().records()]
    assert [each.address.round for each in found] == [0, 1, 2, 3]
    assert [each.time for each in found] == [500, -3, 100, 2_000_000_000]


def test_nobody_else_may_read_it(path: Path) -> None:
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 1, 0), REQUEST, pays)
        found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(found.values()) == {0o600}
    assert set(found) == {"ward3.ledger", "ward3.ledger-wal", "ward3.ledger-shm"}
    assert [each.name for each in path.parent.iterdir()] == ["ward3.ledger"]


def test_two_stores_see_each_other(path: Path) -> None:
    with Store(path, "ward3") as one, Store(path, "ward3") as other:
        number = one.reserve(Address("run", 1, 0), REQUEST, pays)
        with pytest.raises(TakenError):
            other.reserve(Address("run", 1, 0), REQUEST, pays)
        other.reserve(Address("run", 2, 0), REQUEST, pays)
        other.commit(number, REPLY)
        found = one.find(Address("run", 1, 0))
        assert found is not None
        assert found.reply == REPLY
        assert one.head == other.head
        assert charges(one) == 2


def test_once_it_is_folded_a_copy_of_the_file_alone_is_whole(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 1, 0), REQUEST, pays)
        shutil.copy(path, copy)
        with Store(copy, "ward3") as old:
            assert old.spent().records() == ()
        store.fold()
        shutil.copy(path, copy)
        with Store(copy, "ward3") as new:
            assert new.head == store.head
        store.reserve(Address("run", 2, 0), REQUEST, pays)  # and it goes on


def test_threads_may_share_a_store(path: Path) -> None:
    with Store(path, "ward3") as store:

        def charge(name: str) -> None:
            for round in range(20):
                store.commit(store.reserve(Address(name, round, 0), REQUEST, pays), REPLY)

        threads = [threading.Thread(target=charge, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert charges(store) == 80
        assert store.head[0] == 160


def test_a_forked_process_may_not_use_it(path: Path) -> None:
    with Store(path, "ward3") as store:
        child = os.fork()
        if child == 0:
            try:
                store.reserve(Address("run", 1, 0), REQUEST, pays)
            except LedgerError:
                store.close()
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert charges(store) == 0
        store.reserve(Address("run", 1, 0), REQUEST, pays)


def test_a_closed_store_charges_nothing(path: Path) -> None:
    store = Store(path, "ward3")
    store.close()
    store.close()
    with pytest.raises(LedgerError, match="closed"):
        store.reserve(Address("run", 1, 0), REQUEST, pays)


# --- what is refused ---


def test_a_ledger_is_never_made_anew_by_itself(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no ledger there; restore"):
        Store(tmp_path / "other", "ward3")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="something is there already"):
        create(path, "ward3")
    assert path.read_bytes() == before
    with pytest.raises(DiskError, match="choose a place"):
        create(tmp_path / "nowhere" / "x", "ward3")
    assert [each.name for each in tmp_path.iterdir()] == ["ward3.ledger"]


def test_two_ledgers_of_one_asset_are_two(tmp_path: Path) -> None:
    create(tmp_path / "a", "ward3", clock=lambda: 0)
    create(tmp_path / "b", "ward3", clock=lambda: 0)
    with Store(tmp_path / "a", "ward3") as a, Store(tmp_path / "b", "ward3") as b:
        assert a.head != b.head


def test_another_asset_s_ledger_is_refused(path: Path) -> None:
    with pytest.raises(AssetError, match="the ledger of asset 'ward3', not of 'ward4'"):
        Store(path, "ward4")


def edit(path: Path, *statements: str) -> None:
    """What somebody with an SQLite shell can do."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


EDITS = {
    "a changed line": (
        "UPDATE entries SET body = replace(body, '2.0', '9.0') WHERE number = 1",
        CorruptError,
        "line 1",
    ),
    "a line taken out": ("DELETE FROM entries WHERE number = 2", CorruptError, "line 3 follows line 1"),
    "the heading taken out": ("DELETE FROM entries WHERE number = 0", CorruptError, "line 1 follows"),
    "all lines taken out": ("DELETE FROM entries", CorruptError, "no heading"),
    "a line moved": ("UPDATE entries SET number = 9 WHERE number = 4", CorruptError, "line 9 follows line 3"),
    "a line made up": ("INSERT INTO entries VALUES (5, '{}', zeroblob(32), NULL)", CorruptError, "line 5"),
    "a text for bytes": ("UPDATE entries SET body = CAST(body AS TEXT) WHERE number = 2", CorruptError, "line 2"),
    "no digest": ("UPDATE entries SET digest = x'' WHERE number = 2", CorruptError, "line 2"),
    "another table": ("CREATE TABLE more (x)", CorruptError, "tables"),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END", CorruptError, "tables"),
    "another kind": ("PRAGMA application_id = 5", CorruptError, "not a ledger"),
    "a later version": ("PRAGMA user_version = 3", VersionError, "version 3, this program reads 2"),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_was_edited_is_refused(path: Path, what: str) -> None:
    fill(path)
    statement, kind, words = EDITS[what]
    edit(path, statement)
    with pytest.raises(kind, match=words) as caught:
        Store(path, "ward3")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [(b'"gaussian"', b'"exponential"'), (b'"reserved"', b'"refunded"'), (b'"zero-out"', b'"something"'),
     (b'"round":1', b'"round":0')],
)  # fmt: skip
def test_a_line_that_this_version_does_not_know_is_refused_though_its_chain_holds(
    path: Path, change: tuple[bytes, bytes]
) -> None:
    """What a later version may write: another event, another kind of line; or a charge twice."""
    fill(path)
    connection = sqlite3.connect(path, isolation_level=None)
    rows = connection.execute("SELECT number, body FROM entries ORDER BY number").fetchall()
    previous = START
    for number, body in rows:
        changed = body.replace(*change) if number else body
        previous = chained(previous, number, changed)
        connection.execute("UPDATE entries SET body = ?, digest = ? WHERE number = ?", (changed, previous, number))
    connection.close()
    with pytest.raises(VersionError, match="go on with the version that wrote it"):
        Store(path, "ward3")


def test_a_line_edited_while_it_is_open_stops_it(path: Path) -> None:
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 0, 0), REQUEST, pays)
        edit(path, "INSERT INTO entries VALUES (2, '{}', zeroblob(32), NULL)")
        for _ in range(2):
            with pytest.raises(CorruptError, match="line 2"):
                store.reserve(Address("run", 1, 0), REQUEST, pays)
        edit(path, "DELETE FROM entries WHERE number = 2")
        with pytest.raises(CorruptError):  # until it has been read anew
            store.reserve(Address("run", 1, 0), REQUEST, pays)
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 1, 0), REQUEST, pays)


def test_lines_lost_at_the_end_show_in_the_head(path: Path) -> None:
    """The chain alone cannot tell (PRIVACY.md 22); an anchor elsewhere can."""
    fill(path)
    with Store(path, "ward3") as store:
        head = store.head
    edit(path, "DELETE FROM entries WHERE number = 4")
    with Store(path, "ward3") as store:
        assert store.head[0] == head[0] - 1
        assert store.head[1] != head[1]


def fill(path: Path) -> None:
    with Store(path, "ward3", clock=lambda: 0) as store:
        for round in range(2):
            store.commit(store.reserve(Address("run", round, 0), REQUEST, pays), REPLY)


@pytest.fixture(scope="module")
def whole() -> Iterator[tuple[Path, bytes]]:
    """A folder, and the bytes of a ledger of four lines."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ward3.ledger"
        create(place, "ward3", clock=lambda: 0)
        fill(place)
        yield Path(folder), place.read_bytes()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_refused_or_means_nothing(whole: tuple[Path, bytes], source: st.DataObject) -> None:
    folder, content = whole
    used = st.integers(0, 100) | st.integers(0, len(content) - 1) | st.integers(len(content) - 2500, len(content) - 1)
    at = source.draw(used)
    changed = bytearray(content)
    changed[at] ^= source.draw(st.integers(1, 255))
    place = folder / "changed"
    place.write_bytes(changed)
    try:
        store = Store(place, "ward3")
    except LedgerError as error:
        words = str(error)
    else:
        words = f"{place}; "
        assert charges(store) == 2
        assert store.head[0] == 4
        store.close()
    assert words.startswith(str(place))
    assert "; " in words


def test_a_database_that_contradicts_itself_is_refused_though_its_chain_holds(whole: tuple[Path, bytes]) -> None:
    """The header counts free pages that are not there: a later write would use them."""
    folder, content = whole
    place = folder / "contradiction"
    place.write_bytes(content[:39] + b"\1" + content[40:])
    with pytest.raises(CorruptError, match="contradicts itself"):
        Store(place, "ward3")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_that_is_cut_off_is_refused(whole: tuple[Path, bytes], source: st.DataObject) -> None:
    folder, content = whole
    place = folder / "cut"
    place.write_bytes(content[: source.draw(st.integers(0, len(content) - 1) | st.sampled_from([0, 512, 4096]))])
    with pytest.raises(CorruptError, match=r"damaged|cut"):
        Store(place, "ward3")


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"\0" * 8192, b"a letter"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "x"
    place.write_bytes(content)
    with pytest.raises(CorruptError):
        Store(place, "ward3")
    assert place.read_bytes() == content
    with pytest.raises(CorruptError):
        Store(tmp_path, "ward3")


def test_a_lock_that_stays_is_said(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    with Store(path, "ward3", patience=0.05) as store:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="another process holds it"):
            store.reserve(Address("run", 1, 0), REQUEST, pays)
        with pytest.raises(LockedError):
            Store(path, "ward3", patience=0.05)
        assert charges(store) == 0  # reading goes on
        holder.execute("ROLLBACK")
        store.reserve(Address("run", 1, 0), REQUEST, pays)
    holder.close()


def test_a_full_disk_has_its_words(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "full", isolation_level=None)
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO t VALUES (zeroblob(9999))")
    connection.close()
    fault = fault_of(tmp_path / "full", caught.value)
    assert isinstance(fault, DiskError)
    assert "free some space" in str(fault)


# --- children ---

PREAMBLE = """
import os, resource, signal, sys
from pathlib import Path
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import LedgerError
from tacit.privacy.ledger.store import Store, create

PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0))
say = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


def child(script: str, *arguments: object, **given: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREAMBLE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **given)  # type: ignore[call-overload,no-any-return]  # by keyword


CHARGING = """
path, name = Path(sys.argv[1]), sys.argv[2]
with Store(path, "ward3") as store:
    for round in range(100000):
        number = store.reserve(Address(name, round, 0), "a" * 64, lambda spent: PRICE)
        say("granted", number)
        store.commit(number, "b" * 64)
        say("sent", number)
"""


def test_killed_at_any_moment_it_loses_nothing_and_goes_on(path: Path) -> None:
    chance = random.Random(5)
    before = 0
    for turn in range(20):
        process = child(CHARGING, path, f"run{turn}")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.01))
        process.kill()
        told = process.stdout.read().splitlines()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        granted = 1 + sum(line.startswith("granted") for line in told)
        sent = sum(line.startswith("sent") for line in told)
        with Store(path, "ward3") as store:
            mine = store.spent().records(f"run{turn}")
            assert [each.reserved.address.round for each in mine] == list(range(len(mine)))
            assert granted <= len(mine) <= granted + 1
            assert sent <= sum(each.reply is not None for each in mine) <= granted
            assert charges(store) == before + len(mine)
            before = charges(store)
            assert store.spent().delta_extra(OWNER) == 0


STEPS = [
    f"{name}: {step}"
    for name in ("reserve", "commit")
    for step in ("begun", "caught up", "decided", "written", "kept", "done")
]
STOPPED = """
def stop(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

with Store(Path(sys.argv[1]), "ward3", step=stop) as store:
    number = store.reserve(Address("run", 1, 0), "a" * 64, lambda spent: PRICE)
    store.commit(number, "b" * 64)
"""


def test_killed_between_any_two_steps_it_has_charged_or_not(tmp_path: Path) -> None:
    """Charged from the moment that `reserve` could return, committed from the moment that `commit` could."""
    for index, step in enumerate(STEPS):
        place = tmp_path / f"{index}"
        create(place, "ward3")
        process = child(STOPPED, place, step)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, step
        with Store(place, "ward3") as store:
            found = store.find(Address("run", 1, 0))
            assert (found is not None) is (index >= STEPS.index("reserve: kept")), step
            assert (found is not None and found.reply is not None) is (step in ("commit: kept", "commit: done")), step
            assert charges(store) == (found is not None)
            store.reserve(Address("run", 1, 1), REQUEST, pays)


def test_a_step_that_raises_leaves_nothing_half_done(path: Path) -> None:
    class StopError(Exception):
        pass

    armed: list[str] = []

    def stop(step: str) -> None:
        if step in armed:
            raise StopError

    with Store(path, "ward3", step=stop) as store:
        for index, step in enumerate(STEPS[:4]):
            armed[:] = [step]
            with pytest.raises(StopError):
                store.reserve(Address("run", index, 0), REQUEST, pays)
            assert charges(store) == 0
        armed.clear()
        store.reserve(Address("run", 0, 0), REQUEST, pays)
        assert store.head[0] == 1


def test_a_ledger_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    making = "for i in range(100000): create(Path(sys.argv[1]) / f'{i}', 'ward3'); say(i)"
    process = child(making, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.02)
    process.kill()
    process.communicate()
    made = [each for each in tmp_path.iterdir() if not each.name.startswith(".")]
    assert made
    for each in made:
        Store(each, "ward3").close()


SHARED = """
class Over(Exception):
    pass

def decide(spent):
    if len(spent.records()) >= 60:
        raise Over
    return PRICE

count = 0
with Store(Path(sys.argv[1]), "ward3", patience=60) as store:
    say("ready")
    sys.stdin.readline()
    try:
        for round in range(1000):
            store.reserve(Address(sys.argv[2], round, 0), "a" * 64, decide)
            count += 1
    except Over:
        say(count)
"""


def test_two_processes_cannot_overspend_together(path: Path) -> None:
    both = [child(SHARED, path, name, stdin=subprocess.PIPE) for name in ("a", "b")]
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    counts = [int(each.communicate()[0]) for each in both]
    assert sum(counts) == 60
    with Store(path, "ward3") as store:
        assert charges(store) == 60
        assert [len(store.spent().records(name)) for name in ("a", "b")] == counts


FULL = """
path = Path(sys.argv[1])
with Store(path, "ward3") as store:
    for round in range(3):
        store.reserve(Address("run", round, 0), "a" * 64, lambda spent: PRICE)
    limit = Path(f"{path}-wal").stat().st_size + 30000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for round in range(3, 100000):
        try:
            store.reserve(Address("run", round, 0), "a" * 64, lambda spent: PRICE)
        except LedgerError as error:
            say(round, type(error).__name__, str(error))
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        store.reserve(Address("run", 999999, 0), "a" * 64, lambda spent: PRICE)
        say("went on")
    except LedgerError as error:
        say(type(error).__name__)
"""


def test_a_disk_that_takes_no_more_stops_it_and_keeps_what_was_granted(path: Path) -> None:
    """A limit on the size of files stands for a full disk. Nothing is trusted after it until the file is read again."""
    out, _ = child(FULL, path).communicate()
    first, second = out.splitlines()
    granted, kind, words = first.split(" ", 2)
    assert kind == "DiskError"
    assert "free some space" in words
    assert second == "DiskError"
    with Store(path, "ward3") as store:
        assert int(granted) <= charges(store) <= int(granted) + 1
        store.reserve(Address("run", 999_999, 0), REQUEST, pays)


READING = """
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    Store(Path(sys.argv[1]), "ward3")
except LedgerError as error:
    say(type(error).__name__, str(error))
"""


@pytest.mark.parametrize(("mode", "words"), [(0o444, "cannot be written"), (0o000, "cannot be opened")])
def test_a_ledger_that_cannot_be_written_is_refused_at_once(mode: int, words: str) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        place = folder / "ward3.ledger"
        create(place, "ward3")
        place.chmod(mode)
        folder.chmod(0o555)
        out, _ = child(READING, place).communicate()
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert out.startswith(ReadOnlyError.__name__)
    assert words in out


def test_reading_a_ledger_loads_neither_torch_nor_an_accountant() -> None:
    script = (
        "import tacit.privacy.ledger.durable\nsay([name for name in ('torch', 'dp_accounting') if name in sys.modules])"
    )
    assert child(script).communicate()[0] == "[]\n"


def test_the_first_line_is_the_heading(path: Path) -> None:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT number, body, digest, signature FROM entries").fetchall()
    connection.close()
    ((number, body, digest, signature),) = rows
    assert (number, signature) == (0, None)
    assert digest == chained(START, 0, body)
    assert b'"asset":"ward3"' in body
    with Store(path, "ward3") as store:
        store.reserve(Address("run", 1, 0), REQUEST, pays)
        found = store.record(1)
        assert found is not None
        assert store.head == (1, chained(digest, 1, body_of(found.reserved)))
