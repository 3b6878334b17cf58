"""docs/privacy.md: the table of claims is the code's, and its numbers are what the commands beside them print."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tacit.privacy.claim import RULES, Adversary, Basis, Who
from tacit.privacy.participation import PARTICIPATIONS
from tacit.privacy.signal import Relation, Unit

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/privacy.md"


def plain(line: str) -> str:
    """A line without the spaces that columns are set with."""
    return " ".join(line.split())


def quoted_in(quoted: tuple[str, ...], printed: str) -> str | None:
    """The first quoted line that `printed` does not hold, in order; `…` stands for whatever is left out."""
    lines = iter(plain(each) for each in printed.splitlines())
    for line in quoted:
        want = plain(line)
        if want == "…":
            continue
        if want.endswith("…"):
            if not any(each.startswith(want[:-1].rstrip()) for each in lines):
                return want
        elif want not in lines:
            return want
    return None


def test_the_table_of_claims_is_the_codes(named: Callable[[str], Any]) -> None:
    written: Callable[[str], str] = runpy.run_path(str(ROOT / "docs/claims.py"))["written"]
    text = named(PAGE).text
    assert written(text) == text, "docs/privacy.md is stale; run `make docs`"
    assert text.count("**refused**") == sum(not rule.allowed for rule in RULES)


def test_a_stale_table_is_noticed(named: Callable[[str], Any]) -> None:
    written: Callable[[str], str] = runpy.run_path(str(ROOT / "docs/claims.py"))["written"]
    text = named(PAGE).text
    assert written(text.replace("| **refused** |", "| allowed |", 1)) == text
    with pytest.raises(ValueError, match="there must be one"):
        written("no marks")


def test_every_value_that_a_claim_can_take_is_explained(named: Callable[[str], Any]) -> None:
    text = named(PAGE).text
    values = {value for kind in (Unit, Relation, Who, Basis) for value in kind.__args__}
    for value in (*values, *Adversary.__args__, *PARTICIPATIONS):
        assert re.search(rf"\b{value}\b", text), value


def test_every_quoted_output_is_what_the_command_prints(named: Callable[[str], Any], ran: Callable[..., Any]) -> None:
    shown = named(PAGE).shown()
    assert sum(bool(each.output) for each in shown) >= 9
    for each in shown:
        ended = ran(*each.arguments)
        refused = each.output[:1] == ("tacit: cannot be run like this",)
        assert (ended.code == 2) if refused else (ended.code == 0), f"{each}: {ended.text}"
        missing = quoted_in(each.output, ended.text)
        assert missing is None, f"{each} does not print {missing!r}"


def test_a_wrong_number_would_be_noticed() -> None:
    printed = " ε      4.38 \n δ    10⁻⁵ \n"
    assert quoted_in(("ε 4.38", "…", "δ 10⁻⁵"), printed) is None
    assert quoted_in(("ε 4.39",), printed) == "ε 4.39"
    assert quoted_in(("δ 10⁻⁵", "ε 4.38"), printed) == "ε 4.38"


def test_figures_in_the_text_are_those_of_a_quoted_output(named: Callable[[str], Any]) -> None:
    """A number with three decimals or more in a sentence stands in some quoted output too."""
    page = named(PAGE)
    quoted = {number for each in page.shown() for line in each.output for number in re.findall(r"\d+\.\d{3,}", line)}
    assert set(re.findall(r"\d+\.\d{3,}", page.tables())) - {"0.001"} <= quoted
