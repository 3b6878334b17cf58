"""Strays: what was left behind is found by its mark or by number, start and command line together; nobody else is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tacit.server.strays import MARK, Record, Started, StrayError, started, sweep

SLEEP = (sys.executable, "-S", "-c", "print('up', flush=True); import time; time.sleep(600)")


def begin(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE, env={**os.environ, **environment})
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process without a mark."""
    with begin({}) as made:
        yield made
        made.kill()


def recorded(process: subprocess.Popen[bytes]) -> tuple[Record, Started]:
    child = started(process.pid, SLEEP)
    assert child is not None
    return Record.fresh().with_child("a", child), child


def test_the_mark_finds_a_process_that_nobody_wrote_down() -> None:
    record = Record.fresh()
    with begin({MARK: record.mark}) as process:
        assert sweep(record) == [process.pid]
        assert process.wait() == -9
    assert sweep(record) == []


def test_another_mark_finds_nothing(process: subprocess.Popen[bytes]) -> None:
    with begin({MARK: "other"}) as marked:
        assert sweep(Record.fresh()) == []
        assert marked.poll() is None
        marked.kill()


def test_number_start_and_command_line_together_find_a_process(process: subprocess.Popen[bytes]) -> None:
    record, _ = recorded(process)
    assert sweep(record) == [process.pid]
    assert process.wait() == -9


@pytest.mark.parametrize("different", ["start", "argv", "boot", "pid"])
def test_one_difference_and_it_is_somebody_else(process: subprocess.Popen[bytes], different: str) -> None:
    record, child = recorded(process)
    other = {
        "start": record.with_child("a", replace(child, start=child.start + 1)),
        "argv": record.with_child("a", replace(child, argv=(*SLEEP[:-1], "pass"))),
        "boot": replace(record, boot="another"),
        "pid": record.with_child("a", replace(child, pid=os.getpid())),
    }[different]
    assert sweep(other) == []
    assert process.poll() is None


def test_a_record_comes_back_from_disk(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    record, _ = recorded(process)
    path = tmp_path / "children.json"
    assert Record.load(path) is None
    record.save(path)
    assert Record.load(path) == record
    assert record.with_child("a", None).children == {}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"mark":"m","boot":"b","children":{"a":{"pid":1}}}', b"\xff"])
def test_a_damaged_record_is_an_error_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "children.json"
    path.write_bytes(content)
    with pytest.raises(StrayError, match="remove this file"):
        Record.load(path)
