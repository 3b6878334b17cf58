"""Journal: the folder of a study. Every answer is on the disk before the next question, so that a study can be gone on with.

| file          | holds                                                     | written              |
|---------------|-----------------------------------------------------------|----------------------|
| study.json    | what is studied; another study is refused in this folder  | at the start         |
| trials.jsonl  | a line per sketch, price, curve and training              | as it goes           |
| points.csv    | a row per setting                                         | at the end           |
| report.html   | the page                                                  | at the end           |
| frontier.json | what was found                                            | last                 |
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config import ConfigError
from ...server.whole import write_whole
from ..artefacts import ArtefactError
from ..document import dumps

KINDS = ("sketch", "price", "curve", "train")


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of one study."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.json"

    @property
    def trials(self) -> Path:
        return self.path / "trials.jsonl"

    @property
    def points(self) -> Path:
        return self.path / "points.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def result(self) -> Path:
        return self.path / "frontier.json"


def default_folder(name: str, digest: str, runs: Path) -> StudyFolder:
    """Where a study goes if nothing else is said: the same folder for the same study, so that its command goes on."""
    return StudyFolder(runs / f"study-{name or 'study'}-{digest[:8]}")


def digest_of(header: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of what is studied."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def key_of(mechanism: Mapping[str, Any]) -> str:
    """The identity of a mechanism: equal where ε is, so that settings with equal ones are accounted once."""
    return json.dumps(mechanism, sort_keys=True)


@dataclass(slots=True)
class Journal:
    """Answers by kind and key, in memory and on the disk."""

    folder: StudyFolder
    answers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def found(self, kind: str, key: str) -> dict[str, Any] | None:
        """The answer that is known; None where none is."""
        return self.answers.get((kind, key))

    def add(self, kind: str, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer; raises `ArtefactError` where the disk does not take it."""
        self.answers[kind, key] = dict(answer)
        text = json.dumps({"kind": kind, "key": key, "answer": answer}) + "\n"
        try:
            with self.folder.trials.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ArtefactError(
                f"{self.folder.trials}: cannot be written ({error.strerror or error}); every trial before this one is kept; "
                f"make room, then give the same command again"
            ) from error


def opened(folder: StudyFolder, header: Mapping[str, Any]) -> Journal:
    """The journal of the study `header` in `folder`, begun where there is none.

    A last line that was cut off by a crash is taken away. Raises `ConfigError` for a folder with another study or a run,
    `ArtefactError` for one that cannot be read or written.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise ConfigError(f"--out {folder.path}: is a file; give a folder, which need not exist")
    if (folder.path / "config.toml").exists():
        raise ConfigError(f"--out {folder.path}: holds a run of `tacit simulate`; give another folder")
    try:
        if not folder.study.exists():
            if folder.trials.exists():
                raise ArtefactError(f"{folder.path}: holds trials without study.json; give another folder")
            write_whole(folder.study, (dumps(header) + "\n").encode())
            return Journal(folder)
        same = json.loads(folder.study.read_text(encoding="utf-8")) == json.loads(dumps(header))
        if not same:
            raise ConfigError(
                f"--out {folder.path}: holds another study (its study.json says which); give another folder, or leave --out "
                f"out: every study then has a folder of its own"
            )
        content = folder.trials.read_bytes() if folder.trials.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            write_whole(folder.trials, whole)
    except OSError as error:
        raise ArtefactError(
            f"{folder.path}: cannot be used ({error.strerror or error}); choose another --out"
        ) from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ArtefactError(f"{folder.study}: is not the JSON of a study; give another folder") from error
    return Journal(folder, dict(_read(folder, line, number) for number, line in enumerate(whole.splitlines(), 1)))


def _read(folder: StudyFolder, line: bytes, number: int) -> tuple[tuple[str, str], dict[str, Any]]:
    try:
        row = json.loads(line)
        kind, key, answer = row["kind"], row["key"], row["answer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{folder.trials}: line {number} is damaged; delete that line, and its trial is run again"
        ) from error
    if kind not in KINDS or not isinstance(key, str) or not isinstance(answer, dict):
        raise ArtefactError(
            f"{folder.trials}: line {number} is of no kind that this version knows; give another folder"
        )
    return (kind, key), answer
