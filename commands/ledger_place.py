"""Where ledgers lie: a file that was named, or those of an owner's or a coordinator's folder, with key and anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from ..privacy.ledger.reader import Book

LedgerPath: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]", help="A ledger, or an export of one; without it, those of --dir.", show_default=False
    ),
]
LedgerFolder: TypeAlias = Annotated[
    Path, typer.Option("--dir", help="The folder of an owner's agent or of a coordinator, whose key and anchors count.")
]
LEDGER_FOLDER = Path("agent")
OwnersFolder: TypeAlias = Annotated[
    Path, typer.Option("--dir", envvar="TACIT_CLIENT_DIR", help="The folder of an owner's agent.")
]
AssetName: TypeAlias = Annotated[str, typer.Argument(metavar="ASSET", help="The asset, as agent.toml names it.")]


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger, the key that must have signed it and its anchor, as far as they are known."""

    path: Path
    key: Ed25519PublicKey | None = None
    anchor: Path | None = None

    def read(self) -> Book:
        """The ledger, checked. Raises `LedgerError`."""
        from ..privacy.ledger.reader import read

        return read(self.path, self.key)


def places(path: Path | None, folder: Path) -> Sequence[Place]:
    """The ledger at `path`, or all of `folder`. Raises `HomeError`, `ConfigError`, `KeyFileError`, `FailedError`."""
    if path is not None:
        return [Place(path)]
    from ..strategies import keyfile

    if (folder / "server.toml").is_file():
        from ..server.home import ServerHome, anchor_file

        server = ServerHome(folder.absolute())
        if not server.ledger.exists():
            return []
        return [Place(server.ledger, keyfile.ed25519_key(server.signing_key).public_key(), anchor_file(server))]
    from ..client.home import ClientHome, HomeError
    from ..client.vault import anchor_file as anchor_of
    from ..client.vault import assets_in, ledger_file

    owner = ClientHome(folder.absolute())
    if not owner.settings_file.is_file() and not owner.ledgers.is_dir():
        raise HomeError(
            f"{folder}: neither an owner's folder nor a coordinator's; give the ledger itself, or its folder with --dir"
        )
    found = assets_in(owner.ledgers)
    if not found:
        return []
    key, kept = keyfile.ed25519_key(owner.signing_key).public_key(), anchors_of(owner.settings_file)
    return [Place(ledger_file(owner.ledgers, name), key, anchor_of(owner, kept, name)) for name in found]


def anchors_of(settings: Path) -> str | None:
    """The folder of anchors that an `agent.toml` names. Raises `ConfigError`."""
    from ..client.settings import load_settings

    return load_settings(settings).ledger.anchor
