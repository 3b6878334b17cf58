"""What the tests of the documentation share: the pages, their marked examples and their command lines."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tacit.commands.main import execute

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/privacy.md",
    "docs/configuration.md",
    "docs/flower.md",
    "docs/secure-aggregation.md",
    "docs/security.md",
    "docs/simulator.md",
    "docs/studies.md",
    "docs/ledger.md",
    "docs/audits.md",
    "docs/cluster.md",
)


@dataclass(frozen=True)
class Shown:
    """A command line of a page and the output that the page quotes below it."""

    arguments: tuple[str, ...]
    output: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(("tacit", *self.arguments))


@dataclass(frozen=True)
class Page:
    """One page of documentation."""

    name: str
    text: str

    def examples(self) -> dict[str, str]:
        """Fenced blocks that stand under `<!-- example: NAME -->`, by name, freed of the list item that they stand in."""
        found = re.findall(r"^( *)<!-- example: (.+?) -->\n\1```\w+\n(.*?)^\1```$", self.text, re.MULTILINE | re.DOTALL)
        return {name: "".join(f"{line.removeprefix(pad)}\n" for line in body.splitlines()) for pad, name, body in found}

    def shown(self) -> list[Shown]:
        """Every `$ tacit …` of a console block, in order."""
        found = []
        for block in re.findall(r"^ *```console\n(.*?)^ *```$", self.text, re.MULTILINE | re.DOTALL):
            for part in re.split(r"^ *\$ ", block, flags=re.MULTILINE)[1:]:
                line, *output = part.splitlines()
                words = shlex.split(line, comments=True)
                if words[0].removeprefix(".venv/bin/") == "tacit":
                    found.append(Shown(tuple(words[1:]), tuple(each for each in output if each.strip())))
        return found

    def inline(self) -> list[tuple[str, ...]]:
        """Every `tacit VERB …` that stands in the running text with its arguments."""
        return [tuple(shlex.split(each)[1:]) for each in re.findall(r"`(tacit [^`\n]+)`", self.text) if "…" not in each]

    def tables(self) -> str:
        """The text without fenced blocks."""
        return re.sub(r"^ *```.*?^ *```$", "", self.text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Page:
    """Each page in turn."""
    return Page(request.param, (ROOT / request.param).read_text(encoding="utf-8"))


@pytest.fixture
def named() -> Callable[[str], Page]:
    """A page by its path."""
    return lambda name: Page(name, (ROOT / name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Ended:
    """How one command line ended: its exit code and everything that it printed."""

    code: int
    text: str


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs command lines in an empty folder that they share."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> Ended:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = execute(arguments)
        return Ended(code, out.getvalue() + err.getvalue())

    return run
