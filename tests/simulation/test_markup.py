"""Markup: text stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.simulation.markup import Html, joined, table, tag

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))


class _Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.data += data


@given(TEXT, TEXT)
def test_any_text_comes_back_out_as_it_went_in(text: str, attribute: str) -> None:
    seen = _Seen(tag("p", text, title=attribute))
    assert seen.data == text
    assert seen.starts == [("p", {"title": attribute})]


def test_html_inside_is_kept_and_text_beside_it_escaped() -> None:
    assert tag("p", tag("b", "a"), "<i>") == "<p><b>a</b>&lt;i&gt;</p>"
    assert joined([Html("<b>"), "<b>"]) == "<b>&lt;b&gt;"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (tag("meta", name="viewport"), '<meta name="viewport">'),
        (tag("p", class_="a", aria_hidden="true"), '<p class="a" aria-hidden="true"></p>'),
        (tag("p", hidden=True, title=None), "<p hidden></p>"),
    ],
)
def test_attributes(made: Html, text: str) -> None:
    assert made == text


def test_a_table_says_what_its_cells_head() -> None:
    made = table(["", "ε"], [["a<b", "4"]], numeric=(1,))
    assert '<th scope="row">a&lt;b</th><td class="number">4</td>' in made
    assert '<th scope="col" class="number">ε</th>' in made
