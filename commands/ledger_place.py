"""Where ledgers lie: a file that was named, or those of an owner's or a coordinator's folder, with key and anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from ..privacy.ledger.anchor import Anchor
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
    """A ledger, the key that must have signed it, its anchor, and whose it is, as far as they are known."""

    path: Path
    key: Ed25519PublicKey | None = None
    anchor: Path | None = None
    asset: str | None = None

    def read(self) -> Book:
        """The ledger, held against all that is known of it. Raises `LedgerError`."""
        return self.held(())[0]

    def held(self, kept: Sequence[Path]) -> tuple[Book, Sequence[tuple[Path, Anchor]]]:
        """The ledger, and the anchors that it was held against: its own and those that somebody `kept`."""
        from ..privacy.ledger.anchor import AnchorFile, agreed

        book = self._checked()
        named = book.heading.key
        paths = [*([] if self.anchor is None else [self.anchor]), *kept]
        found = [(path, AnchorFile(path).needed(self.path, named)) for path in paths]
        if any(anchor.number > book.head.number for _, anchor in found):
            book = (
                self._checked()
            )  # it may have gone on meanwhile; what was anchored before this line, it must hold now
        last = book.head.number
        for path, anchor in found:
            agreed(self.path, str(path), anchor, last, book.digest)
        if self.anchor is not None:
            AnchorFile(self.anchor).follows(self.path, named, last)
        return book, found

    @property
    def used(self) -> bool:
        """Whether its anchor knows of a ledger that was written to, or cannot say."""
        from ..privacy.ledger.anchor import AnchorFile
        from ..privacy.ledger.errors import AnchorError

        if self.anchor is None or self.key is None:
            return False
        try:
            known = AnchorFile(self.anchor).read(self.key.public_bytes_raw().hex())
        except AnchorError:
            return True
        return known is not None and known.number > 0

    def _checked(self) -> Book:
        from ..privacy.ledger.errors import AssetError, MissingError
        from ..privacy.ledger.reader import read

        if not self.path.exists() and self.asset is not None:
            raise MissingError(
                f"{self.path}: no ledger, but {self.asset!r} was used: there is an anchor, or what it paid for; restore "
                f"the newest copy with its -wal file"
            )
        book = read(self.path, self.key)
        if self.asset not in (None, book.heading.asset):
            raise AssetError(f"{self.path}: the ledger of asset {book.heading.asset!r}, not of {self.asset!r}")
        return book


def places(path: Path | None, folder: Path) -> Sequence[Place]:
    """The ledger at `path`, or all of `folder`, those that are gone included.

    Raises `HomeError`, `ConfigError`, `KeyFileError`, `FailedError`.
    """
    if path is not None:
        return [Place(path)]
    from ..strategies import keyfile

    if (folder / "server.toml").is_file():
        from ..server.home import LEDGER, ServerHome, anchor_file

        server = ServerHome(folder.absolute())
        anchor = anchor_file(server)
        if not server.ledger.exists() and not anchor.exists() and not _holds(server.runs):
            return []
        key = keyfile.ed25519_key(server.signing_key).public_key()
        place = Place(server.ledger, key, anchor, LEDGER)
        return [place] if server.ledger.exists() or _holds(server.runs) or place.used else []
    from ..client.home import ClientHome, HomeError
    from ..client.settings import load_settings
    from ..client.vault import anchor_file as anchor_of
    from ..client.vault import assets_in, ledger_file

    owner = ClientHome(folder.absolute())
    if not owner.settings_file.is_file() and not owner.ledgers.is_dir():
        raise HomeError(
            f"{folder}: neither an owner's folder nor a coordinator's; give the ledger itself, or its folder with --dir"
        )
    there, kept, named = assets_in(owner.ledgers), None, tuple[str, ...]()
    if owner.settings_file.is_file() or there:
        settings = load_settings(owner.settings_file)
        kept, named = settings.ledger.anchor, tuple(settings.assets)
    gone = [
        name for name in named
        if name not in there and (anchor_of(owner, kept, name).exists() or _holds(owner.replies / name))
    ]  # fmt: skip
    if not there and not gone:
        return []
    key = keyfile.ed25519_key(owner.signing_key).public_key()
    found = [Place(ledger_file(owner.ledgers, n), key, anchor_of(owner, kept, n), n) for n in (*there, *gone)]
    return [each for each in found if each.asset in there or _holds(owner.replies / str(each.asset)) or each.used]


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
