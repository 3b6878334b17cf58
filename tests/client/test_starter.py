"""The `agent.toml` that enrolment leaves: nothing before it is filled in, then what it says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tacit.client.home import ClientHome
from tacit.client.settings import load_settings, parse_settings
from tacit.client.starter import TEXT, write_starter
from tacit.commands.main import execute
from tacit.commands.starters import STARTERS
from tacit.config import ConfigError

FILLED = TEXT.replace("\n#[assets", "\n[assets").replace("\n#task", "\ntask").replace("\n#source", "\nsource")


def test_it_permits_nothing_before_the_data_is_named() -> None:
    with pytest.raises(ConfigError, match="assets"):
        parse_settings(TEXT)
    assert parse_settings(FILLED).policy.approve_first


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    assert write_starter(home)
    assert stat.S_IMODE(home.settings_file.stat().st_mode) == 0o600
    home.settings_file.write_text(FILLED)
    assert not write_starter(home)
    assert load_settings(home.settings_file) == parse_settings(FILLED)


def test_filled_in_it_passes_the_check_of_the_federation_that_init_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, federation = tmp_path / "agent.toml", tmp_path / "federation.toml"
    policy.write_text(FILLED)
    federation.write_text(STARTERS["breast-cancer"])
    assert execute(["client", "policy", "check", str(federation), "--policy", str(policy)]) == 0
    assert "would take part" in capsys.readouterr().out
