"""Federation table: owners and rounds of a running federation, live on a terminal, a line a round elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .screen import err, note, table

if TYPE_CHECKING:
    from rich.live import Live as RichLive


class Live:
    """Shows on standard error what `watch` is told."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._phase, self._round = quiet, "", 0
        self._live: RichLive | None = None

    def __enter__(self) -> Live:
        if not self._quiet and err().is_terminal:
            from rich.live import Live as RichLive

            self._live = RichLive(console=err(), transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, told: Mapping[str, Any]) -> None:
        """Show the state of the federation."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(table(("", "owner", "agent"), rows(told), left=3, title=heading(told)), refresh=True)
            return
        shown = told.get("show") or {}
        if told["phase"] != self._phase or shown.get("round", 0) != self._round:
            self._phase, self._round = told["phase"], shown.get("round", 0)
            note(heading(told))


def heading(told: Mapping[str, Any]) -> str:
    """One line: what is under way, and how the newest round went."""
    shown = told.get("show")
    if not shown:
        return str(told["phase"])
    row = shown["row"] or {}
    parts = [f"round {shown['round']}/{shown['rounds']}"]
    if row:
        parts.append(f"{row['survived']} of {row['sampled']} owners answered")
    accuracy = (row.get("metrics") or {}).get("accuracy")
    if accuracy is not None:
        parts.append(f"accuracy {100 * accuracy:.1f} %")
    elif row.get("measured"):
        from ..simulation.numerals import estimate_text

        parts += [f"owners' {name} {estimate_text(name, each)}" for name, each in row["measured"].items()]
    return "  ".join(parts)


def rows(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A line for every owner."""
    return [
        (str(each["number"]), str(each["name"]), "here" if each["online"] else "away")
        for each in told.get("agents", ())
    ]
