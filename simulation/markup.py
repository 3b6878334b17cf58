"""Markup: HTML that escapes by construction.

`tag` escapes every child that is not already `Html`, so text out of a configuration or a result cannot become markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"meta", "wbr"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | bool | None) -> Html:
    """An element. Attribute names lose a trailing underscore (`class_`), other underscores become hyphens.

    | attribute | becomes     |
    |-----------|-------------|
    | text      | escaped     |
    | True      | its name    |
    | None      | nothing     |
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Html:
    """Children one after the other, escaped where they are not HTML."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child, quote=False) for child in children))


def _attribute(key: str, value: str | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'


def table(
    head: Iterable[str], rows: Iterable[Iterable[str]], *, numeric: Iterable[int] = (), **attributes: str
) -> Html:
    """A table in a box that scrolls sideways on a small screen; columns in `numeric` are set flush right."""
    right = frozenset(numeric)

    def line(cells: Iterable[str], kind: str) -> Html:
        made = []
        for index, cell in enumerate(cells):
            scope = "col" if kind == "th" else "row" if index == 0 else None
            made.append(tag("th" if scope else "td", cell, scope=scope, class_="number" if index in right else None))
        return tag("tr", *made)

    header = tag("thead", line(head, "th"))
    body = tag("tbody", *(line(row, "td") for row in rows))
    return tag("div", tag("table", header, body, **attributes), class_="scroll", tabindex="0")
