"""The page of a study: self-contained, escaped, whole without a finite ε, and its pictures say what they show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tacit.config import Config, parse
from tacit.simulation.studies.plots import frontier_plot, letters, spent_plot
from tacit.simulation.studies.report import report
from tacit.simulation.studies.study import study


@pytest.fixture
def result(small: Config, inline: Any, tmp_path: Path) -> dict[str, Any]:
    """The content of `frontier.json` of a small study."""
    vary = {"rounds.total": [2, 4], "privacy.pipeline.1.noise_multiplier": [1.0, 3.0], "local.lr": [0.5, -1.0]}
    found = study(small, vary=vary, seeds=2, out=tmp_path / "a", target_epsilon=5.0, reproduce="tacit study <b>.toml")
    loaded: dict[str, Any] = json.loads(found.folder.result.read_text())
    return loaded


def test_the_page_stands_alone_and_has_every_part(result: dict[str, Any]) -> None:
    page = report(result)
    for title in ("The frontier", "What more of each buys", "What the search itself would cost", "cannot be run",
                  "Every setting", "Make it again"):  # fmt: skip
        assert title in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "<script" not in page
    assert "http" not in page
    assert "tacit study &lt;b&gt;.toml" in page
    assert page.count("<svg") == page.count('role="img"') == 2
    assert "protects nobody's data" in page
    assert "prefers-color-scheme: dark" in page


def test_the_same_result_gives_the_same_page(result: dict[str, Any]) -> None:
    assert report(result) == report(json.loads(json.dumps(result)))


def test_pictures_say_their_numbers(result: dict[str, Any]) -> None:
    drawn = frontier_plot(result, "x")
    assert drawn is not None
    assert "accuracy against ε: " in drawn
    curves = spent_plot(result, "y")
    assert curves is not None
    assert "ε over rounds. A" in curves


def test_without_a_finite_epsilon_the_page_is_whole(small: Config, inline: Any, tmp_path: Path) -> None:
    open_ = parse(small.to_toml(), {"budget.epsilon": float("inf"), "privacy.pipeline.1.noise_multiplier": 0.0})
    found = study(open_, vary={"rounds.total": [1, 2]}, seeds=1, out=tmp_path / "b")
    loaded = json.loads(found.folder.result.read_text())
    assert frontier_plot(loaded, "x") is None
    assert "No setting has a finite ε." in report(loaded)


def test_letters_do_not_run_out() -> None:
    called = letters(list(range(40)))
    assert len(set(called.values())) == 40
    assert called[0] == "A"


def test_nothing_that_its_pictures_say_is_cut_off(result: dict[str, Any], cut_off: Callable[[], list[str]]) -> None:
    report(result)
    report({**result, "extrapolated": {"population": 10**6, "simulated": 12, "noise_held": 0, "how": "so"}})
    assert cut_off() == []
