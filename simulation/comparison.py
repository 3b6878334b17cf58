"""Comparison: several runs on one page: metrics and ε side by side, curves over one another, what was set differently."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .curve import Curve, curve, metric_curve
from .markup import Html, table, tag
from .numerals import better, epsilon_text, metric_name, metric_text, number, plain_text, small_text
from .overlay import epsilon_overlay, metric_overlay, swatch
from .page import bullets, page, plotted, section
from .plots import leading_metric
from .report import done

_SHOWN = 2  # metrics that get a plot: the leading one and the loss


def comparison(results: Sequence[Mapping[str, Any]]) -> str:
    """The page of several runs, each the content of a `result.json`. Raises `ValueError` without any."""
    if not results:
        raise ValueError("nothing to compare: no result was given; name at least one run")
    letters = [letter(index) for index in range(len(results))]
    return page(
        "Comparison of runs",
        tag(
            "header",
            tag("p", "Tacit · comparison", class_="kicker"),
            tag("h1", f"{len(results)} run{'s' if len(results) != 1 else ''} side by side"),
            tag("p", *_legend(letters, results), class_="sub"),
            *_warnings(results),
        ),
        section("How good and at what cost", _side_by_side(letters, results)),
        section("Over rounds", _overlays(letters, results)),
        section("What was set differently", _settings(letters, results)),
        section("How to read this", bullets(_reading(results))),
        tag("footer", "Made by Tacit from result.json. Every ε is derived from what ran, and is rounded up."),
    )


def letter(index: int) -> str:
    """What run number `index` is called: A … Z, then A26 and so on."""
    return chr(ord("A") + index) if index < 26 else f"A{index}"


def _name(result: Mapping[str, Any]) -> str:
    config = result.get("config") or {}
    name = str(config.get("name") or (config.get("task") or {}).get("use") or "run")
    return name if result.get("seed") is None else f"{name}, seed {result['seed']}"


def _legend(letters: Sequence[str], results: Sequence[Mapping[str, Any]]) -> list[Html]:
    made: list[Html] = []
    for each, result in zip(letters, results, strict=True):
        made += [tag("span", swatch(each), tag("strong", each), _name(result), class_="key"), Html(" ")]
    return made


def _warnings(results: Sequence[Mapping[str, Any]]) -> list[Html]:
    seeded = sum(result.get("seed") is not None for result in results)
    if not seeded:
        return []
    which = "All of these" if seeded == len(results) else f"{seeded} of these"
    text = f"{which} were made with seeded randomness: simulations, no guarantee for real data."
    return [tag("p", text, class_="banner", role="note")]


def _side_by_side(letters: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Html:
    names = list(dict.fromkeys(str(name) for result in results for name in (result.get("final") or {})))
    rows: list[list[str]] = []
    for name in names:
        values = [number((result.get("final") or {}).get(name)) for result in results]
        rows.append([metric_name(name), *_best(name, values, [name in (r.get("final") or {}) for r in results])])
    claims = [words.first_claim(result) for result in results]
    rows += [
        ["ε", *(words.epsilon_range(claim) for claim in claims)],
        ["ε, draw known", *(epsilon_text(claim.get("epsilon_unamplified")) for claim in claims)],
        ["ε at δ = 10⁻⁵", *(epsilon_text(claim.get("epsilon_at_1e-5")) for claim in claims)],
        ["δ", *(small_text(claim.get("delta")) for claim in claims)],
        ["unit, relation", *(f"{claim.get('unit', '–')}, {claim.get('relation', '–')}" for claim in claims)],
        ["observer", *(words.observer_short(claim) if claim else "–" for claim in claims)],
        ["owners", *(plain_text(((r.get("config") or {}).get("population") or {}).get("owners")) for r in results)],
        ["run", *(done(result) for result in results)],
        ["seconds", *(plain_text((result.get("timing") or {}).get("seconds")) for result in results)],
    ]
    head = ["", *(f"{each} · {_name(result)}" for each, result in zip(letters, results, strict=True))]
    return table(head, rows, numeric=range(1, len(results) + 1))


def _best(name: str, values: Sequence[float], given: Sequence[bool]) -> list[str]:
    """Values as text, the best one marked where there is something to choose."""
    finite = [value for value in values if math.isfinite(value)]
    cells: list[str] = []
    for value, there in zip(values, given, strict=True):
        text = metric_text(name, value) if there else "–"
        wins = len(finite) > 1 and math.isfinite(value) and not any(better(name, other, value) for other in finite)
        cells.append(tag("span", text, class_="best") if wins and len(set(finite)) > 1 else text)
    return cells


def _overlays(letters: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Html:
    metrics = list(dict.fromkeys(name for result in results if (name := leading_metric(result)) is not None))
    metrics = [*dict.fromkeys([*metrics, "loss"])][: max(_SHOWN, len(metrics))]
    figures = []
    for order, metric in enumerate(metrics):
        drawn = [metric_curve(r.get("rounds") or (), metric, each) for each, r in zip(letters, results, strict=True)]
        picture = metric_overlay([c for c in drawn if c is not None], metric, f"metric-{order}")
        ends = [f"{c.label} {metric_text(metric, c.y[-1])}" for c in drawn if c is not None]
        title = metric_name(metric) if metric_name(metric).isupper() else metric_name(metric).capitalize()
        figures.append(plotted(title, "at the end: " + ", ".join(ends), picture, "No finite value to draw."))
    spent = [_spent(each, result) for each, result in zip(letters, results, strict=True)]
    missing = [each for each, found in zip(letters, spent, strict=True) if found is None]
    told = f"not private or without a curve: {', '.join(missing)}" if missing else "of each run's first claim"
    picture = epsilon_overlay([c for c in spent if c is not None], "epsilon")
    figures.append(plotted("ε", told, picture, "No run has a finite ε."))
    return tag("div", *figures, class_="plots")


def _spent(label: str, result: Mapping[str, Any]) -> Curve | None:
    """ε over rounds of the run's first claim: from `curves`, or from the evaluated rounds."""
    own = next(iter(result.get("curves") or ()), None)
    if own:
        return curve(label, own.get("rounds") or (), own.get("epsilon") or ())
    rows = result.get("rounds") or ()
    return curve(label, [row.get("round") for row in rows], [row.get("epsilon") for row in rows])


