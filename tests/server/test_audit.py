"""Audit: the chain holds over crashes and writers, and breaks at every change."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.server.audit import Audit, AuditError, Head, entries, verify

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def filled(path: Path, count: int = 5) -> bytes:
    audit = Audit(path, clock=lambda: 1_700_000_000.0)
    for number in range(count):
        audit.note("request-refused", code="too-small", owner=f"clinic {number}")
    return path.read_bytes()


@given(st.lists(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), VALUES, max_size=3), max_size=5))
def test_what_is_written_is_verified_and_read_back(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        audit = Audit(path)
        head = Head()
        for row in rows:
            head = audit.note("event", **{f"x{key}": value for key, value in row.items()})
        assert not rows or verify(path, head) == head
        read = list(entries(path)) if rows else []
        assert [entry["facts"] for entry in read] == [{f"x{k}": v for k, v in row.items()} for row in rows]
        assert [entry["n"] for entry in read] == list(range(len(rows)))


@given(data=st.data())
def test_every_changed_byte_breaks_the_chain(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        whole = filled(path)
        at = data.draw(st.integers(0, len(whole) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
        path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
        with pytest.raises(AuditError):
            verify(path)


@pytest.mark.parametrize("change", ["removed", "doubled", "swapped", "first"])
def test_lines_that_are_removed_added_or_moved_break_the_chain(path: Path, change: str) -> None:
    lines = filled(path).splitlines(keepends=True)
    changed = {
        "removed": lines[:2] + lines[3:],
        "doubled": lines[:3] + lines[2:],
        "swapped": [lines[1], lines[0], *lines[2:]],
        "first": lines[1:],
    }[change]
    path.write_bytes(b"".join(changed))
    with pytest.raises(AuditError, match=r"line \d was changed, moved, or removed"):
        verify(path)


def test_a_cut_end_is_seen_against_a_head_that_was_written_down(path: Path) -> None:
    lines = filled(path).splitlines(keepends=True)
    head = verify(path)
    assert head.count == 5
    path.write_bytes(b"".join(lines[:4]))
    assert verify(path).count == 4  # by itself it looks whole
    with pytest.raises(AuditError, match="cut off or replaced"):
        verify(path, head)


def test_an_older_head_is_an_anchor_of_a_log_that_went_on(path: Path) -> None:
    filled(path)
    head = verify(path)
    Audit(path).secure("owner-revoked", owner="clinic 3")
    assert verify(path, head).count == 6


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_torn_line_is_cut_off_and_said(path: Path, left: int) -> None:
    whole = filled(path)
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + last[:left])
    with pytest.raises(AuditError, match=r"line 6 (is damaged|was changed)"):
        verify(path)
    Audit(path).note("server-starting")
    assert [entry["event"] for entry in entries(path)][5:] == ["torn-entry-removed", "server-starting"]


def test_a_first_line_that_was_torn_is_cut_off_too(path: Path) -> None:
    path.write_bytes(b'{"n":0')
    Audit(path).note("server-starting")
    assert [entry["event"] for entry in entries(path)] == ["torn-entry-removed", "server-starting"]


def test_nothing_is_appended_to_a_log_whose_end_was_changed(path: Path) -> None:
    changed = filled(path).replace(b"clinic 4", b"clinic 5")
    path.write_bytes(changed)
    with pytest.raises(AuditError, match="changed"):
        Audit(path).note("server-starting")
    assert path.read_bytes() == changed


def test_only_its_user_may_read_it(path: Path) -> None:
    Audit(path).note("server-starting")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_stranger_sends_fills_no_disk(path: Path) -> None:
    Audit(path).note("request-refused", path="/" + "a" * 1_000_000, header={"x" * 10_000: ["y" * 10_000]})
    assert path.stat().st_size < 4_000
    assert "1000001 characters" in str(next(entries(path))["facts"]["path"])


def test_too_many_facts_are_refused_before_anything_is_written(path: Path) -> None:
    with pytest.raises(AuditError, match="at most"):
        Audit(path).note("event", many=["x" * 400] * 1_000)
    assert path.read_bytes() == b""


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="owner-revoked cannot be recorded"):
        Audit(tmp_path / "missing" / "audit.jsonl").secure("owner-revoked")
    with pytest.raises(AuditError, match="cannot be read"):
        verify(tmp_path / "missing" / "audit.jsonl")


def test_the_form_of_a_line_is_fixed(path: Path) -> None:
    filled(path, 1)
    assert json.loads(path.read_text()) == {
        "n": 0,
        "time": "2023-11-14T22:13:20.000+00:00",
        "event": "request-refused",
        "facts": {"code": "too-small", "owner": "clinic 0"},
        "previous": "0" * 64,
        # Computed by hand: SHA-256 of the tag and the line above without its hash, keys in order, no spaces.
        "hash": "17e162d5584e5f9e86e9b8cd6293183325ab7da7d0fcd67e0eb7049feb20457d",
    }


WRITING = (
    "import sys; from pathlib import Path; from tacit.server.audit import Audit; audit = Audit(Path(sys.argv[1]))\n"
    "for number in range(50): audit.note('written', writer=int(sys.argv[2]), number=number)"
)


def test_several_processes_write_one_chain(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITING, str(path), str(writer)]) for writer in range(3)]
    assert [writer.wait(60.0) for writer in writers] == [0, 0, 0]
    assert verify(path).count == 150
    for writer in range(3):
        numbers = [entry["facts"]["number"] for entry in entries(path) if entry["facts"]["writer"] == writer]
        assert numbers == list(range(50))


# --- files that are full ---


def turned(path: Path, count: int = 40, kept: int = 100) -> list[Head]:
    audit = Audit(path, clock=lambda: 1_700_000_000.0, largest=1000, kept=kept)
    return [audit.note("request-refused", code="too-small", owner=f"clinic {number}") for number in range(count)]


def files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("audit.jsonl*"), key=lambda each: int("0" + each.name.removeprefix("audit.jsonl.")[:9]
                  if each != path else "9" * 9))  # fmt: skip


def test_the_chain_goes_on_over_files(path: Path) -> None:
    heads = turned(path)
    assert verify(path) == heads[-1]
    assert [entry["facts"]["owner"] for entry in entries(path)] == [f"clinic {number}" for number in range(40)]
    assert len(files(path)) > 5
    assert all(each.stat().st_size < 1000 + 400 for each in files(path))
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in files(path))
    for head in heads:
        assert verify(path, head) == heads[-1]


def test_old_files_are_dropped_and_the_chain_says_so(path: Path) -> None:
    heads = turned(path, 200, kept=2)
    found = list(entries(path))
    assert len(files(path)) == 3
    assert sum(each.stat().st_size for each in files(path)) < 3 * 1400
    assert verify(path) == heads[-1]
    assert found[0]["n"] > 100
    assert found[0]["n"] in {entry["facts"]["count"] for entry in found if entry["event"] == "oldest-dropped"}
    with pytest.raises(AuditError, match="cut off or replaced"):
        verify(path, heads[0])  # an anchor in what is gone


@pytest.mark.parametrize("at", range(5))
def test_a_file_that_somebody_takes_away_breaks_the_chain(path: Path, at: int) -> None:
    turned(path)
    files(path)[at].unlink()
    with pytest.raises(AuditError):
        verify(path)


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_changed_line_in_any_file_breaks_the_chain(path: Path, at: int) -> None:
    turned(path)
    changed = files(path)[at]
    changed.write_bytes(changed.read_bytes().replace(b"too-small", b"too-great", 1))
    with pytest.raises(AuditError, match="was changed"):
        verify(path)


def test_a_crash_between_the_names_of_a_file_loses_nothing(path: Path) -> None:
    heads = turned(path, 3)
    audit = Audit(path, clock=lambda: 1.0, largest=1, kept=100)
    path.with_name(f"audit.jsonl.{heads[-1].count}").hardlink_to(path)
    assert verify(path) == heads[-1]
    head = audit.note("after")
    assert verify(path) == head
    assert [entry["n"] for entry in entries(path)] == [0, 1, 2, 3]
    path.write_bytes(b"")  # as a crash right after the turn leaves it
    again = audit.note("again")
    assert (verify(path), again.count) == (again, 4)


def test_writers_that_turn_the_log_over_at_once_keep_one_chain(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tacit.server.audit import Audit\n"
        "audit = Audit(Path(sys.argv[1]), largest=600, kept=1000)\n"
        "for n in range(60): audit.note('event', n=n)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert verify(path).count == 180
