"""Version: two machines with the same code say the same, and any other byte of a module says something else."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import tacit
from tacit.tasks.catalogue import TASKS, lookup
from tacit.tasks.task import TaskError
from tacit.tasks.version import code_of, digest_of

MODULE = """

from tacit.tasks.losses import cross_entropy
from torch import nn
class Mine:
    def model(self): return nn.Linear(2, 2)
    def loss(self, outputs, targets): return cross_entropy(outputs, targets)
"""


def test_a_bundled_task_is_as_old_as_the_package() -> None:
    assert {code_of(name) for name in TASKS} == {f"tacit {tacit.__version__}"}


def test_ones_own_task_is_the_digest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODULE
    (tmp_path / "mine_versioned.py").write_text(text)
    lookup("mine_versioned:Mine", tmp_path)
    monkeypatch.setitem(sys.modules, "mine_versioned", sys.modules["mine_versioned"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest_of("mine_versioned:Mine") == digest
    assert code_of("mine_versioned:Mine") == f"tacit {tacit.__version__} sha256:{digest}"
    (tmp_path / "mine_versioned.py").write_text(text + "\n")
    assert digest_of("mine_versioned:Mine") != digest
    (tmp_path / "mine_versioned.py").unlink()
    with pytest.raises(TaskError, match="cannot be read"):
        code_of("mine_versioned:Mine")


def test_the_digest_of_an_installed_module_is_taken_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_unrun.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    assert digest_of("mine_unrun:Mine") == hashlib.sha256(b"raise SystemExit('it ran')").hexdigest()
    assert "mine_unrun" not in sys.modules


@pytest.mark.parametrize("name", ["nowhere_at_all:Task", "nowhere.at.all:Task", ".:Task", "sys:modules"])
def test_what_has_no_file_has_no_version(name: str) -> None:
    with pytest.raises(TaskError, match="no module with a file"):
        code_of(name)
