"""Every page: the files, names, tests, links and headings that it points to exist; its command lines can be parsed."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import click
import typer
from tacit.commands.main import VERBS, app

ROOT = Path(__file__).resolve().parents[2]


def test_every_part_that_a_page_names_exists(page: Any) -> None:
    """`folder/file.py:Name.method` leads to a definition, or to something that the file imports or assigns."""
    for path, name in re.findall(r"`([\w/]+\.py):([\w.]+)`", page.text):
        scope: list[ast.stmt] = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        for part in name.split("."):
            found = [node for node in scope if getattr(node, "name", None) == part]
            assert found, f"{page.name}: {path} has no {name}"
            scope = found[0].body  # type: ignore[attr-defined]  # a class or a function


def test_every_file_that_a_page_names_exists(page: Any) -> None:
    to_be_written = {"weigh.py", "test_weigh.py", "nesterov.py"}  # the examples of architecture.md
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml))`", page.text):
        if path.startswith(("mine/", "digits/", "clinic/")):
            continue  # written by `tacit init`
        assert Path(path).name in to_be_written or (ROOT / path).is_file(), f"{page.name}: {path}"


def test_every_test_that_a_page_names_exists(page: Any) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.text):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{page.name}: {path}::{name}"


def test_every_link_leads_somewhere(page: Any) -> None:
    folder = (ROOT / page.name).parent
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[\w-]*)?\)", page.text):
        if target and "://" not in target:
            assert (folder / target).exists(), f"{page.name}: {target}"


def test_every_anchor_is_a_heading(page: Any) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([\w-]+)\)", page.text):
        text = ((ROOT / page.name).parent / target).read_text(encoding="utf-8") if target else page.text
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def parsed(arguments: tuple[str, ...]) -> None:
    """Parse a command line without running it; raises click's usage errors."""
    program = typer.main.get_command(app)
    assert isinstance(program, click.Group)
    context = program.make_context("tacit", list(arguments[:1]), resilient_parsing=True)
    name, command, _ = program.resolve_command(context, list(arguments[:1]))
    assert command is not None
    command.make_context(name, list(arguments[1:]), parent=context)


def test_every_command_line_can_be_parsed(page: Any) -> None:
    for arguments in (*(each.arguments for each in page.shown()), *page.inline()):
        if len(arguments) == 1:  # a verb by itself is spoken of, not shown
            assert arguments[0] in {*VERBS, "--version", "--help"}, f"{page.name}: tacit {arguments[0]}"
            continue
        try:
            parsed(arguments)
        except click.ClickException as error:
            raise AssertionError(f"{page.name}: tacit {' '.join(arguments)}: {error.format_message()}") from error


def test_every_make_target_exists(page: Any) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`|^ *\$ make ([a-z]+)", page.text, re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_a_rule_that_the_code_cites_stands_on_the_page_of_privacy() -> None:
    text = (ROOT / "docs/privacy.md").read_text(encoding="utf-8")
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    cited: set[int] = set()
    for room in ("privacy", "tasks", "strategies", "server", "client", "simulation", "commands"):
        for path in (ROOT / room).rglob("*.py"):
            for found in re.findall(r"PRIVACY\.md (\d+(?:(?:, | and |–)\d+)*)", path.read_text(encoding="utf-8")):
                cited |= {int(number) for number in re.findall(r"\d+", found)}
    assert len(cited) >= 10
    assert cited <= listed