def _settings(letters: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Html:
    flat = [dict(_flattened(result.get("config") or {})) for result in results]
    keys = list(dict.fromkeys(key for each in flat for key in each))
    rows = [[key, *(each.get(key, "–") for each in flat)] for key in keys if len({each.get(key) for each in flat}) > 1]
    if not rows:
        return tag("p", "Nothing: the configurations are equal.")
    return table(["key", *letters], rows)


def _flattened(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Leaves of a configuration as dotted keys, which `--set` takes."""
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _flattened(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list | tuple):
        return [leaf for index, item in enumerate(value) for leaf in _flattened(item, f"{path}.{index}")]
    return [] if value is None else [(path, str(value))]


def _reading(results: Sequence[Mapping[str, Any]]) -> list[str]:
    claims = [words.first_claim(result) for result in results]
    found = ["The best value of a metric is set in bold. It says nothing about chance: compare means of several seeds."]
    kinds = {(claim.get("unit"), claim.get("relation"), claim.get("observer")) for claim in claims}
    if len(kinds) > 1:
        found.append("These ε cannot be held against one another: the runs differ in unit, relation or observer.")
    if len({claim.get("delta") for claim in claims}) > 1:
        found.append("The runs state ε at different δ; only the row at δ = 10⁻⁵ compares like with like.")
    found.append("Choosing a run because of its result on private data is tuning, and is not charged here.")
    return found
