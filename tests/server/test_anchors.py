"""Anchors: the newest notice of each ledger stays, whatever comes in whatever order, and two stories of one line are kept."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.ledger.notice import Notice
from tacit.server import anchors, authority
from tacit.server.anchors import forks, keep, kept
from tacit.server.home import ServerHome
from tacit.server.registry import Owner, Registry, make
from tacit.strategies import keyfile
from tacit.strategies.admission import AdmissionError, Applicant, public_pem

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ASSET = "ab" * 32


def owner(number: int = 1) -> Owner:
    return Owner(number, f"ward-{number}", b"", b"", KEY.public_key().public_bytes_raw(), 1.0, None)


def notice(renewals: int, number: int, digest: str = "0", asset: str = ASSET) -> Notice:
    return Notice(asset, renewals, number, digest * 64, 7).signed(KEY)


@contextmanager
def opened() -> Iterator[Registry]:
    """A new registry; a fixture would be shared by the examples of a law."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "registry.sqlite")
        with Registry(Path(folder) / "registry.sqlite") as registry:
            yield registry


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_newest_stays_and_the_one_before_is_answered(places: list[tuple[int, int]]) -> None:
    with opened() as registry:
        newest: tuple[int, int] | None = None
        for each in places:
            before = keep(registry, owner(), notice(*each), 1.0)
            assert (None if before is None else before.place) == newest
            newest = max(newest or each, each)
            found = kept(registry, owner(), ASSET)
            assert found == notice(*newest)
        assert forks(registry) == ()


def test_owners_and_ledgers_are_kept_apart() -> None:
    with opened() as registry:
        keep(registry, owner(1), notice(0, 5), 1.0)
        assert keep(registry, owner(2), notice(0, 3), 1.0) is None
        assert keep(registry, owner(1), notice(0, 2, asset="cd" * 32), 1.0) is None
        assert kept(registry, owner(1), ASSET) == notice(0, 5)
        assert kept(registry, owner(2), ASSET) == notice(0, 3)
        assert kept(registry, owner(3), ASSET) is None


def test_two_stories_of_one_line_are_kept_and_told_once(tmp_path: Path, caplog) -> None:
    home = ServerHome(tmp_path / "server")
    keyfile.folder(home.root)
    issuer = authority.found(home, 1.0)
    with opened() as registry:
        registry.invite("ward-1", bytes(32), 9.0)
        applicant = Applicant(
            bytes(32), ec.generate_private_key(ec.SECP256R1()).public_key(),
            public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()), KEY.public_key().public_bytes_raw(),
        )  # fmt: skip

        def certify(name: str) -> x509.Certificate:
            return issuer.for_owner(name, applicant.tls_key, 1.0)

        known = registry.enrol(applicant, 2.0, certify)
        for digest in ("0", "1", "2"):
            keep(registry, known, notice(0, 5, digest), 3.0)
        (fork,) = forks(registry)
        assert (fork.owner, fork.first, fork.second, fork.seen) == (
            "ward-1", notice(0, 5), notice(0, 5, "1"), 3.0
        )  # fmt: skip
        assert kept(registry, known, ASSET) == notice(0, 5)
    assert caplog.text.count("two different lines 5") == 1
    assert [each.levelno for each in caplog.records if each.name == anchors.__name__] == [logging.ERROR]


def test_one_owner_cannot_fill_the_registry(monkeypatch) -> None:
    monkeypatch.setattr(anchors, "MOST", 2)
    with opened() as registry:
        for asset in ("aa", "bb"):
            keep(registry, owner(), notice(0, 1, asset=asset * 32), 1.0)
        with pytest.raises(AdmissionError, match="2 ledgers"):
            keep(registry, owner(), notice(0, 1, asset="cc" * 32), 1.0)
        keep(registry, owner(), notice(0, 2, asset="aa" * 32), 1.0)
        keep(registry, owner(2), notice(0, 1, asset="cc" * 32), 1.0)
