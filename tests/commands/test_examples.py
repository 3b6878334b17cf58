"""The example files: sound federations; the plain ones are the starters, so that each fact has one home."""

from __future__ import annotations

from pathlib import Path

import pytest
from tacit.commands.starters import STARTERS
from tacit.config import load
from tacit.strategies.federation import affordable_rounds, build

FOLDER = Path(__file__).parents[2] / "examples"
FILES = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_is_sound_and_affordable(path: Path) -> None:
    federation = build(load(path), FOLDER)
    total, _ = affordable_rounds(federation)
    assert total == federation.config.rounds.total


@pytest.mark.parametrize("name", STARTERS)
def test_the_plain_examples_are_the_starters(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text()
    assert text == STARTERS[name].replace("federation.toml", f"examples/{name}.toml")
