"""Whole files: all or nothing, and nobody else's business."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tacit.server.whole import write_whole


def test_what_is_written_is_for_this_user_only_whatever_the_mask_and_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "channel.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_whole(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "letters.json"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
