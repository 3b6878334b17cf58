"""The coordinator's process: where its ledger is refused, it ends, and its last words are the reason and the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tacit.commands.main import execute
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Anchored
from tacit.privacy.ledger.store import Store
from tacit.server.founding import found
from tacit.server.home import LEDGER, ServerHome, anchor_file
from tacit.strategies import keyfile


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    """A folder whose ledger has a few lines; `old` beside it is a copy from before the last one."""
    made = found(tmp_path / "server", "127.0.0.1", "127.0.0.1:8443", "127.0.0.1:8444", time.time()).home
    made.flower.mkdir(exist_ok=True)
    (made.flower / "executor.secret").write_bytes(b"secret")
    key, anchor = keyfile.ed25519_key(made.signing_key), anchor_file(made)
    create(made.ledger, LEDGER, key=key, anchor=anchor)
    for line in range(3):
        shutil.copy(made.ledger, made.root / "old")
        with Store(made.ledger, LEDGER, key=key, anchor=anchor) as store, store._writing("test") as write:
            write(Anchored(f"somebody {line}", 0))
    return made


def corrupt(home: ServerHome) -> None:
    home.ledger.write_bytes(home.ledger.read_bytes()[:5000])


def older(home: ServerHome) -> None:
    shutil.copy(home.root / "old", home.ledger)


def gone(home: ServerHome) -> None:
    home.ledger.unlink()


def unanchored(home: ServerHome) -> None:
    anchor_file(home).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(corrupt, "damaged"), (older, "an older copy"), (gone, "no ledger"), (unanchored, "no anchor")],
)
def test_what_its_ledger_is_refused_for_is_its_last_word(
    home: ServerHome, spoil: Callable[[ServerHome], None], words: str
) -> None:
    spoil(home)
    command = [sys.executable, "-m", "tacit.server.conductor", str(home.root), "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert words in ended.stderr.splitlines()[-1]
    assert execute(["ledger", "verify", "--dir", str(home.root)]) == 1
