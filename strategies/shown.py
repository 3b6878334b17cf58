"""Shown: text that somebody else wrote, as it may stand in a log, on a terminal or in an error."""

from __future__ import annotations


def shown(text: str, longest: int = 300) -> str:
    r"""`text` on one line, what does not print as its escape, cut to `longest` characters.

    A line feed would forge a line of a log, an escape sequence move a terminal's cursor, a direction mark swap what is read.

    >>> shown("round 1\n2026-01-01 INFO approved \x9b2J")
    'round 1\\n2026-01-01 INFO approved \\x9b2J'
    """
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)
    return cut if len(text) <= longest and len(cut) <= longest else f"{cut[: longest - 1]}…"
