"""What the tests of studies share: a small federation, and a crew that answers in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import pytest
from tacit.config import Config, parse
from tacit.simulation.studies import study as module
from tacit.simulation.studies.worker import ANSWERS, bench_of

SMALL = """
[task]
use = "breast-cancer"
[population]
owners = 12
[rounds]
total = 4
participation = { use = "poisson", rate = 0.5 }
[local]
use = "sgd"
lr = 0.5
[privacy]
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 20.0
[evaluation]
every = 2
"""


@pytest.fixture
def small() -> Config:
    """A federation that trains in a blink."""
    return parse(SMALL, name="small")


class Inline:
    """A crew without processes. `asked` holds every question; after `stop` answers it is interrupted."""

    asked: list[Mapping[str, Any]]
    stop: int

    def __init__(self, config: Mapping[str, Any], folder: str | None, predict: int | None, size: int) -> None:
        self.bench = bench_of(json.loads(json.dumps({"config": config, "folder": folder, "predict": predict})))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def answers(self, asked: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in reversed(range(len(asked))):  # a crew may answer in any order
            if len(type(self).asked) == type(self).stop:
                raise KeyboardInterrupt
            type(self).asked.append(asked[index])
            yield index, json.loads(json.dumps(ANSWERS[asked[index]["do"]](self.bench, asked[index])))


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> type[Inline]:
    """Studies of this test are answered in this process."""
    kind = type("Here", (Inline,), {"asked": [], "stop": -1})
    monkeypatch.setattr(module, "Crew", kind)
    return kind
