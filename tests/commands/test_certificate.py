"""`tacit certificate verify`: words and exit codes; what it says it did not check is said too."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tacit.simulation.weights import to_bytes
from tacit.strategies import roster
from tacit.strategies.modelfile import found_in
from torch import nn


@pytest.fixture
def file(sealing: Any, tmp_path: Path) -> Path:
    path = tmp_path / "certificate.json"
    path.write_bytes(sealing.file())
    return path


def test_it_says_what_is_shown_and_what_is_only_attested(program: Any, file: Path, sealing: Any) -> None:
    ended = program("certificate", "verify", str(file))
    assert ended.code == 0, ended.err
    for entry in sealing.roster.entries[:2]:
        assert f"{entry.name}, fingerprint {entry.fingerprint}" in ended.out
    assert "owner number 3 (ward-3) signed nothing; of it ε = ∞ has to be assumed" in ended.out
    for words in (
        "Verified",
        "Attested",
        "Not protected",
        "not whose the keys are",
        "not the ledgers",
        "docs/privacy.md",
    ):
        assert words in ended.out
    cost = "    each: ε = "  # two owners that state the same are told it once
    assert [line[: len(cost)] for line in ended.out.splitlines() if "against the server" in line].count(cost) == 1
    assert "3 times Gaussian 9" in ended.out
    assert sealing.coordinator.public_key().public_bytes_raw().hex() in ended.out


def test_a_roster_that_one_trusts_confirms_the_keys(program: Any, file: Path, sealing: Any, tmp_path: Path) -> None:
    (tmp_path / "roster.json").write_text(roster.sign(sealing.roster, sealing.coordinator))
    ended = program("certificate", "verify", str(file), "--roster", str(tmp_path / "roster.json"))
    assert ended.code == 0, ended.err
    assert "the keys of ward-1, ward-2" in ended.out


def test_a_model_file_is_held_against_it(program: Any, sealing: Any, tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    layout = [{"name": "weight", "shape": [1, 2]}, {"name": "bias", "shape": [1]}]
    model = tmp_path / "model.safetensors"
    model.write_bytes(to_bytes(module, {"layout": layout}))
    (tmp_path / "certificate.json").write_bytes(sealing.file(model=found_in(model).digest))
    words = ("certificate", "verify", str(tmp_path / "certificate.json"))
    assert "not the model: its digest is signed here" in program(*words).out
    ended = program(*words, "--model", str(model))
    assert ended.code == 0, ended.err
    assert "the file that you gave holds the numbers that the run ended with" in ended.out
    with torch.no_grad():
        module.bias += 1e-6
    model.write_bytes(to_bytes(module, {"layout": layout}))
    ended = program(*words, "--model", str(model), "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["model"], len(found["faults"])) == (1, False, 1)
    assert "not the model that this run ended with" in found["faults"][0]
    model.write_bytes(b"no model")
    ended = program(*words, "--model", str(model))
    assert (ended.code, "give `model.safetensors` of the run" in ended.err) == (1, True)


def test_what_does_not_hold_leaves_with_1_and_no_word_of_verified(program: Any, file: Path, sealing: Any) -> None:
    cost = sealing.statements[1].cost
    lie = sealing.signed(1, cost=replace(cost, epsilon=cost.epsilon / 2))
    file.write_bytes(sealing.file([lie, sealing.signed(2)]))
    ended = program("certificate", "verify", str(file))
    assert ended.code == 1
    assert "ward-1: states ε" in ended.err
    assert "each: " not in ended.out
    assert "DOES NOT HOLD" in ended.out
    assert "Verified" not in ended.out
    ended = program("certificate", "verify", str(file), "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["holds"], len(found["faults"]), found["verified"]) == (False, 1, [])


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"not json"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_is_no_certificate_leaves_with_1(program: Any, tmp_path: Path, content: bytes, more: list[str]) -> None:
    (tmp_path / "x").write_bytes(content)
    ended = program("certificate", "verify", str(tmp_path / "x"), *more)
    assert ended.code == 1
    assert "certificate" in (ended.out + ended.err)


def test_a_file_that_is_not_there(program: Any, tmp_path: Path) -> None:
    assert program("certificate", "verify", str(tmp_path / "gone")).code == 1


def test_its_json_holds_all_of_it(program: Any, file: Path) -> None:
    found = json.loads(program("certificate", "verify", str(file), "--json").out)
    assert found["holds"]
    assert [each["name"] for each in found["owners"]] == ["ward-1", "ward-2"]
    assert found["owners"][0]["by"] == "pld"
    assert found["certificate"]["missing"][0]["number"] == 3


def test_it_loads_neither_torch_nor_flower(file: Path) -> None:
    script = (
        "import sys\nfrom tacit.commands.main import execute\n"
        "assert execute(['certificate', 'verify', sys.argv[1]]) == 0\n"
        "print(*(m for m in ('torch', 'opacus', 'flwr', 'matplotlib') if m in sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")
