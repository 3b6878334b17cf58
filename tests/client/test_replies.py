"""Replies: whole or not there, for their owner only, under the number of the line that paid."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.client.replies import Replies
from tacit.strategies.keyfile import KeyFileError


def test_what_was_kept_is_read_until_it_is_dropped(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies")
    replies.keep(7, b"seven")
    replies.keep(11, b"eleven")
    replies.keep(7, b"other")
    again = Replies(tmp_path / "replies")
    assert again.numbers() == (7, 11)
    assert (again.read(7), again.read(11), again.read(8)) == (b"other", b"eleven", None)
    again.drop(7)
    again.drop(7)
    assert again.numbers() == (11,)


@given(st.binary(max_size=2000))
def test_any_bytes(reply: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        replies = Replies(Path(folder) / "replies")
        replies.keep(1, reply)
        assert replies.read(1) == reply


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    Replies(tmp_path / "replies").keep(1, b"x")
    (file,) = (tmp_path / "replies").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.parent.chmod(0o755)
    with pytest.raises(KeyFileError, match="chmod 700"):
        Replies(tmp_path / "replies")


def test_foreign_files_are_left_alone_and_half_written_ones_swept(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies")
    replies.keep(1, b"x")
    for name in (".2.reply.0a1b2c3d", "notes.txt", "x.reply"):
        (tmp_path / "replies" / name).write_bytes(b"?")
    replies.sweep()
    assert replies.numbers() == (1,)
    assert {each.name for each in (tmp_path / "replies").iterdir()} == {"1.reply", "notes.txt", "x.reply"}
