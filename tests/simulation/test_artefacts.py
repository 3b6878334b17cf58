"""Run folder: every file whole, no run over another, the newest one found."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from tacit.config import ConfigError, parse
from tacit.simulation.artefacts import (
    ArtefactError,
    RunFolder,
    append_row,
    begin,
    changed_keys,
    default_path,
    discard,
    fresh,
    newest,
    resumable,
    saved_config,
    saved_origin,
    saved_result,
    write_rows,
)
from tacit.simulation.result import RoundRow

TEXT = 'task = { use = "digits" }\npopulation = { owners = 3 }\nrounds = { total = 2 }\nbudget = { epsilon = inf }\n'
CONFIG = parse(TEXT, name="tiny")


def begun(path: Path, text: str = TEXT) -> RunFolder:
    """A folder with a run that reached its first checkpoint."""
    folder = fresh(path)
    begin(folder, parse(text, name="tiny"), None)
    folder.checkpoint.parent.mkdir()
    folder.checkpoint.write_bytes(b"state")
    return folder


def test_a_run_begins_with_its_resolved_configuration(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "deep" / "run")
    assert not folder.path.exists()
    begin(folder, CONFIG, tmp_path)
    assert saved_config(folder).digest() == CONFIG.digest()
    assert tomllib.loads(folder.config.read_text())["rounds"]["quorum"] == 0.8
    assert saved_origin(folder) == tmp_path


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    with pytest.raises(ConfigError, match="--resume"):
        fresh(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="give a folder"):
        fresh(tmp_path / "file")


def test_a_folder_with_other_files_is_not(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    folder = fresh(tmp_path)
    begin(folder, CONFIG, None)
    discard(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_default_folders_do_not_collide(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        path = default_path(CONFIG, tmp_path)
        assert path.name.startswith("tiny-")
        begun(path)
        paths.append(path)
    assert len(set(paths)) == 3


def test_the_newest_run_of_the_same_configuration_is_found(tmp_path: Path) -> None:
    old, new = begun(tmp_path / "b"), begun(tmp_path / "a")
    other = begun(tmp_path / "c", TEXT.replace("total = 2", "total = 3"))
    begin(fresh(tmp_path / "d"), CONFIG, None)  # never reached a checkpoint
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "config.toml").write_bytes(b"\xff damaged")
    for age, folder in enumerate((old, new, other)):
        os.utime(folder.checkpoint, (age, age))
    assert newest(CONFIG, tmp_path) == new
    with pytest.raises(ConfigError, match=r"5 other runs do"):
        newest(parse(TEXT, {"rounds.total": 9}), tmp_path)


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    assert resumable(folder.path, CONFIG) == folder
    with pytest.raises(ConfigError, match=r"rounds\.total differ"):
        resumable(folder.path, parse(TEXT, {"rounds.total": 9}, name="tiny"))
    with pytest.raises(ConfigError, match="no checkpoint"):
        resumable(tmp_path / "nowhere", CONFIG)


def test_changed_keys_reach_into_lists() -> None:
    one = parse(TEXT, {"privacy.pipeline": [{"stage": "clip", "norm": 1.0}]})
    other = parse(TEXT, {"privacy.pipeline": [{"stage": "clip", "norm": 2.0}]})
    assert changed_keys(one, other) == ["privacy.pipeline.0.norm"]
    assert changed_keys(one, one) == []


def test_rows_are_lines_and_can_be_taken_back(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    rows = [RoundRow(n, {"loss": float("nan")}, float("inf"), 0.1) for n in (1, 2, 3)]
    write_rows(folder, rows[:1])
    append_row(folder, rows[1])
    append_row(folder, rows[2])
    found = [json.loads(line) for line in folder.rows.read_text().splitlines()]
    assert [row["round"] for row in found] == [1, 2, 3]
    assert found[0]["epsilon"] == "inf"
    assert found[0]["metrics"]["loss"] is None
    write_rows(folder, rows[:2])
    assert len(folder.rows.read_text().splitlines()) == 2


def test_results_of_unfinished_runs_other_folders_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no result\.json"):
        saved_result(RunFolder(tmp_path))
    folder = begun(tmp_path / "run")
    with pytest.raises(ArtefactError, match="not finished"):
        saved_result(folder)
    folder.result.write_text("{")
    with pytest.raises(ArtefactError, match="not valid JSON"):
        saved_result(folder)
    folder.result.write_text("[1]")
    with pytest.raises(ArtefactError, match="not the result"):
        saved_result(folder)


def test_a_folder_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "wall").touch()
    with pytest.raises(ArtefactError, match="cannot be written"):
        begin(RunFolder(tmp_path / "wall" / "run"), CONFIG, None)
    assert [path.name for path in tmp_path.iterdir()] == ["wall"]
