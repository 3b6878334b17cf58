"""Artefacts: what a run leaves on disk. Every file is whole or absent; `result.json` comes last and says "finished".

| file               | holds                                                              | written            |
|--------------------|--------------------------------------------------------------------|--------------------|
| config.toml        | the resolved configuration                                         | at the start       |
| origin.json        | the folder that one's own tasks are looked up in (the operator's)  | at the start       |
| rounds.jsonl       | a line per evaluated round                                         | as it goes         |
| checkpoint/state   | everything that a resumed run needs, the ledger too                | every few seconds  |
| model.safetensors  | the trained module                                                 | at the end         |
| certificate.json   | what agents and coordinator signed of its cost (`tacit up`)        | at the end         |
| report.html        | the report                                                         | at the end         |
| result.json        | what was found                                                     | last               |
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Config, ConfigError, parse
from ..server.whole import write_whole
from .document import dumps, line
from .result import RoundRow, Run
from .weights import to_bytes


class ArtefactError(RuntimeError):
    """A run folder that cannot be written or read; says what is still whole."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def origin(self) -> Path:
        return self.path / "origin.json"

    @property
    def rows(self) -> Path:
        return self.path / "rounds.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint" / "state"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def certificate(self) -> Path:
        return self.path / "certificate.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def holds_run(self) -> bool:
        """Whether some run has already begun here."""
        return self.config.exists() or self.checkpoint.exists() or self.result.exists()


def fresh(path: Path) -> RunFolder:
    """A folder for a new run; raises `ConfigError` where another run already has it. Writes nothing."""
    folder = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--out {path}: is a file; give a folder, which need not exist")
    if folder.holds_run:
        raise ConfigError(f"--out {path}: holds another run; give another folder, or --resume to go on with that run")
    return folder


def default_path(config: Config, runs: Path) -> Path:
    """`runs/<name>-<time>`, with a number where two runs begin within one second."""
    base = runs / f"{config.name or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
    number, path = 1, base
    while RunFolder(path).holds_run:
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def resumable(path: Path, config: Config) -> RunFolder:
    """The folder of a run of `config` to go on with; raises `ConfigError` where it is none."""
    folder = RunFolder(path)
    if not folder.checkpoint.exists():
        raise ConfigError(f"--resume --out {path}: there is no checkpoint; start without --resume")
    found = saved_config(folder)
    if found.digest() != config.digest():
        keys = ", ".join(changed_keys(found, config)[:5])
        raise ConfigError(
            f"--resume --out {path}: that run had another configuration ({keys} differ); a resumed run must be the same run: "
            f"restore the values, or start a new run in another folder"
        )
    return folder


def newest(config: Config, runs: Path) -> RunFolder:
    """The newest resumable run of exactly `config` under `runs`; raises `ConfigError` where there is none."""
    found = [RunFolder(each.parent) for each in runs.glob("*/config.toml")]
    mine = [folder for folder in found if folder.checkpoint.exists() and _is_of(folder, config)]
    if not mine:
        raise ConfigError(
            f"--resume: no unfinished or finished run of this configuration lies under {runs}/ ({len(found)} other runs do); "
            f"start without --resume, or name its folder with --out"
        )
    return max(mine, key=lambda folder: folder.checkpoint.stat().st_mtime_ns)


def _is_of(folder: RunFolder, config: Config) -> bool:
    try:
        return saved_config(folder).digest() == config.digest()
    except (ConfigError, ArtefactError):
        return False  # a damaged neighbour must not keep this run from being found


def saved_config(folder: RunFolder) -> Config:
    """The resolved configuration of a run; raises `ArtefactError` or `ConfigError`."""
    return parse(_read(folder.config))


def saved_origin(folder: RunFolder) -> Path | None:
    """The folder that the run's own tasks were looked up in, if that is known and still there."""
    try:
        place = json.loads(_read(folder.origin)).get("folder")
    except (ArtefactError, ValueError, AttributeError):
        return None
    return Path(place) if isinstance(place, str) and Path(place).is_dir() else None


