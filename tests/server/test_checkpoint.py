"""Checkpoints are whole or absent, and nothing but the same run goes on from one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from tacit.server.checkpoint import Checkpoint, CheckpointError, load, save, write_whole

CHECKPOINT = Checkpoint("digest", 7, {"ledger": [], "seed": 3}, {"weights": torch.tensor([1.0, -0.0, 3e-40])})


def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint", CHECKPOINT)
    found = load(tmp_path / "checkpoint", "digest")
    assert found.round == 7
    assert found.facts == {"ledger": [], "seed": 3}
    assert found.tensors["weights"].numpy().tobytes() == CHECKPOINT.tensors["weights"].numpy().tobytes()


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    save(path, CHECKPOINT)
    content = path.read_bytes()
    for where in range(0, len(content), 7):
        broken = bytearray(content)
        broken[where] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(CheckpointError, match="damaged"):
            load(path, "digest")


@pytest.mark.parametrize("length", [0, 7, 40, 60])
def test_a_cut_file_is_found(tmp_path: Path, length: int) -> None:
    path = tmp_path / "checkpoint"
    save(path, CHECKPOINT)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="start again"):
        load(path, "digest")


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint", CHECKPOINT)
    with pytest.raises(CheckpointError, match="another configuration"):
        load(tmp_path / "checkpoint", "other")


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "none", "digest")


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    save(path, CHECKPOINT)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save(path, Checkpoint("digest", 8, {}, {}))
    monkeypatch.undo()
    assert load(path, "digest").round == 7
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "file" / "checkpoint", CHECKPOINT)


def test_whole_files_replace_what_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "file", b"one")
    write_whole(tmp_path / "deep" / "file", b"two")
    assert (tmp_path / "deep" / "file").read_bytes() == b"two"
