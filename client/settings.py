"""Settings: `agent.toml`, an owner's side of every federation: `[policy]`, and the assets that it is for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from ..config import ConfigError, Frame, framed
from .policy import PolicyFrame

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)


class AssetFrame(Frame):
    """Data of this owner, and the task that it may be used for."""

    task: str = Field(description="the `use` of a task that the policy permits")
    source: str = Field(
        description="where the examples are: `csv:PATH`, `npz:PATH`, `text:PATH`, `population:K/N?seed=S`"
    )


class LedgerFrame(Frame):
    """Where ledgers are anchored."""

    anchor: str | None = Field(
        default=None, min_length=1,
        description="folder of the anchors, best on another volume: without it an old ledger is noticed less surely",
    )  # fmt: skip


class Settings(Frame):
    """The whole file. Assets are named by their tables, `[assets.ward3]`; each has a ledger of its own."""

    policy: PolicyFrame
    ledger: LedgerFrame = LedgerFrame()
    assets: dict[str, AssetFrame] = Field(min_length=1)

    @field_validator("assets")
    @classmethod
    def _names_are_names(cls, value: dict[str, AssetFrame]) -> dict[str, AssetFrame]:
        for name in value:
            if _NAME.fullmatch(name) is None:
                raise ValueError(
                    f"{name!r} is no name of an asset; take up to 63 of a-z, 0-9, - and _, a letter or digit first"
                )
        return value

    @model_validator(mode="after")
    def _every_asset_has_its_task(self) -> Settings:
        permitted = {task.use for task in self.policy.tasks}
        taken: dict[str, str] = {}
        for name, asset in self.assets.items():
            if asset.task not in permitted:
                raise ValueError(
                    f"assets.{name}.task = {asset.task!r}: the policy does not permit it; add it to policy.tasks or change it"
                )
            if asset.task in taken:
                raise ValueError(
                    f"assets.{name}.task = {asset.task!r}: asset {taken[asset.task]!r} is for this task already, and a request "
                    f"would not say which is meant; keep one"
                )
            taken[asset.task] = name
        return self


def load_settings(path: Path) -> Settings:
    """The settings in the file at `path`; raises `ConfigError` with every fault, or where others may change the file."""
    try:
        if path.stat().st_mode & 0o002:
            raise ConfigError(f"{path}: everybody on this machine may change it; type `chmod o-w {path}`")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; write one with [policy] and an [assets.NAME]") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable UTF-8 file") from error
    return parse_settings(text, str(path))


def parse_settings(text: str, where: str = "agent.toml") -> Settings:
    """The settings that `text` (TOML) describes; `where` it comes from, for errors. Raises `ConfigError`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}; mend the line") from error
    return framed(Settings, data)
