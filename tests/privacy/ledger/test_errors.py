"""Errors: whatever a ledger is refused for, the message names the command that tells more, and the files are as they were."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tacit.commands.main import execute
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Currency, Price, chained
from tacit.privacy.ledger.errors import (
    _KINDS,
    AssetError,
    CorruptError,
    LedgerError,
    LockedError,
    RollbackError,
    VersionError,
    fault_of,
)
from tacit.privacy.ledger.store import Store

PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0))


class Site:
    def __init__(self, folder: Path) -> None:
        self.ledger, self.anchor, self.old = folder / "ward3.sqlite", folder / "ward3.anchor", folder / "old"
        create(self.ledger, "ward3", clock=lambda: 0, anchor=self.anchor)
        for round in range(3):
            if round == 2:
                shutil.copy(self.ledger, self.old)
            with self.open() as store:
                store.commit(store.reserve(Address("run", round, 0), "a" * 64, lambda _: PRICE), "b" * 64)

    def open(self, asset: str = "ward3") -> Store:
        return Store(self.ledger, asset, clock=lambda: 0, anchor=self.anchor, patience=0.05)

    def change(self, sql: str, *values: object) -> None:
        with sqlite3.connect(self.ledger) as file:
            file.execute(sql, values)
        file.close()

    def files(self) -> dict[str, bytes]:
        return {
            each.name: each.read_bytes()
            for each in self.ledger.parent.iterdir()
            if each.suffix in (".sqlite", ".anchor")
        }


def corrupt(site: Site) -> None:
    site.change("UPDATE entries SET body = replace(body, 'run', 'ran') WHERE number = 1")


def truncated(site: Site) -> None:
    site.ledger.write_bytes(site.ledger.read_bytes()[:5000])


def behind(site: Site) -> None:
    shutil.copy(site.old, site.ledger)


def unknown(site: Site) -> None:
    """A line of another version, its chain whole: an event that this one does not have."""
    with sqlite3.connect(site.ledger) as file:
        (number, body, digest) = file.execute(
            "SELECT number, body, digest FROM entries ORDER BY number DESC"
        ).fetchone()
        (before,) = file.execute("SELECT digest FROM entries WHERE number = ?", (number - 2,)).fetchone()
        (charge,) = file.execute("SELECT body FROM entries WHERE number = ?", (number - 1,)).fetchone()
        other = bytes(charge).replace(b'"gaussian"', b'"tachyons"')
        assert other != charge
        first = chained(before, number - 1, other)
        file.execute("UPDATE entries SET body = ?, digest = ? WHERE number = ?", (other, first, number - 1))
        file.execute("UPDATE entries SET digest = ? WHERE number = ?", (chained(first, number, bytes(body)), number))
        assert digest
    file.close()


def none(site: Site) -> None:
    return


@pytest.mark.parametrize(
    ("spoil", "kind", "asset"),
    [
        (corrupt, CorruptError, "ward3"), (truncated, CorruptError, "ward3"), (behind, RollbackError, "ward3"),
        (unknown, VersionError, "ward3"), (none, AssetError, "ward4"),
    ],
)  # fmt: skip
def test_the_command_in_the_message_finds_it_and_nothing_is_lost(
    tmp_path: Path,
    spoil: Callable[[Site], None],
    kind: type[LedgerError],
    asset: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = Site(tmp_path)
    spoil(site)
    before = site.files()
    with pytest.raises(kind) as refused:
        site.open(asset)
    assert site.files() == before
    command = str(refused.value).split("`")[-2]
    words = shlex.split(command)
    assert words[:4] == ["tacit", "ledger", "verify", str(site.ledger)]
    assert (execute(words[1:]) != 0) == (
        kind is not AssetError
    )  # another asset's ledger is whole, and says whose it is
    told = capsys.readouterr()
    assert str(site.ledger) in told.err or "ward3" in told.out


def test_a_lock_does_not_keep_the_command_from_reading(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.open() as store:
        holder = sqlite3.connect(site.ledger, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError) as refused:
            store.reserve(Address("run", 9, 0), "a" * 64, lambda _: PRICE)
        assert execute(shlex.split(str(refused.value).split("`")[-2])[1:]) == 0
        holder.close()


@pytest.mark.parametrize("code", sorted(_KINDS))
def test_every_fault_of_the_database_names_the_command(code: int) -> None:
    """Full disks, permissions, broken pages: SQLite's own code decides which, and none is let through."""
    error = sqlite3.OperationalError("it said")
    error.sqlite_errorcode = code
    found = fault_of(Path("/ledgers/ward3.sqlite"), error)
    assert type(found) is _KINDS[code][0]
    assert "`tacit ledger verify /ledgers/ward3.sqlite`" in str(found)
