"""Assets: an owner's data, opened and validated at the start, and found again by the task that a request names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config import ConfigError
from ..tasks.catalogue import lookup
from ..tasks.examples import DataError, Examples
from ..tasks.partition import PartitionError
from ..tasks.source import File, parse_source
from ..tasks.task import Task, TaskError
from ..tasks.trainable import TrainableError
from ..tasks.version import code_of, digest_of
from .checks import permitted
from .policy import PermittedTask, PolicyFrame
from .refusal import RefusedError
from .settings import AssetFrame, Settings


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset under one permitted task: what a worker of this owner trains with."""

    name: str
    permitted: PermittedTask
    task: Task
    examples: Examples = field(repr=False)


@dataclass(frozen=True, slots=True)
class Assets:
    """All of an owner's assets. `installed` is the version of the code of every permitted task, by name."""

    policy: PolicyFrame
    installed: Mapping[str, str]
    held: tuple[Asset, ...]

    def find(self, task: Mapping[str, Any]) -> Asset:
        """The asset for the task of a request (`{"use": …, option: …}`); raises `RefusedError` where there is none."""
        line = permitted(self.policy, task)
        found = next((asset for asset in self.held if asset.permitted == line), None)
        if found is None:
            raise RefusedError(f"task {repr(dict(task))[:200]} is not permitted, or no data is here for it", "task")
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all assets."""
        return tuple(dict.fromkeys(asset.name for asset in self.held))


def asset_name(settings: Settings, use: str) -> str | None:
    """The name of the asset for the task `use`; None where there is none."""
    return next((name for name, asset in settings.assets.items() if asset.task == use), None)


def installed_codes(policy: PolicyFrame) -> dict[str, str]:
    """The version of the code of every permitted task. Runs none of it, but the packages that it lies in.

    Raises `ConfigError` for code that is not installed, or is not what the policy's digest says.
    """
    codes: dict[str, str] = {}
    for index, task in enumerate(policy.tasks):
        where = f"policy.tasks.{index}"
        try:
            digest = digest_of(task.use) if task.sha256 is not None else None
            codes[task.use] = code_of(task.use)
        except TaskError as error:
            raise ConfigError(f"{where}.use = {task.use!r}: {error}") from error
        if digest != task.sha256:
            raise ConfigError(
                f"{where}.sha256 = {task.sha256!r}: the module that is installed has {digest!r}; read what changed, then "
                f"change the line, or install the one that was meant"
            )
    return codes


def open_assets(settings: Settings, folder: Path) -> Assets:
    """Every asset, read and checked against the model of its task; relative paths begin at `folder`.

    Raises `ConfigError` (key, value, remedy) for code or data that cannot be used. Only code whose digest the policy names
    is run, and it was checked before.
    """
    installed = installed_codes(settings.policy)
    held = [
        _open(name, asset, line, folder)
        for name, asset in settings.assets.items()
        for line in settings.policy.tasks
        if line.use == asset.task
    ]
    return Assets(settings.policy, installed, tuple(held))


def _open(name: str, asset: AssetFrame, line: PermittedTask, folder: Path) -> Asset:
    try:
        task = lookup(line.use, **line.options)
    except TaskError as error:
        raise ConfigError(f"policy.tasks: {line.use!r} with options {line.options!r}: {error}") from error
    try:
        examples = task.load(_placed(asset.source, folder))
    except (DataError, TaskError, PartitionError, TrainableError) as error:
        raise ConfigError(f"assets.{name}.source = {asset.source!r}: {error}") from error
    return Asset(name, line, task, examples)


def _placed(source: str, folder: Path) -> str:
    place = parse_source(source)
    if isinstance(place, File) and not place.path.is_absolute():
        return str(replace(place, path=folder / place.path))
    return source
