"""Writes the tables of docs/privacy.md that the code decides: which claims are allowed, and what each observer is told.

python docs/claims.py            (or `make docs`)
"""

from __future__ import annotations

import re
from pathlib import Path

from tacit.privacy.claim import RULES

PAGE = Path(__file__).with_name("privacy.md")
_MARKS = ("<!-- table of claims: written by docs/claims.py -->\n", "<!-- end of the table -->")


def table() -> str:
    """The rules in order; the first that fits decides."""
    head = (
        "| unit | relation | participation | noise is added by | claim | a secret draw counts | why |\n|"
        + "---|" * 7
        + "\n"
    )
    rows = []
    for rule in RULES:
        who = {"owner": "each owner, in full", "shared": "all owners, in shares", "server": "the server", None: "any"}
        cells = [rule.unit or "any", rule.relation or "any", rule.participation or "any", who[rule.place]]
        cells += ["allowed" if rule.allowed else "**refused**", "yes" if rule.amplified else "no", rule.why]
        rows.append(f"| {' | '.join(cells)} |\n")
    return head + "".join(rows)


def written(page: str) -> str:
    """`page` with the table between its marks brought up to date; raises `ValueError` where the marks are not there once."""
    pattern = re.compile(f"({re.escape(_MARKS[0])}).*?({re.escape(_MARKS[1])})", re.DOTALL)
    found, count = pattern.subn(lambda match: match[1] + table() + match[2], page)
    if count != 1:
        raise ValueError(f"{PAGE}: {count} places between {_MARKS[0]!r} and {_MARKS[1]!r}; there must be one")
    return found


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
