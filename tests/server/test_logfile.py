"""LogFile: bounded, private, and never in the way of who writes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.server.logfile import LogFile, tail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "superlink.log"


def files(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir())


@given(sizes=st.lists(st.integers(0, 120), max_size=30))
def test_files_stay_within_their_bounds_and_the_youngest_bytes_are_kept(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    log = LogFile(path, largest=100, kept=2)
    everything = b""
    for number, size in enumerate(sizes):
        content = bytes([65 + number]) * size
        everything += content
        log.write(content)
    log.close()
    kept = b"".join(each.read_bytes() for each in sorted(path.parent.iterdir(), reverse=True))
    assert everything.endswith(kept)
    assert len(kept) >= min(len(everything), 100)
    assert len(files(path)) <= 3
    assert all(each.stat().st_size <= 120 for each in files(path))


def test_it_goes_on_where_it_was(path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = LogFile(path)
        log.write(word)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_only_its_user_may_read_it(path: Path) -> None:
    LogFile(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_disk_loses_lines_but_never_raises(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    log = LogFile(path)
    log.write(b"lost\n")
    log.close()
    path.unlink()
    log.write(b"kept\n")
    log.close()
    assert path.read_bytes() == b"[5 bytes were lost: the disk was full]\nkept\n"


def test_the_tail_is_short_and_whole(path: Path) -> None:
    assert tail(path) == ""
    log = LogFile(path)
    log.write("".join(f"line {number} ε\n" for number in range(1_000)).encode())
    log.close()
    assert tail(path, 2) == "line 998 ε\nline 999 ε"
    assert len(os.fsencode(tail(path, 10_000))) <= 5_000
