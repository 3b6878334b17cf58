"""Page: the frame of every HTML report: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from .markup import Html, tag
from .style import stylesheet


def page(title: str, *sections: str) -> str:
    """A whole HTML document with these sections in its body."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(stylesheet())),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *sections)), lang="en") + "\n"


def section(title: str, *children: str) -> Html:
    """A titled part of a page."""
    return tag("section", tag("h2", title), *children)


def plotted(title: str, text: str, drawing: Html | None, missing: str) -> Html:
    """A captioned figure; the sentence `missing` where there is nothing to draw."""
    caption = tag("figcaption", tag("strong", title), f" {text}" if text else "")
    return tag("figure", caption, drawing if drawing is not None else tag("p", missing, class_="aside"))


def bullets(sentences: tuple[str, ...] | list[str]) -> Html:
    """A list of sentences."""
    return tag("ul", *(tag("li", sentence) for sentence in sentences))
