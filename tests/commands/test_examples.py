"""The example files: sound federations; the plain one is the starter, so that each fact has one home."""

from __future__ import annotations

from pathlib import Path

import pytest
from tacit.commands.starters import TOPICS
from tacit.config import load
from tacit.strategies.federation import affordable_rounds, build

FOLDER = Path(__file__).parents[2] / "examples"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_is_sound_and_affordable(path: Path) -> None:
    federation = build(load(path), FOLDER)
    total, _ = affordable_rounds(federation)
    assert total == federation.config.rounds.total


def test_the_text_example_is_the_starter() -> None:
    """The others are tuned further than a starting point should be."""
    assert (FOLDER / "topics.toml").read_text() == TOPICS.replace("federation.toml", "examples/topics.toml")
