"""Report of a study: one self-contained page, made of nothing but the content of `frontier.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..markup import Html, table, tag
from ..numerals import epsilon_text, metric_name, metric_text, number, plain_text
from ..page import bullets, page, plotted, section
from . import words
from .plots import frontier_plot, spent_plot

_ROWS = 400  # more settings than this stay in points.csv


def report(result: Mapping[str, Any]) -> str:
    """The page."""
    return page(
        f"Study of {_name(result)}",
        _head(result),
        _pictures(result),
        section("The frontier", tag("p", _FRONTIER), _frontier(result)),
        section("What more of each buys", *_steps(result)),
        section("What the search itself would cost on real data", bullets(words.tuning_text(result))),
        *_refused(result),
        section("How to read this", bullets(_reading(result))),
        section("Every setting", _all(result)),
        section("Make it again", tag("pre", tag("code", str(result.get("reproduce") or "tacit study"))), _what(result)),
        tag("footer", "Made by Tacit from frontier.json. Every ε is derived by an accountant, and is rounded up."),
    )


_FRONTIER = (
    "Settings that no other one beats: each is better than all that cost no more. The ± is the half-width of the 95 % "
    "interval of the mean over seeds."
)


def _name(result: Mapping[str, Any]) -> str:
    return str(result.get("name") or result["config"]["task"]["use"])


def _head(result: Mapping[str, Any]) -> Html:
    study = result["study"]
    trials = sum(len(point["trials"]) for point in result["points"])
    extrapolated = words.extrapolated_text(result)
    seeds = len(study["seeds"])
    keys = ", ".join(axis["key"] for axis in study["axes"])
    return tag(
        "header",
        tag("p", "Tacit · privacy-budget study", class_="kicker"),
        tag("h1", _name(result)),
        tag("p", f"{study['search']} search over {keys} · {seeds} seed{'s' if seeds != 1 else ''}", class_="sub"),
        tag("p", f"Every ε is {words.claim_text(result)}.", class_="lead"),
        *(tag("p", each, class_="lead") for each in words.answers(result)),
        tag("p", extrapolated, class_="banner", role="note") if extrapolated else "",
        tag(
            "p",
            "Made with seeded randomness: a simulation of what federations would cost and reach; it protects nobody's data.",
            class_="banner",
            role="note",
        ),
        _tiles(result, trials),
    )


def _tiles(result: Mapping[str, Any], trials: int) -> Html:
    cells = [
        (plain_text(len(result["points"])), "settings tried", None),
        (plain_text(trials), "trainings", None),
        (plain_text(len(result["frontier"])), "settings on the frontier", "main"),
    ]
    if result["refused"]:
        cells.append((plain_text(len(result["refused"])), "settings that cannot be run, with the reason below", "warn"))
    if result["extrapolated"] is not None:
        cells.append((plain_text(result["extrapolated"]["population"]), "owners, extrapolated", "warn"))
    return tag(
        "dl", *(tag("div", tag("dt", text), tag("dd", v), class_=kind) for v, text, kind in cells), class_="tiles"
    )


def _pictures(result: Mapping[str, Any]) -> Html:
    metric = metric_name(str(result["metric"]))
    mark = words.marked(result)
    first = plotted(
        f"{metric.capitalize()} against ε{mark}",
        "the frontier with its 95 % band over seeds; grey: settings off it",
        frontier_plot(result, "frontier"),
        "No setting has a finite ε.",
    )
    second = plotted(
        f"ε over rounds{mark}", "of settings on the frontier", spent_plot(result, "spent"), "No setting has a finite ε."
    )
    title = "Accuracy against ε" if metric == "accuracy" else f"{metric} against ε"
    return section(title, tag("div", first, second, class_="plots"))


def _frontier(result: Mapping[str, Any]) -> Html:
    by_id = {point["id"]: point for point in result["points"]}
    return _grid(result, [by_id[each] for each in result["frontier"]])


def _all(result: Mapping[str, Any]) -> Html:
    points = sorted(result["points"], key=lambda point: (number(point["compared"]), point["id"]))
    shown = _grid(result, points[:_ROWS])
    rest = f" The first {_ROWS} of {len(points)}; points.csv has all." if len(points) > _ROWS else ""
    return tag("details", tag("summary", f"All {len(points)} settings by ε.{rest}"), shown)


def _grid(result: Mapping[str, Any], points: list[Mapping[str, Any]]) -> Html:
    metric, keys = str(result["metric"]), [axis["key"] for axis in result["study"]["axes"]]
    short, mark = words.short_keys(keys), words.marked(result)
    rows = []
    for point in points:
        within = number(point["epsilon"]) <= number(result["budget"])
        rows.append(
            [
                words.letter_of(result, point) or "·",
                *(words.value_text(point["values"].get(key)) for key in keys),
                words.mean_text(metric, point),
                epsilon_text(point["epsilon"]),
                epsilon_text(point["epsilon_unamplified"]),
                epsilon_text(point["epsilon_at_1e-5"]),
                "yes" if within else "no",
                str(len(point["trials"])),
            ]
        )
    head = ["", *(short[key] for key in keys), metric_name(metric), f"ε{mark}", f"ε, draw known{mark}",
            f"ε at δ = 10⁻⁵{mark}", "in budget", "seeds"]  # fmt: skip
    return table(head, rows, numeric=range(1, len(head)))


def _steps(result: Mapping[str, Any]) -> list[Html]:
    rows = words.step_rows(result)
    if not rows:
        return [
            tag(
                "p",
                "No two settings differ in one key alone, so nothing can be said of a single key; a grid has such pairs.",
                class_="aside",
            )
        ]
    told = (
        "The mean change over all pairs of settings that differ in this key alone, compared seed by seed. ± is the "
        "half-width of the 95 % interval over pairs and seeds. “Per one more” divides by the difference: what one more "
        "owner or round buys."
    )
    return [tag("p", told + words.marked(result)), table(words.step_head(result), rows, numeric=range(1, 7))]


def _refused(result: Mapping[str, Any]) -> list[Html]:
    if not result["refused"]:
        return []
    rows = [[words.setting_text(result, point), point["reason"]] for point in result["refused"][:_ROWS]]
    return [section("Settings that cannot be run", table(["setting", "reason"], rows))]


def _reading(result: Mapping[str, Any]) -> list[str]:
    seeds = len(result["study"]["seeds"])
    found = [
        "A frontier picks winners, and a winner was also lucky: expect a little less of a setting when it is run under "
        "other seeds than those it was chosen by.",
        f"A band says how a mean of {seeds} seeds scatters; it says nothing about other data." if seeds > 1
        else "With one seed there is no band: give --seeds 3 or more.",
        "Metrics are those of the task's public test data. Choosing by them is free; choosing by private data is not.",
        "ε is that of a setting run once. Settings above the budget are shown to say what more would buy; tacit simulate "
        "refuses them.",
    ]  # fmt: skip
    if result["comparable"] != "epsilon":
        found.append("Numbers of owners differ, so their δ do: settings are held against one another at δ = 10⁻⁵.")
    if any(math.isinf(number(point["epsilon"])) for point in result["points"]):
        best = max((p for p in result["points"] if math.isinf(number(p["epsilon"]))), key=lambda p: number(p["mean"]))
        text = metric_text(str(result["metric"]), best["mean"])
        found.append(f"Settings without privacy (ε = ∞) are no part of the frontier; the best of them reaches {text}.")
    return found


def _what(result: Mapping[str, Any]) -> Html:
    rows = []
    for axis in result["study"]["axes"]:
        span = (
            ", ".join(words.value_text(value) for value in axis["values"])
            if "values" in axis
            else f"{axis['from']:g} to {axis['to']:g}, {axis['steps']} steps, {axis['scale']}"
        )
        rows.append([axis["key"], span])
    return table(["key", "values"], rows)
