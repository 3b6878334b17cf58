"""Chain: every line is signed by the ledger's key, and one that is not is found and named, wherever it stands."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.chain import Chain
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import START, Address, Currency, Price, chained
from tacit.privacy.ledger.errors import LedgerError, SignatureError
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PRICE = Price(Currency("owner", "zero-out", Observer("server")), Gaussian(2.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "ward3.sqlite"
    create(place, "ward3", clock=lambda: 0, key=KEY)
    with Store(place, "ward3", clock=lambda: 0, key=KEY) as store:
        for round in range(2):
            store.commit(store.reserve(Address("run", round, 0), "a" * 64, lambda _: PRICE), "b" * 64)
    return place


def rows(path: Path) -> list[tuple[int, bytes, bytes, bytes]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT number, body, digest, signature FROM entries ORDER BY number").fetchall()
    connection.close()
    return found


def test_each_line_s_signature_is_of_its_digest(path: Path) -> None:
    """By hand: Ed25519 over the tag and the digest."""
    found = rows(path)
    assert len(found) == 5
    for _, _, digest, signature in found:
        KEY.public_key().verify(signature, b"tacit ledger line 2\0" + digest)


def forge(path: Path, number: int, signature: bytes | None) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE entries SET signature = ? WHERE number = ?", (signature, number))
    connection.close()


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("how", ["none", "zeros", "short", "another line's", "another key's"])
def test_a_line_that_the_key_has_not_signed_is_refused_wherever_it_stands(path: Path, number: int, how: str) -> None:
    found = rows(path)
    digest = found[number][2]
    signature = {
        "none": None, "zeros": bytes(64), "short": found[number][3][:63], "another line's": found[number - 1][3],
        "another key's": OTHER.sign(b"tacit ledger line 2\0" + digest),
    }[how]  # fmt: skip
    forge(path, number, signature)
    for key in (KEY, None):
        with pytest.raises(SignatureError, match=f"line {number} is not signed by key"):
            Store(path, "ward3", key=key)


def test_a_text_for_a_signature_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE entries SET signature = 'yes' WHERE number = 1")
    connection.close()
    with pytest.raises(SignatureError, match="line 1"):
        Store(path, "ward3", key=KEY)


def test_a_whole_ledger_made_by_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its chain and signatures are perfect; the key is not the owner's."""
    create(tmp_path / "x", "ward3", key=OTHER)
    with pytest.raises(SignatureError, match="not by key"):
        Store(tmp_path / "x", "ward3", key=KEY)


def test_a_forger_without_the_key_can_add_nothing(path: Path) -> None:
    last = rows(path)[-1]
    body = rows(path)[1][1].replace(b'"round":0', b'"round":7')
    digest = chained(last[2], 5, body)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO entries VALUES (5, ?, ?, ?)", (body, digest, OTHER.sign(digest)))
    connection.close()
    with pytest.raises(SignatureError, match="line 5"):
        Store(path, "ward3", key=KEY)


def test_a_forged_line_stops_a_store_that_is_open(path: Path) -> None:
    with Store(path, "ward3", key=KEY) as store:
        forged = rows(path)[-1]
        body = rows(path)[1][1].replace(b'"round":0', b'"round":7')
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("INSERT INTO entries VALUES (5, ?, ?, ?)", (body, chained(forged[2], 5, body), bytes(64)))
        for _ in range(2):
            with pytest.raises(SignatureError, match="line 5"):
                store.reserve(Address("run", 9, 0), "a" * 64, lambda _: PRICE)
        connection.execute("DELETE FROM entries WHERE number = 5")
        connection.close()
        with pytest.raises(LedgerError):  # until it has been read anew
            store.reserve(Address("run", 9, 0), "a" * 64, lambda _: PRICE)


def test_a_chain_begins_with_nothing() -> None:
    chain = Chain(Path("x"))
    assert (chain.number, chain.digest, chain.heading) == (-1, START, None)
