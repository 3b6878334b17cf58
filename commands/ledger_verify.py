"""`tacit ledger verify`: whether a ledger is what it says it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .faults import FAILED, FailedError
from .flags import Json
from .ledger_place import LEDGER_FOLDER, LedgerFolder, LedgerPath, Place, places

_ASKING = re.compile(r"; `tacit ledger verify [^`]*` says what holds")


def command(
    path: LedgerPath = None,
    folder: LedgerFolder = LEDGER_FOLDER,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="HEX", help="The key that must have signed; 64 digits.", show_default=False),
    ] = None,
    anchor: Annotated[
        list[Path] | None,
        typer.Option("--anchor", metavar="FILE", help="An anchor that somebody kept; repeatable.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the whole chain: digests, signatures, anchors; and work out again whether more was spent than was allowed.

    Leaves with 1 and names the first line that fails. For a ledger or an export by itself, give the key that you know the
    owner by, and the anchors that were kept: without them it is only shown that it fits together.

    Example: `tacit ledger verify --dir agent`
    """
    from ..privacy.ledger.errors import LedgerError
    from .screen import say, show_json

    found = places(path, folder)
    if key is not None:
        found = [replace(each, key=_key(key)) for each in found]
    rows, faults = [], []
    for place in found:
        try:
            rows.append(_verified(place, anchor or []))
        except LedgerError as error:
            fault = _ASKING.sub("", str(error))  # this is that command
            rows.append({"path": str(place.path), "holds": False, "fault": fault})
        faults += [rows[-1]["fault"]] if rows[-1]["fault"] else []
    if as_json:
        show_json({"holds": not faults, "ledgers": rows})
        if faults:
            raise typer.Exit(FAILED)
        return
    if not rows:
        say(f"{folder}: nothing was spent yet; there is no ledger")
    for row in rows:
        if row["holds"]:
            say(f"{row['asset']}: {row['lines']} lines hold together, {row['signed']}")
            for each in row["anchors"]:
                say(f"  anchor {each}")
            say(f"  spent {row['spent'] or 'nothing'}")
    if faults:
        raise FailedError("\n".join(faults))


def _verified(place: Place, kept: list[Path]) -> dict[str, Any]:
    """What holds of one ledger. Raises `LedgerError` for what does not."""
    from ..privacy.statement import statement

    book, found = place.held(kept)
    named, last = book.heading.key, book.head.number
    anchors = [f"{path} held: names line {anchor.number} of {last}" for path, anchor in found]
    made = statement(book)
    spent = "; ".join(f"ε = {each.epsilon:.4g} at δ = {each.delta:g}, {each.currency}" for each in made.asset.sums)
    if not named:
        signed = "signed by nobody"
    else:
        signed = f"all signed by {named}" + ("" if place.key is not None else ", the key that it names itself")
    return {
        "path": str(place.path), "holds": not made.over, "fault": "; ".join(made.over) and f"{place.path}: over its budget: "
        + "; ".join(made.over), "asset": book.heading.asset, "lines": last + 1, "digest": book.head.digest.hex(),
        "signed": signed, "anchors": anchors, "spent": spent,
    }  # fmt: skip


def _key(text: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from ..config import ConfigError

    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise ConfigError(f"--key = {text[:80]!r}: give the 64 hexadecimal digits of an Ed25519 key") from None
