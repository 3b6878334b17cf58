"""docs/configuration.md: it is what its generator writes from the schema, and says what the schema does."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tacit.config import Config, ConfigError, parse
from tacit.privacy.participation import PARTICIPATIONS
from tacit.privacy.stages.table import STAGES
from tacit.strategies.algorithms import ALGORITHMS
from tacit.strategies.solvers import SOLVERS
from tacit.tasks.catalogue import TASKS
from tacit.tasks.partition import PARTITIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/configuration.md"


def test_the_page_is_what_the_generator_writes(named: Callable[[str], Any]) -> None:
    made: Callable[[], str] = runpy.run_path(str(ROOT / "docs/configuration.py"))["page"]
    assert named(PAGE).text == made(), "docs/configuration.md is stale; run `make docs`"


def test_every_key_of_the_file_is_there(named: Callable[[str], Any]) -> None:
    text = named(PAGE).text
    sections = dict(re.findall(r"^### `\[(\w+)\]`\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    for name, field in Config.model_fields.items():
        frame = getattr(field.annotation, "model_fields", None)
        if frame is None:
            assert f"| `{name}` |" in text
            continue
        for key, each in frame.items():
            assert f"| `{key}` |" in sections[name]
            assert each.description, f"{name}.{key} has no description"


@pytest.mark.parametrize(
    ("tag", "table"),
    [("stage", STAGES), *(("use", table) for table in (SOLVERS, ALGORITHMS, PARTICIPATIONS, PARTITIONS, TASKS))],
)
def test_every_name_of_every_table_is_there(named: Callable[[str], Any], tag: str, table: dict[str, Any]) -> None:
    for name, kind in table.items():
        assert f'#### `{tag} = "{name}"`\n\n{(kind.__doc__ or "").strip().splitlines()[0]}' in named(PAGE).text


def test_the_whole_file_on_the_page_is_a_configuration(named: Callable[[str], Any]) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", named(PAGE).text, re.DOTALL)
    assert parse(text).population.owners == 479


def test_bounds_on_the_page_are_those_that_are_enforced(named: Callable[[str], Any]) -> None:
    """`quorum` stands for the others: what the page calls its range is accepted at the end and refused beyond."""
    assert "| `quorum` | number, above 0 and up to 1 |" in named(PAGE).text
    (text,) = re.findall(r"```toml\n(.*?)```", named(PAGE).text, re.DOTALL)
    assert parse(text, {"rounds.quorum": 1}).rounds.quorum == 1
    for beyond in (0, 1.01):
        with pytest.raises(ConfigError, match="quorum"):
            parse(text, {"rounds.quorum": beyond})
