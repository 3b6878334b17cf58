"""Notice: what somebody else was told of a ledger shows that both ledger and local anchor are older, until somebody vouches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.errors import LedgerError, RollbackError
from tacit.privacy.ledger.field import EntryError
from tacit.privacy.ledger.notice import LONGEST, Notice, held, notice_from
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ALIAS = "ab" * 32
LEDGER = Path("ward3.sqlite")


def digest(line: int) -> bytes:
    return bytes([line]) * 32


def notice(renewals: int, number: int, of: bytes | None = None) -> Notice:
    return Notice(ALIAS, renewals, number, (digest(number) if of is None else of).hex(), 7)


@given(st.integers(0, 3), st.integers(0, 9), st.integers(0, 3), st.integers(0, 9), st.booleans())
def test_it_says_nothing_holds_or_contradicts_by_the_table(
    told: int, number: int, renewals: int, last: int, same: bool
) -> None:
    found = notice(told, number, None if same else bytes([99]) * 32)

    def of(line: int) -> bytes | None:
        return digest(line) if line <= last else None

    if told >= renewals and ((told, number) > (renewals, last) or not same):
        with pytest.raises(RollbackError, match="the other one held"):
            held(LEDGER, "the other one", found, renewals, last, of)
    else:
        assert held(LEDGER, "the other one", found, renewals, last, of) == (told == renewals)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.binary(min_size=32, max_size=32), st.integers(-9, 2**40))
def test_it_is_its_text_and_nobody_else_signs_or_changes_it(renewals: int, number: int, of: bytes, time: int) -> None:
    made = Notice(ALIAS, renewals, number, of.hex(), time).signed(KEY)
    assert notice_from(made.text()) == made
    assert len(made.text()) <= LONGEST
    assert made.signed_by(KEY.public_key())
    assert not made.signed_by(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())
    for change in ({"renewals": renewals + 1}, {"number": number + 1}, {"time": time + 1}, {"asset": "cd" * 32}):
        other = json.dumps({**json.loads(made.text()), **change}, sort_keys=True, separators=(",", ":"))
        assert not notice_from(other).signed_by(KEY.public_key())
    assert not Notice(ALIAS, renewals, number, of.hex(), time).signed_by(KEY.public_key())


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "[" * 1000, notice(0, 1).text() + " ", notice(0, 1).text().replace("1", "-1", 1),
     notice(0, 1).text().replace('"time"', '"more":1,"time"'), "x" * (LONGEST + 1), '{"asset":NaN}'],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_notice_is_refused(text: str) -> None:
    with pytest.raises(EntryError):
        notice_from(text)


def test_a_store_tells_its_newest_line_and_goes_no_further_once_it_is_contradicted(tmp_path: Path) -> None:
    path = tmp_path / "ward3.sqlite"
    create(path, "ward3", key=KEY, anchor=tmp_path / "a")
    with Store(path, "ward3", key=KEY) as store:
        before = store.notice(ALIAS)
        assert (before.place, before.signed_by(KEY.public_key())) == ((0, 0), True)
        store.anchor_anew(tmp_path / "a", "Ann")
        after = store.notice(ALIAS)
        assert (after.place, after.digest) == ((1, 1), store.head[1].hex())
        assert store.confirm("the other one", after)
        assert not store.confirm("the other one", before)
        with pytest.raises(RollbackError, match=r"ends with line 1, and the other one held.*tacit ledger anchor"):
            store.confirm("the other one", Notice(ALIAS, 1, 2, after.digest, 7))
        with pytest.raises(RollbackError):
            store.allow(lambda _: None)
    with Store(path, "ward3") as store, pytest.raises(LedgerError, match="without its key"):
        store.notice(ALIAS)
