"""A coordinator's folder: whole or not there, closed to others, never overwritten; its settings say what is wrong."""

from __future__ import annotations

import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from tacit.config import ConfigError
from tacit.server import authority, founding
from tacit.server.enrolment import office
from tacit.server.founding import found
from tacit.server.home import HomeError, ServerHome, settings
from tacit.server.registry import Registry
from tacit.server.unit import unit

ADDRESSES = ("fl.example.org", "0.0.0.0:8443", "0.0.0.0:8444")


def made(root: Path) -> ServerHome:
    return found(root, *ADDRESSES, time.time()).home


def test_a_folder_is_ready_to_use(tmp_path: Path) -> None:
    home = made(tmp_path / "a" / "server")
    where = settings(home)
    assert (where.gateway, where.enrolment_office) == ("fl.example.org:8443", "fl.example.org:8444")
    with Registry(home.registry) as registry:
        token = office(home, registry).invite("ward-3", 60.0)
    assert (token.address, token.pin) == ("fl.example.org:8444", authority.load(home).pin)
    assert authority.certify_servers(home, authority.load(home), where, time.time()) == []


def test_everything_in_it_is_closed_to_others(tmp_path: Path) -> None:
    home = made(tmp_path / "server")
    found_modes = {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in (home.root, *home.root.rglob("*"))}
    assert found_modes == {0}


def test_an_empty_folder_may_be_there_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert made(tmp_path / "empty").checked()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("empty", "full", "file"):
        before = sorted(str(each) for each in tmp_path.rglob("*"))
        with pytest.raises(HomeError, match="nothing was changed"):
            made(tmp_path / name)
        assert sorted(str(each) for each in tmp_path.rglob("*")) == before


def test_a_founding_that_breaks_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(founding.registry, "make", broken)
    with pytest.raises(OSError, match="No space"):
        made(tmp_path / "server")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["", "a b", 'a"b', "http://a", "a/b", "::1]"])
def test_a_bad_host_is_refused_before_anything_is_made(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.host"):
        found(tmp_path / "server", host, *ADDRESSES[1:], time.time())
    assert list(tmp_path.iterdir()) == []


def test_addresses_of_version_6(tmp_path: Path) -> None:
    where = settings(found(tmp_path / "server", "::1", "[::]:8443", "[::]:8444", time.time()).home)
    assert where.gateway == "[::1]:8443"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nhost = 1", r"server\.toml: server\.host = 1"),
        ("[server]", r"server\.host: missing"),
        ('[server]\nhost = "a"\nport = 1', r"server\.port = 1: unknown key"),
        ('[server]\nhost = "a"\naddress = "a"', r"server\.address = 'a': .*host:port"),
        ('[server]\nhost = "a"\n[more]', "more = .*: unknown key"),
        ("[server", "not valid TOML"),
    ],
)
def test_settings_say_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    home = made(tmp_path / "server")
    home.settings_file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        settings(home)


def test_another_folder_is_none(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="server init"):
        settings(ServerHome(tmp_path))


def test_the_unit_runs_this_folder_and_quotes_it() -> None:
    text = unit(Path("/srv/fed 100%/$x"))
    assert "server start --dir '/srv/fed 100%%/$$x'" in text
    assert "WorkingDirectory=/srv/fed 100%%/$x\n" in text
    assert "ReadWritePaths='/srv/fed 100%%/$x'\n" in text
    assert "NoNewPrivileges=yes" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    home = made(tmp_path / "a folder")
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(home.unit_file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert [line for line in checked.stderr.splitlines() if home.unit_file.name in line] == []
