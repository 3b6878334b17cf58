"""Settings: `agent.toml` is read whole or refused with key, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tacit.client.settings import load_settings, parse_settings
from tacit.config import ConfigError

TEXT = """
[policy]
tasks = [ { use = "digits", options = { model = "softmax" } }, { use = "breast-cancer" } ]
unit = "owner"
relation = "zero-out"
colluders = 0
smallest_cohort = 5
epsilon = 4.0
delta = 1e-5
[assets.ward3]
task = "breast-cancer"
source = "csv:ward3.csv"
[assets.scans]
task = "digits"
source = "population:3/10?seed=7"
"""


def test_a_file_says_policy_and_assets(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    found = load_settings(path)
    assert found.policy.smallest_cohort == 5
    assert {name: asset.task for name, asset in found.assets.items()} == {"ward3": "breast-cancer", "scans": "digits"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[policy]", "[polices]", "polices = "),
        ('task = "digits"', 'task = "topics"', "assets.scans.task = 'topics': the policy does not permit it"),
        ('task = "digits"', 'task = "breast-cancer"', "asset 'ward3' is for this task already"),
        ("[assets.scans]", '[assets."../x"]', "'../x' is no name of an asset"),
        ("[assets.scans]", "[assets.Scans]", "'Scans' is no name of an asset"),
        ('source = "csv:ward3.csv"', 'sorce = "csv:ward3.csv"', "assets.ward3.sorce = 'csv:ward3.csv': unknown key"),
        ("epsilon = 4.0", "", "policy.epsilon: missing"),
        ("epsilon = 4.0", "epsilon = ", "agent.toml: not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_key_and_value(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        parse_settings(TEXT.replace(old, new, 1))
    assert words in str(caught.value)


def test_no_assets_are_no_settings() -> None:
    with pytest.raises(ConfigError, match="assets"):
        parse_settings(TEXT[: TEXT.index("[assets.ward3]")])


def test_a_file_that_anybody_may_change_is_nobodys_policy(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_settings(path)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "agent.toml")
    (tmp_path / "agent.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "agent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)
