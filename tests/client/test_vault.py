"""Vault: an owner's ledger is its own key's, for its own server, and is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tacit.client.home import ClientHome
from tacit.client.vault import anchor_file, assets_in, ledger_file, open_vault
from tacit.privacy.ledger.errors import AnchorError, LedgerError, MissingError, SignatureError
from tacit.strategies import keyfile
from tacit.strategies.keyfile import KeyFileError


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    keyfile.folder(tmp_path / "agent")
    return ClientHome(tmp_path / "agent")


def test_a_node_that_never_enrolled_has_a_key_made_once(home: ClientHome) -> None:
    with open_vault(home, None, "ward3") as store:
        key = store.key
        assert store.server == ""
    assert key == keyfile.ed25519_key(home.signing_key).public_key()
    with open_vault(home, None, "ward3") as store, open_vault(home, None, "ward4") as other:
        assert store.key == other.key == key
    assert assets_in(home.ledgers) == ("ward3", "ward4")


def test_a_key_that_is_gone_is_not_made_anew_beside_its_ledgers(home: ClientHome) -> None:
    """Another key would be another owner, whose ledgers these are not."""
    open_vault(home, None, "ward3").close()
    home.signing_key.unlink()
    for asset in ("ward3", "ward4"):
        with pytest.raises(KeyFileError, match="no such file"):
            open_vault(home, None, asset)
    keyfile.create(home.signing_key, keyfile.to_pem(keyfile.ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(SignatureError, match="not by key"):
        open_vault(home, None, "ward3")


def test_a_ledger_that_is_gone_is_not_made_anew_beside_its_replies(home: ClientHome) -> None:
    open_vault(home, None, "ward3").close()
    ledger_file(home.ledgers, "ward3").unlink()
    keyfile.folder(home.replies)
    keyfile.folder(home.replies / "ward3")
    with pytest.raises(MissingError):
        open_vault(home, None, "ward3")


def test_the_anchor_is_where_the_settings_say(home: ClientHome, tmp_path: Path) -> None:
    assert anchor_file(home, None, "ward3") == home.root / "anchors" / "ward3.anchor"
    assert anchor_file(home, "elsewhere", "ward3") == home.root / "elsewhere" / "ward3.anchor"
    assert anchor_file(home, str(tmp_path), "ward3") == tmp_path / "ward3.anchor"
    open_vault(home, "elsewhere", "ward3").close()
    with pytest.raises(AnchorError, match="no anchor"):
        open_vault(home, None, "ward3")
    anchor_file(home, "elsewhere", "ward3").unlink()
    with pytest.raises(LedgerError):
        open_vault(home, "elsewhere", "ward3")
