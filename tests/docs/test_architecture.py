"""docs/architecture.md: its examples do what it says, and what it names exists."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tacit
import torch
from tacit.commands.starters import STARTERS
from tacit.config import parse
from tacit.privacy.pipeline import PipelineError
from tacit.privacy.stages.table import STAGES
from tacit.strategies.algorithms import ALGORITHMS

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/architecture.md"


@pytest.fixture
def examples(named: Callable[[str], Any]) -> dict[str, str]:
    """The marked blocks of the page."""
    return named(PAGE).examples()


@pytest.fixture
def added(examples: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads an example as the file of the package that the page says it is."""

    def load(path: str) -> ModuleType:
        file = tmp_path / Path(path).name
        file.write_text(examples[path], encoding="utf-8")
        name = "tacit." + path.removesuffix(".py").replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def loaded_laws() -> ModuleType:
    """A copy of the laws of stages, whose tables an example may add to."""
    spec = importlib.util.spec_from_file_location("laws", ROOT / "tests/privacy/stages/test_laws.py")
    assert spec is not None
    assert spec.loader is not None
    laws = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(laws)
    return laws


def test_what_is_known_of_a_contribution(examples: dict[str, str]) -> None:
    text = examples["signals"] + "\n" + examples["signals, continued"]
    session = doctest.DocTestParser().get_doctest(text, {}, PAGE, PAGE, 0)
    assert len(session.examples) >= 10
    told: list[str] = []
    outcome = doctest.DocTestRunner(verbose=False).run(session, out=told.append)
    assert outcome.failed == 0, "".join(told)


def test_the_stage_passes_the_laws(
    examples: dict[str, str], added: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = loaded_laws()
    monkeypatch.setitem(STAGES, "weigh", added("privacy/stages/weigh.py").Weigh)
    with pytest.raises(AssertionError):  # as the page says: the laws miss it until the lines are there
        laws.test_every_stage_of_the_table_is_under_the_laws()
    before = set(laws.JOURNEYS)
    exec(examples["laws of weigh"], laws.__dict__)
    laws.test_every_stage_of_the_table_is_under_the_laws()
    journeys = set(laws.JOURNEYS) - before
    assert len(journeys) == 2
    for journey in journeys:
        for unit in ("owner", "example"):
            laws.test_square_law(journey, unit)
            laws.test_batch_law(journey, unit)
        laws.test_declarations_are_sound(journey)
        laws.test_an_empty_round_works(journey)
    for other in STAGES:
        laws.test_every_wrong_order_is_refused("weigh", other)
        laws.test_every_wrong_order_is_refused(other, "weigh")


def test_the_stage_moves_noise_as_the_page_says(
    added: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = loaded_laws()
    monkeypatch.setitem(STAGES, "weigh", added("privacy/stages/weigh.py").Weigh)
    weigh = {"stage": "weigh", "count": 2000, "factor": 4.0}
    line = laws.built([laws.CLIP, weigh, laws.ROWS["central-gaussian"]], laws.source(dim=4000))
    noise = line.receive(line.empty(), laws.env(0)).total.to(torch.float64)
    assert noise[2000:].std() / noise[:2000].std() == pytest.approx(4.0, rel=0.1)
    with pytest.raises(PipelineError, match="put a clip before it"):
        laws.built([weigh], laws.source(dim=4000))


def test_a_stage_that_declares_too_little_fails_the_laws(
    examples: dict[str, str], added: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The laws would notice an example that is wrong: the same stage without the factor in its declaration."""
    laws = loaded_laws()
    examples["privacy/stages/weigh.py"] = examples["privacy/stages/weigh.py"].replace("max(1.0, self.factor)", "1.0")
    monkeypatch.setitem(STAGES, "weigh", added("privacy/stages/weigh.py").Weigh)
    exec(examples["laws of weigh"], laws.__dict__)
    with pytest.raises(AssertionError):
        laws.test_declarations_are_sound("weigh")


def test_the_strategy_trains_digits(added: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "nesterov", added("strategies/nesterov.py").Nesterov)
    small = {"rounds.total": 12, "population.owners": 120, "budget.epsilon": 8.0}

    def accuracy(**row: Any) -> float:
        return float(tacit.simulate(parse(STARTERS["digits"], {**small, "strategy": row}), seed=1).final.accuracy)

    found = accuracy(use="nesterov", server_lr=4.0)
    assert found > 0.85
    assert found > accuracy(use="fedavg", server_lr=4.0)


def test_the_task_simulates(examples: dict[str, str], ran: Callable[..., Any], named: Callable[[str], Any]) -> None:
    for name in ("iris.py", "federation.toml"):
        Path(name).write_text(examples[name], encoding="utf-8")
    (shown,) = named(PAGE).shown()
    result = json.loads(ran(*shown.arguments, "--quiet", "--json").text)
    assert result["final"]["accuracy"] > 0.85
    assert result["privacy"][0]["epsilon"] == pytest.approx(8.0, rel=1e-3)
    again = json.loads(ran(*shown.arguments, "--quiet", "--json", "--set", "task.hidden=3", "--out", "hidden").text)
    assert again["pipeline"][0]["dim"] == 4 * 3 + 3 + 3 * 3 + 3


def test_the_diagram_of_floors_is_the_contract(named: Callable[[str], Any]) -> None:
    """The floors of the table are the layers that import-linter enforces, in that order."""
    contract = re.search(r"^layers = (\[.*\])$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert contract is not None
    layers = [name for floor in ast.literal_eval(contract[1]) for name in floor.split(" | ")]
    section = named(PAGE).text.split("| floor, highest first |")[1].split("\n\n")[0]
    named_floors = [
        name for row in section.splitlines()[2:] for name in re.findall(r"`([\w.]+?)(?:\.py|/)`", row.split("|")[1])
    ]
    assert named_floors == layers
