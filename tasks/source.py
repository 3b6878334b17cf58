"""Source: the text that says where a task's examples come from, such as `csv:/data/ward3.csv`.

| text                                                        | means                                                  |
|-------------------------------------------------------------|--------------------------------------------------------|
| `population:K/N?seed=S&partition=dirichlet&alpha=0.3`       | share K of N (from 0) of the task's own training data  |
| `csv:PATH`                                                  | a table with a header row, see `tables.read_csv`       |
| `npz:PATH`                                                  | arrays `inputs` and `targets`, see `tables.read_npz`   |
| `text:PATH`                                                 | UTF-8 text, for language tasks                         |

Everything after `?` may be left out: seed 0 and the task's own partition then hold.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode

from .examples import DataError
from .partition import PARTITIONS, Partition, PartitionError, partition_name


@dataclass(frozen=True, slots=True)
class Population:
    """Share `owner` of `owners` (counted from 0) of a simulated population, dealt by `partition` under `seed`."""

    owner: int
    owners: int
    seed: int = 0
    partition: Partition | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.owner < self.owners:
            raise DataError(
                f"population:{self.owner}/{self.owners}: owners are numbered from 0; "
                f"give a share in 0..{max(self.owners - 1, 0)} of at least 1 owner"
            )

    def __str__(self) -> str:
        query: dict[str, object] = {"seed": self.seed}
        if self.partition is not None:
            query["partition"] = partition_name(self.partition)
            query |= {field.name: getattr(self.partition, field.name) for field in dataclasses.fields(self.partition)}
        return f"population:{self.owner}/{self.owners}?{urlencode(query)}"


@dataclass(frozen=True, slots=True)
class File:
    """A file at the owner, read by the task's reader for `scheme`."""

    scheme: str
    path: Path

    def __str__(self) -> str:
        return f"{self.scheme}:{self.path}"


Source: TypeAlias = Population | File


def parse_source(text: str) -> Source:
    """The source that `text` names; raises `DataError` where it names none. `str(source)` writes it back.

    >>> parse_source("population:3/10?seed=7&partition=dirichlet&alpha=0.3")
    Population(owner=3, owners=10, seed=7, partition=Dirichlet(alpha=0.3, minimum=1))
    >>> str(parse_source("csv:/data/ward3.csv"))
    'csv:/data/ward3.csv'
    """
    scheme, colon, rest = text.partition(":")
    if not colon or not rest:
        raise DataError(f"source {text!r}: give csv:PATH, npz:PATH, text:PATH or population:K/N?seed=S")
    if scheme != "population":
        return File(scheme, Path(rest))
    share, _, query = rest.partition("?")
    match = re.fullmatch(r"(\d+)/(\d+)", share, re.ASCII)
    if match is None:
        raise DataError(f"source {text!r}: the share is {share!r}; give K/N, for example population:3/10")
    options = _options(text, query)
    seed = options.pop("seed", 0)
    if not isinstance(seed, int):
        raise DataError(f"source {text!r}: seed = {seed!r}; give an integer")
    return Population(int(match[1]), int(match[2]), seed, _partition(text, options))


def _options(text: str, query: str) -> dict[str, str | int | float]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise DataError(f"source {text!r}: {error}; write key=value pairs joined by &") from error
    names = [key for key, _ in pairs]
    if len(names) != len(set(names)):
        raise DataError(f"source {text!r}: a key is given twice; give each once")
    return {key: _number(value) for key, value in pairs}


def _number(value: str) -> str | int | float:
    """An integer or a real where `value` is one in JSON, else the text itself."""
    try:
        number = json.loads(value)
    except ValueError:
        return value
    return number if type(number) in (int, float) else value


def _partition(text: str, options: dict[str, str | int | float]) -> Partition | None:
    name = options.pop("partition", None)
    kind = PARTITIONS.get(str(name))
    if name is not None and kind is None:
        raise DataError(f"source {text!r}: partition {name!r} is unknown; give one of {', '.join(PARTITIONS)}")
    known = [] if kind is None else [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        allowed = ", ".join(["seed", "partition", *known])
        raise DataError(f"source {text!r}: unknown key {', '.join(unknown)}; it takes {allowed}")
    if kind is None:
        return None
    try:
        made: Partition = kind(**options)
    except (PartitionError, TypeError) as error:  # TypeError: a field without default was left out
        raise DataError(f"source {text!r}: {error}") from error
    return made
