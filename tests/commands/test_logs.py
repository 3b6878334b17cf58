"""`tacit server logs`, `tacit client logs`: the last lines, and what comes after them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tacit.commands.main import execute


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.log").write_text("".join(f"line {number}\n" for number in range(100)))
    (tmp_path / "logs" / "superlink.log").write_bytes(b"one\n\x1b[31mred\xff\n")
    return tmp_path


def test_the_last_lines_of_all_or_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["server", "logs", "--dir", str(folder), "-n", "2"]) == 0
    assert capsys.readouterr().out.split("\n") == [
        "== gateway", "line 98", "line 99", "== superlink", "one", "�[31mred�", "",
    ]  # fmt: skip
    assert execute(["server", "logs", "gateway", "--dir", str(folder), "-n", "1"]) == 0
    assert capsys.readouterr().out == "line 99\n"
    assert execute(["client", "logs", "--dir", str(folder), "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logs"]["gateway"] == ["line 99"]


@pytest.mark.parametrize(
    ("arguments", "says"), [(["nothing"], "there are: gateway, superlink"), ([], "no logs; what a program")]
)
def test_what_is_not_there_is_said(
    folder: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not arguments:
        for path in (folder / "logs").iterdir():
            path.unlink()
    assert execute(["server", "logs", *arguments, "--dir", str(folder)]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_it_follows_until_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-u", "-m", "tacit", "server", "logs", "gateway", "-n", "1", "-f", "--dir", str(folder)]
    process: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "line 99\n"
        with (folder / "logs" / "gateway.log").open("a") as file:
            file.write("line 100\n")
        assert process.stdout.readline() == "line 100\n"
        (folder / "logs" / "gateway.log").write_text("anew\n")  # turned over
        assert process.stdout.readline() == "anew\n"
    finally:
        process.send_signal(2)
        process.communicate(timeout=20)
    assert process.returncode == 130
