"""The program: its help is light and complete, its exit codes are those of the table."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tacit
from tacit.commands.faults import CODES
from tacit.commands.main import VERBS

HEAVY = ("torch", "dp_accounting", "numpy", "scipy", "sklearn", "matplotlib", "opacus", "flwr", "pydantic")
PROBE = """
import sys
from tacit.commands.main import execute
code = execute(sys.argv[1:])
print("|".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.wheel
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = PROBE.format(heavy=HEAVY)
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.strip() == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_is_for_and_shows_an_example(program, verb: str) -> None:
    ended = program(verb, "--help")
    assert ended.code == 0
    assert f"tacit {verb}" in ended.out.split("Example:")[1]
    assert "--json" in ended.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_and_option_is_explained(program, verb: str) -> None:
    rows = [line.strip("│ ") for line in program(verb, "--help").out.splitlines() if line.startswith("│")]
    # A row without an explanation ends with its type, as click prints it.
    assert [row for row in rows if row and row.split()[-1] in {"PATH", "TEXT", "INTEGER", "RUN", "RUN...", "DIR"}] == []


@pytest.mark.parametrize("verb", VERBS)
def test_no_word_of_it_is_cut_off_on_a_narrow_terminal(program, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "…" not in program(verb, "--help").out


def test_no_arguments_show_the_verbs(program) -> None:
    ended = program()
    assert ended.code == 0
    assert all(verb in ended.out for verb in VERBS)


def test_version(program) -> None:
    assert program("--version").out.strip() == tacit.__version__


@pytest.mark.parametrize(
    "arguments", [["nope"], ["simulate"], ["simulate", "x.toml", "--seed", "many"], ["plan", "--nope"]]
)
def test_a_wrong_command_line_is_usage(program, arguments: list[str]) -> None:
    ended = program(*arguments)
    assert ended.code == 2
    assert "--help" in ended.err
    assert ended.out == ""


def test_with_json_errors_are_json_on_standard_output(program) -> None:
    ended = program("simulate", "nowhere.toml", "--json")
    assert ended.code == 2
    found = json.loads(ended.out)["error"]
    assert found["code"] == 2
    assert found["kind"] == "ConfigError"
    assert "nowhere.toml" in found["message"]
    assert ended.err == ""


@pytest.mark.parametrize("name", CODES)
def test_every_class_in_the_table_of_codes_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), kind), BaseException)


def test_the_table_knows_every_error_class_of_the_package() -> None:
    folder = Path(tacit.__file__).parent
    # These never leave the layer that raises them: they become one of the others, or concern the wire.
    inner = {"CodecError", "EntropyError", "NoiseError", "EntryError", "HoursError", "GoneError", "UpdatesError"}
    inner |= {"_UnknownEventError", "LineError", "ModelFileError", "CraftError", "RemoteError"}
    known = {name.rpartition(".")[2] for name in CODES}
    for room in ("privacy", "tasks", "strategies", "server", "client", "simulation", "commands"):
        for path in (folder / room).rglob("*.py"):
            for line in path.read_text().splitlines():
                if line.startswith("class ") and "Error(" in line:
                    name, base = line.removeprefix("class ").rstrip(":)").split("(")
                    assert name in known | inner or base in known, f"{path}: {name} has no exit code"
