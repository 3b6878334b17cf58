"""Saved run: a finished run read back from its folder, with its model and its task."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..config import Config, from_mapping
from ..server.whole import write_whole
from ..tasks.catalogue import lookup
from ..tasks.evaluation import evaluate
from ..tasks.task import Task, initial
from .artefacts import ArtefactError, RunFolder, saved_origin, saved_result
from .weights import load_into, metadata_of


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a run folder holds. `result` is the content of `result.json`."""

    folder: RunFolder
    config: Config
    result: dict[str, Any] = field(repr=False)
    task: Task = field(repr=False)

    def model(self) -> nn.Module:
        """The trained module; raises `WeightsError`."""
        module = initial(self.task, 0)
        load_into(module, self.folder.model)
        return module

    def metrics(self, on: str) -> dict[str, float]:
        """The model's measures on `test`, the task's public test data, or on a source such as `csv:/data/ward3.csv`.

        Raises `DataError` for data that cannot be read or learned from.
        """
        examples = self.task.testing() if on == "test" else self.task.load(on)
        return evaluate(self.task, self.model(), examples)


def saved_run(path: str | Path) -> SavedRun:
    """The finished run in the folder `path`; raises `ArtefactError` where there is none, `ConfigError` for its settings."""
    folder = RunFolder(Path(path))
    result = saved_result(folder)
    config = from_mapping(result["config"])
    task = lookup(config.task.use, saved_origin(folder), **config.task.options)
    return SavedRun(folder, config, result, task)


def export(path: str | Path, to: str | Path) -> dict[str, Any]:
    """Copy the model of the run in `path` to the file `to`, whole or not at all; returns its metadata.

    The metadata say what it is (`task`, `layout`) and what it cost (`claims`). Raises `ArtefactError`, also where `to` exists
    already: a model that somebody serves is not replaced by the way.
    """
    folder, target = RunFolder(Path(path)), Path(to)
    saved_result(folder)
    metadata = metadata_of(folder.model)
    if target.exists():
        raise ArtefactError(f"{target}: exists already; remove it, or give another name")
    try:
        write_whole(target, folder.model.read_bytes())
    except OSError as error:
        room = shutil.disk_usage(target.parent).free if target.parent.is_dir() else 0
        raise ArtefactError(
            f"{target}: cannot be written ({error.strerror or error}; {room:,} bytes free); choose another place"
        ) from error
    return metadata
