"""README.md: one screen, whose commands and Python lines do what it says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tacit
from tacit.commands.demo import SETTINGS
from tacit.commands.main import GROUPS, VERBS
from tacit.commands.starters import STARTERS
from tacit.config import parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def readme(named: Callable[[str], Any]) -> Any:
    """The page."""
    return named("README.md")


def test_it_is_short(readme: Any) -> None:
    assert len(readme.text.splitlines()) <= 90


def test_its_plans_print_what_it_quotes(readme: Any, ran: Callable[..., Any]) -> None:
    quoted = 0
    for shown in readme.shown():
        if shown.arguments[0] not in ("init", "plan"):
            continue
        ended = ran(*shown.arguments)
        assert ended.code == 0, ended.text
        printed = [" ".join(line.split()) for line in ended.text.splitlines()]
        for line in shown.output:
            if line != "…":
                assert " ".join(line.split()) in printed, f"{shown}: {line}"
                quoted += 1
    assert quoted >= 6


def test_its_python_lines_run(readme: Any, ran: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    code = readme.examples()["python"]
    ran("init", "digits")
    file = Path("digits/federation.toml")
    file.write_text(file.read_text().replace("owners = 479", "owners = 60"))  # a tenth of the time
    code = code.replace('"rounds.total": 80', '"rounds.total": 10')
    assert '"rounds.total": 10' in code
    scope: dict[str, Any] = {}
    exec(code.replace('toml", seed=7):', 'toml", seed=7, set={"rounds.total": 5}):'), scope)
    assert list(scope["table"]["round"]) == [5, 10]
    assert sum(each.numel() for each in scope["model"].parameters()) == 1280
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert float(printed[-1]) > 0


def test_the_demo_that_it_quotes_is_the_demo_that_runs(readme: Any) -> None:
    """Words, δ and budget of the quoted output are those of the settings; the accuracy is that of the picture."""
    for name, words in SETTINGS.items():
        assert f"  {name}: {words}\n" in readme.text
        config = parse(STARTERS[name], name=name)
        (line,) = re.findall(
            rf"^{name}: ([\d.]+) % right .* ε = ([\d.]+) \(δ = ([\d.]+)\) (.*)$", readme.text, re.MULTILINE
        )
        units = config.population.owners if config.privacy.unit == "owner" else 455
        assert float(line[1]) == config.budget.epsilon
        assert float(line[2]) == pytest.approx(config.privacy.delta_for(units), rel=0.05)
        assert line[3].startswith(f"for every {config.privacy.unit}, against the {config.budget.observer}.")


def test_the_picture_is_of_that_run(readme: Any) -> None:
    picture = ROOT / "docs/picture.svg"
    told = ElementTree.fromstring(picture.read_text(encoding="utf-8")).attrib["aria-label"]
    (accuracy,) = re.findall(r"^digits: ([\d.]+) % right", readme.text, re.MULTILINE)
    assert f"to {accuracy}\u00a0% at round 80" in told or f"to {accuracy} % at round 80" in told
    assert "to 4.00 at round 80" in told
    assert "docs/picture.svg" in readme.text


@pytest.mark.parametrize(("name", "tested"), [("digits", 359), ("breast-cancer", 114)])
def test_the_accuracy_that_it_quotes_is_reached(readme: Any, name: str, tested: int) -> None:
    """Up to two of the test examples: another processor rounds its sums otherwise."""
    (accuracy,) = re.findall(rf"^{name}: ([\d.]+) % right", readme.text, re.MULTILINE)
    found = tacit.simulate(parse(STARTERS[name], name=name), seed=0).final.accuracy
    assert 100 * found == pytest.approx(float(accuracy), abs=200 / tested + 0.05)


def test_it_installs_with_the_constraints(readme: Any) -> None:
    assert 'pip install -c constraints.txt -e ".[fast]"' in readme.text
    assert "pandas==" in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_every_verb_that_it_shows_exists(readme: Any) -> None:
    shown = set(re.findall(r"\btacit ([a-z]+)", readme.text)) - {"simulation"}
    assert {"audit", "study", "plan", "simulate", "up", "init"} <= shown <= {*VERBS, *GROUPS, "demo", "doctor"}
