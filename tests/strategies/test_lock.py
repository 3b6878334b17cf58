"""FolderLock: one process per folder, and no crash leaves it locked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tacit.strategies.lock import LOCK, FolderLock, LockError


def test_a_folder_has_room_for_one(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == 0o600
        with pytest.raises(LockError, match=f"process {os.getpid()} works in this folder already"):
            FolderLock(tmp_path)
    with FolderLock(tmp_path):
        pass


def test_a_killed_process_gives_its_folder_back(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tacit.strategies.lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(LockError, match=f"process {process.pid} "):
            FolderLock(tmp_path)
        process.kill()
    with FolderLock(tmp_path):
        pass
