"""Runs: what a coordinator was asked to train, on disk. One runs at a time, in the order in which they were asked for.

| file in `runs/NAME/` | holds                                                             | written              |
|----------------------|-------------------------------------------------------------------|----------------------|
| order.json           | when it was asked for, the seats, the seed of a seeded daemon     | first                |
| config.toml          | the resolved configuration                                        | last of the order    |
| checkpoint           | everything that the next round needs                              | after every round    |
| rounds.jsonl         | a line per round, for the operator                                | after the checkpoint |
| exchange/            | token and letters of the round under way                          | as it goes           |
| release              | of noise that depends on earlier rounds': the newest release, and  | before it is applied |
|                      | the noise itself; gone when the run is over                       |                      |
| begun.json           | the newest masked attempt, which no other process can go on with  | before it is asked   |
| certificate.json     | what it cost, signed by owners and coordinator                    | after the last round |
| ended.json           | how it ended, and why                                             | last                 |

It ends `done`, `stopped` by its budget after some rounds, `refused` by its budget or by owners' policies, or `failed`.
A seat is the place of an owner in the run's population, from 0: `seats[k]` is its number at the coordinator.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..config import Config, parse
from ..strategies import keyfile
from .whole import write_whole

Ending: TypeAlias = Literal["done", "stopped", "refused", "failed"]
UNDER_WAY = ("waiting", "running")
AGAIN = ("failed", "refused")  # what may be otherwise the next time: owners come back, or approve


class RunsError(RuntimeError):
    """A run that does not exist, or whose files cannot be relied on."""


@dataclass(frozen=True, slots=True)
class Order:
    """When a run was asked for, who takes part, and the seed that its daemon was started with."""

    asked: float
    seats: tuple[int, ...]
    seed: int | None


@dataclass(frozen=True, slots=True)
class ServedRun:
    """The run in the folder `path`; its name is the folder's."""

    path: Path

    @property
    def name(self) -> str:
        """What owners and operators call it."""
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        """The state after the last whole round."""
        return self.path / "checkpoint"

    @property
    def certificate(self) -> Path:
        """What it cost, signed; there once its rounds are over."""
        return self.path / "certificate.json"

    @property
    def release(self) -> Path:
        """The newest release, where noise depends on that of earlier rounds."""
        return self.path / "release"

    @property
    def exchange(self) -> Path:
        """The folder of its transport."""
        return self.path / "exchange"

    def config(self) -> Config:
        """Its configuration; raises `ConfigError`, `RunsError`."""
        return parse(self._read("config.toml"))

    def order(self) -> Order:
        """Its order; raises `RunsError`."""
        try:
            row = json.loads(self._read("order.json"))
            seed = row["seed"]
            return Order(float(row["asked"]), tuple(map(int, row["seats"])), None if seed is None else int(seed))
        except (ValueError, KeyError, TypeError) as error:
            raise RunsError(f"{self.path / 'order.json'}: damaged; restore it from a backup") from error

    def begin(self, round: int, attempt: int) -> None:
        """Note that an attempt begins; on the disk when this returns. Raises `OSError`."""
        write_whole(self.path / "begun.json", json.dumps({"round": round, "attempt": attempt}).encode())

    def fresh(self, round: int) -> int:
        """The first attempt of a round that was not begun. Raises `RunsError`."""
        if not (self.path / "begun.json").exists():
            return 0
        try:
            row = json.loads(self._read("begun.json"))
            return int(row["attempt"]) + 1 if int(row["round"]) == round else 0
        except (ValueError, KeyError, TypeError) as error:
            raise RunsError(f"{self.path / 'begun.json'}: damaged; restore it from a backup") from error

    def ended(self) -> tuple[Ending, str, int] | None:
        """How it ended, why, and how many releases were charged by then; None while it has not. Raises `RunsError`."""
        if not (self.path / "ended.json").exists():
            return None
        try:
            row = json.loads(self._read("ended.json"))
            how, why, charges = row["state"], str(row["why"]), int(row["charges"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunsError(f"{self.path / 'ended.json'}: damaged; restore it from a backup") from error
        if how not in get_args(Ending):
            raise RunsError(f"{self.path / 'ended.json'}: state = {how!r} is unknown; use the version that wrote it")
        return how, why, charges

    def end(self, how: Ending, why: str, charges: int) -> None:
        """Note how it ended; on the disk when this returns."""
        row = {"state": how, "why": why, "charges": charges}
        write_whole(self.path / "ended.json", json.dumps(row).encode())

    def again(self) -> None:
        """Let a run that failed, or that owners refused, go on from its last whole round; raises `RunsError` for any other."""
        if (found := self.ended()) is None or found[0] not in AGAIN:
            raise RunsError(f"run {self.name} has not failed; ask for a new run")
        (self.path / "ended.json").unlink()

    def rows(self) -> list[dict[str, Any]]:
        """The lines of its rounds so far; a last line that is still being written does not count."""
        try:
            text = (self.path / "rounds.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make the lines exactly `rows`: after a crash they may differ from the checkpoint."""
        write_whole(self.path / "rounds.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())

    def append(self, row: Mapping[str, Any]) -> None:
        """Add the line of a round."""
        with (self.path / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError as error:
            raise RunsError(
                f"{self.path / name}: cannot be read ({error.strerror}); restore it from a backup"
            ) from error


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs in `folder`."""

    folder: Path

    def all(self) -> list[ServedRun]:
        """Every run that was asked for, in that order. Raises `RunsError`."""
        found = [ServedRun(path.parent) for path in self.folder.glob("*/config.toml")]
        return sorted(found, key=lambda run: (run.order().asked, run.name))

    def next(self) -> ServedRun | None:
        """The run to work on: the oldest that has not ended."""
        return next((run for run in self.all() if run.ended() is None), None)

    def named(self, name: str) -> ServedRun:
        """The run called `name`; raises `RunsError`."""
        found = next((run for run in self.all() if run.name == name), None)
        if found is None:
            raise RunsError(f"no run is called {name!r}; `tacit server runs` lists them")
        return found

    def add(self, config: Config, seats: Sequence[int], seed: int | None, now: float) -> ServedRun:
        """Note a new run; it is there once its configuration is."""
        keyfile.folder(self.folder)
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", config.name or "run").strip("-")[:60] or "run"
        stem = f"{base}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"
        number, path = 1, self.folder / stem
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}"
        keyfile.folder(path)
        order = {"asked": now, "seats": list(seats), "seed": seed}
        write_whole(path / "order.json", json.dumps(order).encode())
        write_whole(path / "config.toml", config.to_toml().encode())
        return ServedRun(path)
