"""The store of pieces: what lies under a name is what it names; what an owner leaves is bounded, and its own."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.server import pieces as stores
from tacit.server.pieces import Pieces, sender
from tacit.strategies import parcel
from tacit.strategies.codec import CodecError
from tacit.strategies.parcel import joined, wrap

ME, OTHER = sender(b"my key"), sender(b"another's key")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pieces:
    """A store of pieces of at most 700 bytes, which takes replies of 2100."""
    monkeypatch.setattr(parcel, "PIECE", 700)
    monkeypatch.setattr(stores, "PIECE", 700)
    made = Pieces(tmp_path / "pieces")
    made.admit(2100)
    return made


def leave(store: Pieces, who: str, piece: bytes | memoryview, name: str | None = None) -> bool:
    upload = store.upload(who, hashlib.sha256(piece).hexdigest() if name is None else name)
    assert upload is not None
    try:
        return upload.write(bytes(piece)) and upload.finish()
    finally:
        upload.close()


def lying(store: Pieces, who: str) -> set[str]:
    folder = store.root / "in" / who
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@given(st.binary(min_size=1, max_size=2000), st.randoms())
def test_a_frame_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, frame: bytes, chance: Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcel, "PIECE", 700)
        patch.setattr(stores, "PIECE", 700)
        store = Pieces(tmp_path_factory.mktemp("store"))
        store.admit(2100)
        made = wrap(frame, 0)
        left = list(made.pieces)
        chance.shuffle(left)
        assert all(leave(store, ME, piece) for piece in left)
        assert bytes(store.frame(made.letter, ME, 3000)) == frame


def test_a_small_frame_needs_no_pieces(store: Pieces) -> None:
    assert store.frame(wrap(b"small", 100).letter, ME, 100) == b"small"


def test_what_is_published_is_handed_out_until_the_phase_ends(store: Pieces) -> None:
    made = wrap(os.urandom(1500), 0)
    store.publish({name.hex(): piece for name, piece in zip(made.names, made.pieces, strict=True)})
    found = []
    for name in made.names:
        file = store.published(name.hex())
        assert file is not None
        with file:
            found.append(file.read())
    assert joined(b"", found) == joined(b"", made.pieces)
    store.clear()
    assert store.published(made.names[0].hex()) is None


def test_a_piece_lies_under_its_own_name_or_not_at_all(store: Pieces) -> None:
    assert not leave(store, ME, b"other bytes", hashlib.sha256(b"some bytes").hexdigest())
    assert not leave(store, ME, b"", hashlib.sha256(b"").hexdigest())
    assert not leave(store, ME, bytes(701))
    assert lying(store, ME) == set()


def test_a_piece_is_its_senders_only(store: Pieces) -> None:
    """A letter that names another's piece is a letter whose piece is not there."""
    made = wrap(bytes(600), 0)
    assert leave(store, OTHER, made.pieces[0])
    with pytest.raises(CodecError, match="did not leave here"):
        store.frame(made.letter, ME, 3000)
    assert bytes(store.frame(made.letter, OTHER, 3000)) == bytes(600)


def test_a_damaged_piece_is_not_read(store: Pieces) -> None:
    made = wrap(bytes(600), 0)
    assert leave(store, ME, made.pieces[0])
    (store.root / "in" / ME / made.names[0].hex()).write_bytes(bytes(599) + b"1")
    with pytest.raises(CodecError, match="damaged"):
        store.frame(made.letter, ME, 3000)


def test_a_short_piece_within_a_frame_is_refused(store: Pieces) -> None:
    first, second = wrap(b"abc", 0), wrap(b"last", 0)
    letter = b"TACITPL2" + (2).to_bytes(4, "little") + first.names[0] + second.names[0]
    for each in (first, second):
        assert leave(store, ME, each.pieces[0])
    with pytest.raises(CodecError, match="only the last may be shorter"):
        store.frame(letter, ME, 3000)


def test_further_pieces_push_out_the_oldest_of_the_same_owner(store: Pieces) -> None:
    """2100 bytes are three pieces of 700; two more are room for a letter's head and what was left behind."""
    leave(store, OTHER, b"untouched")
    names = []
    for number in range(12):
        piece = b"%d" % number
        names.append(hashlib.sha256(piece).hexdigest())
        assert leave(store, ME, piece)
        os.utime(store.root / "in" / ME / names[-1], (number, number))
        assert lying(store, ME) == set(names[-5:])
    assert len(lying(store, OTHER)) == 1


def test_without_a_run_nothing_is_taken(store: Pieces) -> None:
    assert leave(store, ME, b"piece")
    store.close()
    assert store.upload(ME, "0" * 64) is None
    assert lying(store, ME) == set()


def test_what_a_killed_gateway_left_half_is_swept(store: Pieces) -> None:
    assert leave(store, ME, b"whole")
    upload = store.upload(ME, "0" * 64)
    assert upload is not None
    upload.write(b"half")
    assert len(lying(store, ME)) == 2
    store.sweep()
    assert lying(store, ME) == {hashlib.sha256(b"whole").hexdigest()}
    upload.close()


def test_who_leaves_pieces_is_not_silent(store: Pieces) -> None:
    assert not store.coming(ME)
    assert leave(store, ME, b"piece")
    assert store.coming(ME)
    os.utime(store.root / "in" / ME, (0, 0))
    assert not store.coming(ME)


def test_a_full_disk_leaves_no_piece(store: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, and nothing lies under the name."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        store.publish({"a" * 64: memoryview(b"piece")})
    with pytest.raises(OSError, match="No space"):
        leave(store, ME, b"piece")
    assert store.published("a" * 64) is None
    assert lying(store, ME) == set()
    assert [path.name for path in (store.root / "out").iterdir()] == []


def test_everything_is_for_this_user_only(store: Pieces) -> None:
    store.publish({"a" * 64: memoryview(b"piece")})
    assert leave(store, ME, b"piece")
    for path in (store.root, *store.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
