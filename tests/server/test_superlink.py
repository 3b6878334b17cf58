"""How the SuperLink is started: closed, quiet, and with its secret in a file that nobody else reads."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tacit.server.superlink import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "flower", 4242, Path("certificate"), Path("key"), Path("authority"))


def test_the_command_closes_every_side(settings: Settings) -> None:
    command = settings.command()
    pairs = dict(itertools.pairwise(command))
    assert pairs["--host"] == "127.0.0.1"
    assert pairs["--isolation"] == "process"
    assert pairs["--superexec-auth-secret-file"] == str(settings.secret_file)
    assert pairs["--database"] == str(settings.folder / "superlink.sqlite")
    assert {"--ssl-certfile", "--ssl-keyfile", "--ssl-ca-certfile", "--enable-supernode-auth"} <= set(command)
    assert "--insecure" not in command
    assert Path(command[0]).is_file()


def test_the_secret_is_made_once_and_shown_nowhere(settings: Settings) -> None:
    secret = settings.secret()
    assert len(secret) == 32
    assert settings.secret() == secret
    assert settings.secret_file.stat().st_mode & 0o077 == 0
    assert settings.folder.stat().st_mode & 0o077 == 0
    assert not any(secret.hex() in word for word in settings.command())


def test_nothing_of_another_flower_gets_in(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the surrounding environment could move the home, or switch a second server on."""
    monkeypatch.setenv("FLWR_HOME", "/elsewhere")
    monkeypatch.setenv("FLWR_INTERNAL_GRPC_FLEET_API", "1")
    environment = settings.environment()
    flower = {name: value for name, value in environment.items() if name.startswith("FLWR_")}
    assert flower == {
        "FLWR_HOME": str(settings.folder / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
    }  # fmt: skip
    assert "PATH" in environment
