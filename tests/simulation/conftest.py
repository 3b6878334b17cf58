"""A result as `result.json` holds it, made by formula: what reports are tried on without training anything."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

ROUNDS = (1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80)


def _claim(observer: str, epsilon: Any, plain: Any, headline: Any, **more: Any) -> dict[str, Any]:
    event = {"event": "repeated", "of": {"event": "gaussian", "noise_multiplier": 3.74}, "count": 80}
    if epsilon == "inf":
        reason = "the server adds the noise and sees the sum without it"
        event = {"event": "repeated", "of": {"event": "non-private", "reason": reason}, "count": 80}
    return {
        "unit": "owner", "observer": observer, "colluders": 0, "relation": "add-remove", "adversary": "honest",
        "basis": "statistical", "delta_extra": 0.0, "why": "owners are drawn independently and in secret",
        "events": event, "events_unamplified": event, "epsilon": epsilon, "epsilon_lower": epsilon,
        "epsilon_upper": epsilon, "epsilon_unamplified": plain, "delta": 0.00113, "epsilon_at_1e-5": headline,
        "accountant": "pld", **more,
    }  # fmt: skip


def _curve(final: float) -> list[float]:
    return [final * math.sqrt(number / ROUNDS[-1]) for number in ROUNDS]


def _result() -> dict[str, Any]:
    rounds = [
        {
            "round": number,
            "metrics": {
                "loss": 2.2 * math.exp(-number / 18) + 0.11, "accuracy": 0.974 - 0.8 * math.exp(-number / 9),
                "precision": 0.97, "recall": 0.97, "f1": 0.97, "roc_auc": 0.998,
            },
            "epsilon": 3.995 * math.sqrt(number / 80),
            "seconds": number / 100,
        }
        for number in range(5, 81, 5)
    ]  # fmt: skip
    clipped = {
        "stage": "clip", "dim": 1290, "unit": "owner", "sensitivity": 0.3, "bound": 0.3, "scale": None, "ring": None,
        "masked": False, "noise": [],
    }  # fmt: skip
    noise = {"law": "gaussian", "place": "server", "std": 1.122}
    return {
        "config": {
            "name": "digits-owner", "task": {"use": "digits", "model": "softmax"},
            "population": {"owners": 479, "partition": {"use": "dirichlet", "alpha": 0.3}, "dropout": 0.0, "straggler": 0.0},
            "rounds": {"total": 80, "participation": {"use": "poisson", "rate": 0.5}, "quorum": 0.8, "deadline": 60.0,
                       "attempts": 3},
            "local": {"use": "sgd", "lr": 1.0}, "strategy": {"use": "fedavg", "server_lr": 26.7},
            "privacy": {"unit": "owner", "relation": "add-remove", "delta": "N^-1.1",
                        "pipeline": [{"stage": "clip", "norm": 0.3}, {"stage": "central-gaussian", "noise_multiplier": 3.74}]},
            "budget": {"observer": "analyst", "colluders": 0, "epsilon": 4.0, "on_exhausted": "refuse"},
            "evaluation": {"every": 5, "on": "public-test"}, "server": {"address": "0.0.0.0:8443"},
        },
        "seed": 7,
        "engine": "plain-loop",
        "rounds": rounds,
        "final": dict(rounds[-1]["metrics"]),
        "privacy": [
            _claim("analyst", 3.995, 12.344, 5.871),
            _claim("server", "inf", "inf", "inf"),
            _claim("owners", 3.995, 12.344, 5.871),
        ],
        "curves": [
            {"rounds": list(ROUNDS), "epsilon": _curve(3.995), "epsilon_unamplified": _curve(12.344),
             "epsilon_at_1e-5": _curve(5.871)},
            {"rounds": list(ROUNDS), "epsilon": ["inf"] * 12, "epsilon_unamplified": ["inf"] * 12,
             "epsilon_at_1e-5": ["inf"] * 12},
            {"rounds": list(ROUNDS), "epsilon": _curve(3.995), "epsilon_unamplified": _curve(12.344),
             "epsilon_at_1e-5": _curve(5.871)},
        ],
        "pipeline": [
            {**clipped, "stage": "sgd", "sensitivity": "inf", "bound": "inf"},
            clipped,
            {**clipped, "stage": "central-gaussian", "sensitivity": 268435456.0, "bound": 268435456.0,
             "scale": 0.3 / 2**28, "noise": [noise]},
        ],
        "spread": {"metric": "accuracy", "owners": 479, "worst_decile": 0.72,
                   "quantiles": {"0": 0.33, "0.1": 0.8, "0.25": 1.0, "0.5": 1.0, "0.75": 1.0, "0.9": 1.0, "1": 1.0}},
        "notes": [],
        "timing": {"seconds": 0.83, "clients_per_second": 23100.0},
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    """A finished owner-level run with Poisson cohorts and central noise."""
    return _result()


@pytest.fixture
def changed() -> Callable[..., dict[str, Any]]:
    """The same result with dotted keys replaced: `changed(**{"config.task.use": "topics"})`."""

    def change(**replaced: Any) -> dict[str, Any]:
        made = copy.deepcopy(_result())
        for key, value in replaced.items():
            here: Any = made
            *path, last = key.split(".")
            for step in path:
                here = here[int(step)] if isinstance(here, list) else here[step]
            here[int(last) if isinstance(here, list) else last] = value
        return made

    return change


class Page(HTMLParser):
    """An HTML page read strictly: what is opened is closed, in order, and nothing is left over."""

    VOID = frozenset({"meta", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value is not None]
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        """All that a reader sees, on one line, breakable spaces only."""
        return " ".join("".join(self.pieces).split())


@pytest.fixture
def read() -> Callable[[str], Page]:
    """Reads a page strictly, and checks that it loads nothing from elsewhere and runs nothing."""

    def reader(text: str) -> Page:
        page = Page(text)
        assert len(page.ids) == len(set(page.ids))
        assert not re.search(r"https?:|@import|url\((?!#)", text)
        assert page.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "img", "base", "form"})
        assert not any(name.startswith("on") or name in ("src", "href", "action") for name, _ in page.attributes)
        return page

    return reader


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What of the pictures drawn since sticks out of them: by how many inches, on which side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from tacit.simulation import canvas

    drawn: list[Figure] = []
    svg = canvas._svg

    def kept(figure: Figure) -> str:
        drawn.append(figure)
        return svg(figure)

    monkeypatch.setattr(canvas, "_svg", kept)

    def found() -> list[str]:
        assert drawn
        sides = []
        for index, figure in enumerate(drawn):
            box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
            width, height = figure.get_size_inches()
            out = {"left": -box.x0, "bottom": -box.y0, "right": box.x1 - width, "top": box.y1 - height}
            sides += [f"picture {index}, {side}: {by:.2f}" for side, by in out.items() if by > 0.03]
        return sides

    return found
