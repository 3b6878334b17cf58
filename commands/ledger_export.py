"""`tacit ledger export`: a ledger as text that anybody can check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .flags import Json
from .ledger_place import LEDGER_FOLDER, LedgerFolder, LedgerPath, places


def command(
    path: LedgerPath = None,
    folder: LedgerFolder = LEDGER_FOLDER,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there, not to the screen.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a ledger as lines of JSON, with digests and signatures, after checking it; `tacit ledger verify` reads it too.

    With `--json` it says what it wrote, so it then needs `--out`.

    Example: `tacit ledger export --dir agent --out ward3.jsonl`
    """
    from ..config import ConfigError
    from ..privacy.ledger.reader import exported
    from ..server.whole import write_whole
    from .screen import say, show_json

    found = places(path, folder)
    if len(found) != 1:
        names = ", ".join(str(each.path) for each in found)
        raise ConfigError(f"one ledger is exported at a time, and here are {len(found)}; give one by its path: {names}")
    if as_json and out is None:
        raise ConfigError("--json without --out; the export itself is lines of JSON")
    book = found[0].read()
    text = "".join(f"{exported(line)}\n" for line in book.lines)
    if out is None:
        sys.stdout.write(text)
        return
    write_whole(out, text.encode())
    if as_json:
        show_json({"path": str(out), "lines": len(book.lines), "digest": book.head.digest.hex()})
    else:
        say(f"{out}: {len(book.lines)} lines of {book.heading.asset}")
