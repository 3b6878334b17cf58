"""Assets: opened whole at the start, found by task and options, and no code runs that the policy does not name by digest."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import tacit
from tacit.client.assets import asset_name, open_assets
from tacit.client.refusal import RefusedError
from tacit.client.settings import Settings, parse_settings
from tacit.client.vault import ledger_file
from tacit.config import ConfigError

POLICY = """
[policy]
tasks = [ {tasks} ]
unit = "owner"
relation = "zero-out"
colluders = 0
smallest_cohort = 5
epsilon = 4.0
delta = 1e-5
"""
MINE = """
import torch
from tacit.tasks.losses import cross_entropy
from torch import nn
class Mine:
    def model(self):
        return nn.Linear(2, 2)
    def loss(self, outputs, targets):
        return cross_entropy(outputs, targets)
"""
CSV = "a,b,target\n1.0,2.0,0\n3.0,4.0,1\n"


def settings(tasks: str, **assets: tuple[str, str]) -> Settings:
    tables = [f'[assets.{name}]\ntask = "{task}"\nsource = "{source}"\n' for name, (task, source) in assets.items()]
    return parse_settings(POLICY.replace("{tasks}", tasks) + "".join(tables))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A task of one's own, installed but not imported; gives its policy line."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine_asset.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mine_asset", raising=False)
    return f'{{ use = "mine_asset:Mine", sha256 = "{hashlib.sha256(MINE.encode()).hexdigest()}" }}'


def test_shares_of_a_population_are_assets(tmp_path: Path) -> None:
    made = settings('{ use = "breast-cancer" }, { use = "topics" }', ward3=("breast-cancer", "population:3/10?seed=7"))
    found = open_assets(made, tmp_path)
    asset = found.find({"use": "breast-cancer"})
    assert (asset.name, found.names) == ("ward3", ("ward3",))
    assert 30 < len(asset.examples) < 60
    assert found.installed["breast-cancer"] == f"tacit {tacit.__version__}"
    with pytest.raises(RefusedError, match="no data is here for it") as caught:
        found.find({"use": "topics"})  # permitted, but nothing to learn it from
    assert caught.value.refusal.code == "task"
    with pytest.raises(RefusedError):
        found.find({"use": "breast-cancer", "model": "other"})
    assert asset_name(made, "breast-cancer") == "ward3"
    assert asset_name(made, "topics") is None
    assert ledger_file(tmp_path, "ward3") == tmp_path / "ward3.sqlite"


def test_a_task_of_ones_own_reads_its_own_table_beside_the_file(tmp_path: Path, mine: str) -> None:
    (tmp_path / "ward3.csv").write_text(CSV)
    found = open_assets(settings(mine, ward3=("mine_asset:Mine", "csv:ward3.csv")), tmp_path)
    asset = found.find({"use": "mine_asset:Mine"})
    assert asset.examples.inputs.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert "sha256:" in found.installed["mine_asset:Mine"]
    assert "Examples" not in repr(asset)


def test_code_that_is_not_the_one_that_the_policy_names_is_never_run(tmp_path: Path, mine: str) -> None:
    (tmp_path / "site" / "mine_asset.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ConfigError, match="the module that is installed has"):
        open_assets(settings(mine, ward3=("mine_asset:Mine", "csv:ward3.csv")), tmp_path)
    assert "mine_asset" not in sys.modules


def test_code_that_is_not_installed_is_said_with_its_key(tmp_path: Path) -> None:
    line = f'{{ use = "nowhere_at_all:Task", sha256 = "{"0" * 64}" }}'
    with pytest.raises(ConfigError, match=r"policy.tasks.0.use = 'nowhere_at_all:Task'"):
        open_assets(settings(line, ward3=("nowhere_at_all:Task", "csv:x")), tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("csv:gone.csv", "cannot be read"),
        ("csv:short.csv", "column"),
        ("population:10/10", "numbered from 0"),
        ("population:1/10?sed=3", "unknown key sed"),
        ("ward3.csv", "give csv:PATH"),
        ("excel:ward3.xls", "reads csv, npz"),
    ],
)
def test_data_that_cannot_be_learned_from_is_said_with_key_and_value(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "short.csv").write_text(CSV)
    with pytest.raises(ConfigError) as caught:
        open_assets(settings('{ use = "breast-cancer" }', ward3=("breast-cancer", source)), tmp_path)
    assert str(caught.value).startswith(f"assets.ward3.source = '{source}': ")
    assert words in str(caught.value)


def test_options_that_a_task_does_not_have_are_the_policys_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.tasks: 'breast-cancer' with options"):
        open_assets(
            settings('{ use = "breast-cancer", options = { colour = 3 } }', w=("breast-cancer", "population:0/9")),
            tmp_path,
        )