def saved_result(folder: RunFolder) -> dict[str, Any]:
    """`result.json` of a finished run; raises `ArtefactError` for a folder that holds none."""
    if not folder.result.exists():
        if folder.checkpoint.exists():
            raise ArtefactError(
                f"{folder.path}: this run is not finished; go on with `tacit simulate CONFIG --resume --out {folder.path}`"
            )
        raise ArtefactError(f"{folder.path}: no run folder (no result.json in it); give a folder that `simulate` wrote")
    try:
        found = json.loads(_read(folder.result))
    except ValueError as error:
        raise ArtefactError(f"{folder.result}: not valid JSON ({error}); run it again") from error
    if not isinstance(found, dict) or not {"config", "final", "rounds", "privacy"} <= found.keys():
        raise ArtefactError(f"{folder.result}: not the result of a run; give a folder that `simulate` wrote")
    return found


def begin(folder: RunFolder, config: Config, tasks: Path | None) -> None:
    """Write what a run starts with; a folder that cannot be written is left as it was."""
    try:
        write_whole(folder.origin, dumps({"folder": None if tasks is None else str(tasks)}).encode())
        write_whole(folder.config, config.to_toml().encode())
    except OSError as error:
        discard(folder)
        raise _cannot(folder.path, error, "nothing was started") from error


def discard(folder: RunFolder) -> None:
    """Take away what `begin` wrote, and the folder where nothing else is in it; for a run that never got anywhere."""
    with contextlib.suppress(OSError):
        for path in (folder.config, folder.origin, folder.rows):
            path.unlink(missing_ok=True)
        if folder.checkpoint.parent.is_dir():
            folder.checkpoint.parent.rmdir()
        folder.path.rmdir()


def write_rows(folder: RunFolder, rows: Iterable[RoundRow]) -> None:
    """Make `rounds.jsonl` hold exactly `rows`: after a crash it may have run ahead of the checkpoint."""
    try:
        write_whole(folder.rows, "".join(line(row.to_json()) for row in rows).encode())
    except OSError as error:
        raise _cannot(folder.rows, error, "the checkpoint is whole") from error


def append_row(folder: RunFolder, row: RoundRow) -> None:
    """Add a line to `rounds.jsonl`."""
    try:
        with folder.rows.open("a", encoding="utf-8") as file:
            file.write(line(row.to_json()))
    except OSError as error:
        raise _cannot(folder.rows, error, "the checkpoint is whole; make room, then go on with --resume") from error


def finish(folder: RunFolder, run: Run, reproduce: str) -> dict[str, Any]:
    """Write model, report and, last, `result.json`; returns its content."""
    from .report import report

    result = run.to_json()
    module = run.model()
    slots = [{"name": slot.name, "shape": list(slot.shape)} for slot in run.task.trainable(module).layout]
    metadata = {"task": run.config.task.model_dump(), "layout": slots, "claims": result["privacy"]}
    plain = json.loads(dumps(result))
    try:
        write_whole(folder.model, to_bytes(module, metadata))
        if run.certificate:
            write_whole(folder.certificate, run.certificate)
        write_whole(folder.report, report(plain, reproduce).encode())
        write_whole(folder.result, (dumps(result) + "\n").encode())
    except OSError as error:
        raise _cannot(folder.path, error, "the checkpoint is whole: make room, and --resume writes the rest") from error
    found: dict[str, Any] = plain
    return found


def write_page(path: Path, content: str) -> None:
    """Write a page beside the runs; raises `ArtefactError`."""
    try:
        write_whole(path, content.encode())
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def changed_keys(first: Config, second: Config) -> list[str]:
    """The dotted keys in which two configurations differ."""
    one, other = leaves(first.model_dump()), leaves(second.model_dump())
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def leaves(value: Any, at: str = "") -> dict[str, Any]:
    """A nested configuration as dotted keys and plain values."""
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{at}.{key}".lstrip(".")).items()}
    if isinstance(value, list | tuple) and value:
        return {k: v for index, item in enumerate(value) for k, v in leaves(item, f"{at}.{index}").items()}
    return {at: value}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ArtefactError(f"{path}: cannot be read ({reason}); give a folder that `simulate` wrote") from error


def _cannot(path: Path, error: OSError, what_is_left: str) -> ArtefactError:
    return ArtefactError(
        f"{path}: cannot be written ({error.strerror or error}); {what_is_left}; free some space or choose another --out"
    )
