"""`tacit ledger show`: what was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import FailedError
from .flags import Json
from .ledger_place import LEDGER_FOLDER, LedgerFolder, LedgerPath, Place, places

if TYPE_CHECKING:
    from ..privacy.statement import Part, Statement, Sum


def command(
    path: LedgerPath = None,
    folder: LedgerFolder = LEDGER_FOLDER,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw ε over time, as .svg or .png; of one ledger.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what was spent, by run, server and asset, and what is guaranteed; worked out again from the ledger's lines.

    `spent` is ε of all charges as if they had been fixed beforehand, an upper bound. `guaranteed` is what is enforced: by a
    filter, whatever servers and runs made of what came out; by a quota, for releases that were fixed. Charges whose outcome is
    not known (`open`) count in full. `realised` is ε by the owners who really answered, where these share the noise: no
    guarantee, because nobody promised that so many would.

    Example: `tacit ledger show --dir agent --plot spent.svg`
    """
    from ..config import ConfigError
    from ..privacy.ledger.errors import LedgerError
    from ..privacy.statement import statement
    from .screen import say, show_json

    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot = {plot}: give a name that ends in .svg or .png")
    found = places(path, folder)
    if plot is not None and len(found) != 1:
        raise ConfigError(f"--plot draws one ledger, and here are {len(found)}; give the ledger itself")
    made, faults = [], []
    for place in found:
        try:
            made.append((place, statement(place.read())))
        except LedgerError as error:
            faults.append(str(error))
    if faults and (as_json or plot is not None):
        raise FailedError("\n".join(faults))
    if plot is not None:
        _plotted(made[0][1], plot)
    if as_json:
        show_json({"ledgers": [{"path": str(place.path), **each.to_json()} for place, each in made]})
        return
    if not found:
        say(f"{folder}: nothing was spent yet; there is no ledger")
    for place, each in made:
        _show(place, each)
    if plot is not None:
        say(f"drawn: {plot}")
    if faults:
        raise FailedError("\n".join(faults))


def _show(place: Place, found: Statement) -> None:
    from .screen import out, say, table

    book = found.book
    signed = f"signed by {book.heading.key[:16]}…" if book.heading.key else "signed by nobody"
    say(f"{book.heading.asset}: {book.head.number + 1} lines, {signed}. {place.path}")
    rows = [row for part in found.runs for row in _rows(f"run {part.name}", part)]
    if len(found.servers) > 1:
        rows += [row for part in found.servers for row in _rows(f"server {part.name[:16] or 'unnamed'}", part)]
    rows += _rows("all", found.asset)
    if not rows:
        say("  nothing was charged")
        return
    head = ("", "charges", "open", "spent ε", "realised ε", "δ", "guaranteed ε")
    shown = [index for index, name in enumerate(head) if name != "open" or any(row[index] != "0" for row in rows)]
    out().print(table([head[index] for index in shown], [[row[index] for index in shown] for row in rows]))
    for name, released in dict.fromkeys((part.name, _released(each)) for part in found.runs for each in part.sums):
        say(f"  run {name} released {released}")
    for currency in dict.fromkeys(each.currency for each in found.asset.sums):
        say(f"  ε for one {currency.unit}, {currency.relation}, against the {currency.observer}")
    say("  realised: by who really answered; no guarantee" + _unknown(found.asset))
    for words in found.over:
        say(f"  over its budget: {words}")
    for standing in book.account.history()[1:]:
        say(f"  line {standing.number}: allowed anew by {standing.allowed.by}, {_limits(standing.allowed.limits)}")


def _rows(name: str, part: Part) -> list[tuple[str, ...]]:
    from ..simulation.numerals import epsilon_text, small_text

    return [
        (
            name, str(each.charges), str(each.open), epsilon_text(each.epsilon),
            "unknown" if each.unsaid else epsilon_text(each.realised), small_text(each.delta),
            "not said" if each.limit is None else f"{epsilon_text(each.limit.epsilon)} {each.limit.rule}",
        )
        for each in part.sums
    ]  # fmt: skip


def _released(found: Sum) -> str:
    from ..simulation.mechanism import mechanism

    return mechanism(found.to_json()["event"])


def _unknown(part: Part) -> str:
    known, unknown = (sum(getattr(each, what) for each in part.sums) for what in ("known", "unknown"))
    return (
        f". Of {unknown} of {known + unknown} charges it is not known here; these count at the floor" if unknown else ""
    )


def _limits(limits: Any) -> str:
    return ", ".join(f"{each.scope} ε = {each.epsilon:g}" for each in limits)


def _plotted(found: Statement, path: Path) -> None:
    from ..config import ConfigError
    from ..privacy.statement import spending
    from ..server.whole import write_whole
    from ..simulation.spend_plot import spend_plot, spend_png

    if not found.asset.sums:
        raise ConfigError(f"--plot = {path}: nothing was charged yet, there is nothing to draw")
    total = found.asset.sums[0]
    points = spending(found.book, total.currency, total.delta)
    limit = None if total.limit is None else total.limit.epsilon
    draw = spend_png if path.suffix == ".png" else spend_plot
    try:
        drawn = draw(points, limit, total.delta)
    except ValueError as error:
        raise ConfigError(f"--plot = {path}: {error}") from error
    write_whole(path, drawn)
