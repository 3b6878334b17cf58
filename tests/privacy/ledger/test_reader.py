"""Reader: what a store wrote is read without a trace, from wherever; an export is the same ledger; a changed byte is found."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price
from tacit.privacy.ledger.errors import CorruptError, LedgerError, MissingError, SignatureError, VersionError
from tacit.privacy.ledger.reader import exported, read
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
OWNER = Currency("owner", "zero-out", Observer("server"))


def made(folder: Path) -> Path:
    path = folder / "ward3.sqlite"
    create(path, "ward3", clock=lambda: 0, key=KEY)
    with Store(path, "ward3", clock=lambda: 0, key=KEY) as store:
        for round in range(3):
            store.commit(
                store.reserve(Address("run", round, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(2.0))), "b" * 64
            )
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path)


def test_it_reads_what_the_store_wrote_and_leaves_no_trace(path: Path) -> None:
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    book = read(path, KEY.public_key())
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    with Store(path, "ward3", key=KEY) as store:
        assert store.head == (book.head.number, book.head.digest) == (6, book.digest(6))
        assert book.account.records() == store.spent().records()
    assert (book.digest(-1), book.digest(7)) == (None, None)
    assert book.heading.asset == "ward3"


def test_it_reads_beside_a_program_that_writes(path: Path) -> None:
    with Store(path, "ward3", key=KEY) as store:
        store.reserve(Address("run", 7, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(2.0)))
        assert read(path).head.number == 7


def test_it_reads_where_nothing_can_be_written(path: Path) -> None:
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert read(path).head.number == 6
    finally:
        path.parent.chmod(0o700)


def test_it_reads_what_a_killed_program_left_where_nothing_more_fits(path: Path) -> None:
    """A full disk: the log holds a charge that the file does not, and no index of the log can be made beside it."""
    beside = path.with_name("beside.sqlite")
    with Store(path, "ward3", key=KEY) as store:
        store.reserve(Address("run", 7, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(2.0)))
        for tail in ("", "-wal"):
            shutil.copy(f"{path}{tail}", f"{beside}{tail}")
    beside.with_name(f"{beside.name}-shm").mkdir()
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    book = read(beside, KEY.public_key())
    assert (book.head.number, len(book.account.records())) == (7, 4)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before


def test_of_a_broken_database_it_says_how_far_it_holds(path: Path) -> None:
    with Store(path, "ward3", key=KEY) as store:
        for round in range(10, 60):
            store.reserve(Address("run", round, 0), "a" * 64, lambda _: Price(OWNER, Gaussian(2.0)))
    content = bytearray(path.read_bytes())
    content[-4096:] = bytes(4096)  # the last page of lines
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"lines 0 to \d+ hold"):
        read(path)


def test_an_export_is_the_same_ledger(path: Path) -> None:
    book = read(path)
    text = "".join(f"{exported(line)}\n" for line in book.lines)
    place = path.with_suffix(".jsonl")
    place.write_text(text)
    again = read(place, KEY.public_key())
    assert again.lines == book.lines
    assert "".join(f"{exported(line)}\n" for line in again.lines) == text
    with pytest.raises(SignatureError):
        read(place, OTHER.public_key())


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("export")
    return folder, "".join(f"{exported(line)}\n" for line in read(made(folder)).lines)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_character_anywhere_in_an_export_is_found(text: tuple[Path, str], source: st.DataObject) -> None:
    folder, whole = text
    at = source.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + source.draw(st.characters(codec="ascii", exclude_characters=whole[at])) + whole[at + 1 :]
    place = folder / "changed"
    place.write_text(changed)
    try:
        book = read(place, KEY.public_key())
    except LedgerError:
        return
    else:  # only what JSON gives no meaning to
        assert "".join(f"{exported(line)}\n" for line in book.lines) == whole


@pytest.mark.parametrize("what", ["dropped", "doubled", "swapped", "another's"])
def test_lines_of_an_export_keep_their_places(path: Path, what: str) -> None:
    lines = [exported(line) for line in read(path).lines]
    changed = {
        "dropped": lines[:2] + lines[3:], "doubled": [*lines[:3], *lines[2:]],
        "swapped": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "another's": [*lines[:2], lines[4].replace('"number":4', '"number":2')],
    }[what]  # fmt: skip
    place = path.with_suffix(".jsonl")
    place.write_text("\n".join(changed))
    with pytest.raises(LedgerError):
        read(place)


@pytest.mark.parametrize("content", [b"", b"{", b"{}\n", b'{"number":0}', b"[]", b"SQLite format 3\0", b"\0" * 5000])
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "x"
    place.write_bytes(content)
    with pytest.raises(CorruptError):
        read(place)
    with pytest.raises(MissingError):
        read(tmp_path / "y")


def test_another_version_s_is_refused(path: Path) -> None:
    copy = path.with_name("other")
    shutil.copy(path, copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(VersionError, match="version 3, this program reads 2"):
        read(copy)


def test_an_export_needs_no_json_of_ours_to_be_checked(path: Path) -> None:
    """By hand, as docs/ledger.md says: SHA-256 over the body as it stands there, Ed25519 over the digest."""
    import hashlib

    previous = bytes(32)
    for line in read(path).lines:
        row = json.loads(exported(line))
        number = row["number"].to_bytes(8, "big")
        previous = hashlib.sha256(b"tacit ledger 2\0" + number + previous + row["body"].encode()).digest()
        assert previous.hex() == row["digest"]
        KEY.public_key().verify(bytes.fromhex(row["signature"]), b"tacit ledger line 2\0" + previous)
