"""Keeping: what a coordinator showed of its ledger stays true, or nothing is done for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.client.keeping import Keeping
from tacit.privacy.ledger.errors import RollbackError
from tacit.privacy.ledger.notice import Notice
from tacit.strategies.heading import ASSET, Heads

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def line(number: int, story: str = "a", renewals: int = 0) -> Notice:
    return Notice(ASSET, renewals, number, f"{number:02x}{story}" + "0" * (64 - len(f"{number:02x}{story}")), 7).signed(
        KEY
    )


def test_the_first_is_kept_and_a_newer_one_replaces_it(tmp_path: Path) -> None:
    kept = Keeping(tmp_path / "coordinator.anchor", KEY.public_key())
    assert kept.take(Heads(None, None)) == "the coordinator shows no ledger yet"
    assert kept.kept() is None
    assert kept.take(Heads(line(3), None)) == "first seen at line 3"
    assert kept.take(Heads(line(5), line(3))) == "this owner's anchor held: line 3"
    assert kept.kept() == line(5)
    assert (tmp_path / "coordinator.anchor").stat().st_mode & 0o777 == 0o600


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from("ab"), st.booleans())
def test_only_the_same_ledger_that_went_on_is_taken(before: int, now: int, story: str, shown: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = Keeping(Path(folder) / "anchor", KEY.public_key())
        kept.take(Heads(line(before), None))
        heads = Heads(line(now, story), line(before, story) if shown and now >= before else None)
        if now >= before and story == "a" and shown:
            kept.take(heads)
            assert kept.kept() == line(max(before, now))
            return
        with pytest.raises(RollbackError, match="this owner's anchor held"):
            kept.take(heads)
        assert kept.kept() == line(before)


def test_who_says_that_it_was_lost_begins_from_there(tmp_path: Path) -> None:
    kept = Keeping(tmp_path / "anchor", KEY.public_key())
    kept.take(Heads(line(9), None))
    assert "made anew by its operator" in kept.take(Heads(line(4, "b", renewals=1), line(9, "b")))
    with pytest.raises(RollbackError):
        kept.take(Heads(line(11), line(9)))  # the ledger that was lost before


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", line(3).text().encode()[:-1]])
def test_a_damaged_file_is_as_if_there_were_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "anchor").write_bytes(content)
    kept = Keeping(tmp_path / "anchor", KEY.public_key())
    assert kept.kept() is None
    assert kept.take(Heads(line(3), None)) == "first seen at line 3"
