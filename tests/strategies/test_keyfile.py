"""Key files: closed to others, whole or not there, silent about what they hold."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.strategies import keyfile
from tacit.strategies.keyfile import KeyFileError


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_umask")
def test_files_and_folders_are_closed_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keyfile.folder(folder)
    keyfile.create(folder / "a", b"1")
    keyfile.replace(folder / "b", b"2")
    keyfile.replace(folder / "a", b"3")
    assert mode(folder) == 0o700
    assert [(each.name, mode(each), each.read_bytes()) for each in sorted(folder.iterdir())] == [
        ("a", 0o600, b"3"),
        ("b", 0o600, b"2"),
    ]


def test_create_never_replaces(tmp_path: Path) -> None:
    keyfile.create(tmp_path / "a", b"1")
    with pytest.raises(FileExistsError):
        keyfile.create(tmp_path / "a", b"2")
    assert keyfile.read(tmp_path / "a") == b"1"


def test_create_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        keyfile.create(tmp_path / "a", b"1")
    assert not (tmp_path / "elsewhere").exists()


def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    keyfile.create(tmp_path / "a", b"old")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        keyfile.replace(tmp_path / "a", b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_may_open_is_refused_with_the_command_that_mends_it(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a"
    keyfile.create(path, b"1")
    path.chmod(bits)
    with pytest.raises(KeyFileError, match=f"{bits:04o}.*chmod 600 {path}"):
        keyfile.read(path)


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(KeyFileError, match="chmod 700"):
        keyfile.folder(folder)


def test_keys_come_back(tmp_path: Path) -> None:
    curve, edwards = ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate()
    keyfile.create(tmp_path / "curve", keyfile.to_pem(curve))
    keyfile.create(tmp_path / "edwards", keyfile.to_pem(edwards))
    assert keyfile.ec_key(tmp_path / "curve").private_numbers() == curve.private_numbers()
    assert keyfile.ed25519_key(tmp_path / "edwards").private_bytes_raw() == edwards.private_bytes_raw()
    with pytest.raises(KeyFileError, match="no elliptic-curve key"):
        keyfile.ec_key(tmp_path / "edwards")
    with pytest.raises(KeyFileError, match="no Ed25519 key"):
        keyfile.ed25519_key(tmp_path / "curve")
    with pytest.raises(KeyFileError, match="no such file"):
        keyfile.ec_key(tmp_path / "none")


def test_an_error_about_a_key_never_shows_it(tmp_path: Path) -> None:
    text = keyfile.to_pem(ec.generate_private_key(ec.SECP256R1()))
    keyfile.create(tmp_path / "a", text[:-60])
    with pytest.raises(KeyFileError) as found:
        keyfile.ec_key(tmp_path / "a")
    assert found.value.__cause__ is None
    assert all(line not in str(found.value) for line in text.decode().splitlines()[1:])
