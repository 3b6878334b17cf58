"""Signals: a stop is a clean 130 with one screen wherever it falls, in the middle of an import too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Torch's own initialisation is such an import: here it is held for a signal by a stand-in with the same moment in it.
SLOW = """
import time
from pathlib import Path
Path("importing").touch()
time.sleep(1)
Path("imported").touch()
def task():
    import time
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_an_import_waits_for_its_end(small: Path, how: signal.Signals) -> None:
    folder = small.parent
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "tacit", "simulate", "small.toml", "--set", "task.use=slow:task", "--json"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (folder / "importing").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["code"] == 130
    assert (folder / "imported").exists()
    assert err == ""
    assert not (folder / "runs").exists()
