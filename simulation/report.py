"""Report: `report.html`, one run on one page, for people who must answer for it and people who must repeat it.

Reads nothing but the mapping that `result.json` holds, so that anyone can make the page again from the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .diagram import diagram
from .markup import Html, table, tag
from .mechanism import mechanism
from .numerals import epsilon_text, estimate_text, is_share, metric_name, metric_text, number, plain_text, small_text
from .page import bullets, page, plotted, section
from .plots import epsilon_plot, leading_metric, metric_plot, spread_plot

_UNDRAWN = "No finite value to draw."
_ROWS = 200  # more evaluated rounds than this are thinned in the page's table


def report(result: Mapping[str, Any], reproduce: str) -> str:
    """The page of one run. `result` is the content of `result.json`, `reproduce` the command that makes it again."""
    return page(
        _title(result),
        _head(result),
        _utility(result),
        _cost(result),
        section(
            "The journey of an update",
            tag(
                "p",
                "Every owner takes its update through its half, from training on; all messages are summed; the server "
                "takes the sum back through the same stages to the new model. In between stands what is known of one "
                "contribution after each stage, before any data is touched; what a stage changed stands out.",
            ),
            diagram(result),
        ),
        _claims(result),
        section("What to know besides", bullets(notes(result))),
        section(
            "Make it again", tag("pre", tag("code", reproduce)),
            tag("p", "The configuration of this run, defaults included:"),
            tag("pre", tag("code", configuration(result.get("config") or {}))),
        ),
        tag("footer", "Made by Tacit from result.json. Every ε is derived from what ran, and is rounded up."),
    )  # fmt: skip


def _title(result: Mapping[str, Any]) -> str:
    config = result.get("config") or {}
    return str(config.get("name") or (config.get("task") or {}).get("use") or "Tacit run")


def _head(result: Mapping[str, Any]) -> Html:
    warning = words.seeded(result)
    seed = "" if result.get("seed") is None else f" · seed {result['seed']}"
    return tag(
        "header",
        tag("p", "Tacit · report of a run", class_="kicker"),
        tag("h1", _title(result)),
        tag("p", f"{_owners(result)} · {done(result)}{seed} · engine {result.get('engine', 'unknown')}", class_="sub"),
        tag("p", f"{words.achieved(result, leading_metric(result))} {words.headline(result)}", class_="lead"),
        tag("p", warning, class_="banner", role="note") if warning else "",
        _tiles(result),
    )


def done(result: Mapping[str, Any]) -> str:
    """How many rounds were run, and how many were planned where that differs."""
    planned = int(number(((result.get("config") or {}).get("rounds") or {}).get("total", 0)) or 0)
    last = _last_round(result)
    return f"{last:,} rounds" if last == planned else f"{last:,} of {planned:,} rounds"


def _last_round(result: Mapping[str, Any]) -> int:
    rows = result.get("rounds") or ()
    return int(number(rows[-1].get("round"))) if rows else 0


def _owners(result: Mapping[str, Any]) -> str:
    owners = number(((result.get("config") or {}).get("population") or {}).get("owners"))
    return "number of owners unknown" if math.isnan(owners) else f"{int(owners):,} simulated owners"


def _tiles(result: Mapping[str, Any]) -> Html:
    config = result.get("config") or {}
    metric = leading_metric(result)
    claim = words.first_claim(result)
    owners = number((config.get("population") or {}).get("owners"))
    timing = result.get("timing") or {}
    protected = (
        "each is one protected unit" if claim.get("unit") == "owner" else "each single record is a protected unit"
    )
    rate = plain_text(timing.get("clients_per_second"))
    tiles = [
        ("none", "no metric was evaluated", "text")
        if metric is None
        else (metric_text(metric, result["final"][metric]), f"{metric_name(metric)} on public test data", "main"),
        (f"ε = {epsilon_text(claim.get('epsilon'))}", _budgeted(result, claim), "main")
        if words.is_private(claim)
        else ("ε = ∞", "not private", "warn"),
        (small_text(claim.get("delta")), "δ, the probability that ε does not cover", None),
        (plain_text(owners), f"owners; {protected}" if claim else "owners", None),
    ]
    seconds = number(timing.get("seconds"))
    if not math.isnan(seconds):  # of a real run over a secret draw neither times nor counts are told
        tiles.append((_duration(seconds), f"of training, {rate} owners a second", None))
    if not words.is_private(claim):
        del tiles[2]
    cells = [tag("div", tag("dt", text), tag("dd", value), class_=kind) for value, text, kind in tiles]
    return tag("dl", *cells, class_="tiles")


def _budgeted(result: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    budget = number(((result.get("config") or {}).get("budget") or {}).get("epsilon"))
    of = f"of a budget of {plain_text(budget)}, " if math.isfinite(budget) else ""
    return f"{of}observer {words.observer_short(claim)}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _utility(result: Mapping[str, Any]) -> Html:
    rows: Sequence[Mapping[str, Any]] = result.get("rounds") or ()
    final = result.get("final") or {}
    metric = leading_metric(result)
    spread = result.get("spread") or {}
    figures = []
    if metric is not None and metric != "loss":
        text = f"{metric_text(metric, final.get(metric))} after {done(result)}"
        figures.append(plotted(metric_name(metric).capitalize(), text, metric_plot(rows, metric, "leading"), _UNDRAWN))
    if "loss" in final:
        text = f"{metric_text('loss', final['loss'])} after {done(result)}"
        figures.append(plotted("Loss", text, metric_plot(rows, "loss", "loss"), _UNDRAWN))
    if spread:
        figures.append(plotted("Owner by owner", _spread_text(spread), spread_plot(spread, "spread"), _UNDRAWN))
    figures.append(_final_table(final))
    return section(
        "How good the model is", tag("div", *figures, class_="plots"), _rounds_table(rows), _measured_table(rows)
    )


def _spread_text(spread: Mapping[str, Any]) -> str:
    metric, cuts = str(spread.get("metric", "")), spread.get("quantiles") or {}
    nine = f"at least {metric_text(metric, cuts.get('0.1'))}"
    if not is_share(metric):
        nine = f"at most {metric_text(metric, cuts.get('0.9'))}"
    return (
        f"nine of ten of the {plain_text(spread.get('owners'))} owners see {nine} on their own training data; the worst "
        f"tenth averages {metric_text(metric, spread.get('worst_decile'))}. Only a simulator can see this."
    )


def _final_table(final: Mapping[str, Any]) -> Html:
    if not final:
        return tag("p", "No metric was evaluated: the task has no public test data, or no round was completed.")
    rows = [[metric_name(str(name)), metric_text(str(name), value)] for name, value in final.items()]
    return tag("div", table(["at the end", "public test data"], rows, numeric=(1,)))


def _measured_table(rows: Sequence[Mapping[str, Any]]) -> Html:
    """What the owners found; nothing where they were not asked."""
    told = [row for row in rows if row.get("measured") and isinstance(row["measured"], Mapping)]
    if not told:
        return Html("")
    names = list(dict.fromkeys(name for row in told for name in row["measured"]))
    step = math.ceil(len(told) / _ROWS)
    lines = [
        [plain_text(row.get("round")), *(estimate_text(str(name), row["measured"].get(name)) for name in names)]
        for row in told[(len(told) - 1) % step :: step]
    ]
    return tag(
        "div", tag("h3", "As the owners measured it"),
        tag("p", "Each round's owners measured the model that they received, on their own examples, before they trained. "
            "Their numbers came in the update's vector and carry its noise: ± is the standard error of that noise, and a "
            "value may lie outside its range. The claims below cover them."),
        table(["before round", *(f"{metric_name(name)}, noised" for name in names)], lines, numeric=range(len(names) + 1)),
    )  # fmt: skip


def _rounds_table(rows: Sequence[Mapping[str, Any]]) -> Html:
    if len(rows) < 2:
        return Html("")
    step = math.ceil(len(rows) / _ROWS)
    kept = [row for index, row in enumerate(rows) if index % step == 0 or index == len(rows) - 1]
    names = list(dict.fromkeys(name for row in kept for name in (row.get("metrics") or {})))
    lines = [
        [
            plain_text(row.get("round")),
            *(metric_text(name, (row.get("metrics") or {}).get(name)) for name in names),
            epsilon_text(row.get("epsilon")),
        ]
        for row in kept
    ]
    title = "All evaluated rounds" if step == 1 else f"Every {step}th evaluated round (result.json holds all)"
    head = ["round", *map(metric_name, names), "ε spent"]
    return tag("details", tag("summary", title), table(head, lines, numeric=range(len(head))))


def _cost(result: Mapping[str, Any]) -> Html:
    claims: Sequence[Mapping[str, Any]] = result.get("privacy") or ()
    curves: Sequence[Mapping[str, Any]] = result.get("curves") or ()
    figures: list[Html] = []
    for order, (members, own) in enumerate(_grouped(claims, curves)):
        claim = members[0]
        title = words.observer_title(claim)
        title += "".join(f"; {name[:1].lower()}{name[1:]}" for name in map(words.observer_title, members[1:]))
        if words.is_private(claim):
            text = f"{words.figure(claim)}, {claim.get('unit')} level, {claim.get('relation')}"
            missing = "The result holds no curve for this claim."
            figures.append(plotted(title, text, epsilon_plot(own, f"epsilon-{order}"), missing))
        else:
            figures.append(plotted(title, "", None, f"Not private (ε = ∞): {words.reason(claim)}."))
    return section(
        "What it cost in privacy",
        tag(
            "p",
            "ε bounds what an observer can find out about one protected unit; it grows with every round. Curves that "
            "coincide with the claim are left out.",
        ),
        tag("div", *figures, class_="plots") if figures else tag("p", "No claim was derived."),
    )


def _grouped(
    claims: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]
) -> list[tuple[list[Mapping[str, Any]], Mapping[str, Any]]]:
    """Claims of equal events together, with their curves: one figure serves observers who learn the same."""
    groups: list[tuple[list[Mapping[str, Any]], Mapping[str, Any]]] = []
    for index, claim in enumerate(claims):
        told = (claim.get("events"), claim.get("events_unamplified"), claim.get("epsilon"), claim.get("relation"))
        for members, _ in groups:
            first = members[0]
            if told == (
                first.get("events"),
                first.get("events_unamplified"),
                first.get("epsilon"),
                first.get("relation"),
            ):
                members.append(claim)
                break
        else:
            groups.append(([claim], curves[index] if index < len(curves) else {}))
    return groups


def _claims(result: Mapping[str, Any]) -> Html:
    claims: Sequence[Mapping[str, Any]] = result.get("privacy") or ()
    if not claims:
        return section("The claims", tag("p", "No privacy claim was derived for this run."))
    cards = [_card(claim) for claim in claims]
    head = [
        "observer",
        "unit, relation",
        "adversary, basis",
        "ε",
        "ε, draw known",
        "δ",
        "ε at δ = 10⁻⁵",
        "accountant",
        "event",
    ]
    rows = [
        [
            words.observer_short(claim), f"{claim.get('unit')}, {claim.get('relation')}",
            f"{claim.get('adversary')}, {claim.get('basis')}", words.epsilon_range(claim),
            epsilon_text(claim.get("epsilon_unamplified")), small_text(claim.get("delta")),
            epsilon_text(claim.get("epsilon_at_1e-5")), str(claim.get("accountant")), mechanism(claim.get("events")),
        ]
        for claim in claims
    ]  # fmt: skip
    return section(
        "The claims",
        tag("p", "One claim for each observer. Claims of different unit or relation never add up."),
        tag("div", *cards, class_="claims"),
        tag("h3", "No claim protects"),
        bullets(words.general_limits()),
        table(head, rows, numeric=(3, 4, 5, 6)),
    )


def _card(claim: Mapping[str, Any]) -> Html:
    limits = words.limits(claim)
    against = [tag("h4", "What this does not protect"), bullets(limits)] if limits else []
    why = str(claim.get("why", ""))
    grounds = (
        [tag("h4", "Why the claim holds"), tag("p", f"{why[:1].upper()}{why[1:]}.")]
        if why and words.is_private(claim)
        else []
    )
    return tag(
        "article",
        tag("h3", words.observer_title(claim)),
        tag("p", words.figure(claim), class_="figure"),
        tag("p", words.promise(claim)),
        *against,
        *grounds,
        class_="claim" if words.is_private(claim) else "claim none",
    )


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know besides the claims: how the population was made, what was not charged, what stopped it."""
    config = result.get("config") or {}
    population = config.get("population") or {}
    partition = (population.get("partition") or {}).get("use")
    dealt = f" by the partition {partition}" if partition else ""
    found = [
        f"The population is simulated: the data of the task {(config.get('task') or {}).get('use', '')} was dealt to "
        f"{_owners(result).removesuffix(' simulated owners')} owners{dealt}. No real owner took part.",
        "Choices made on the same data before this run (learning rate, clipping norm, number of rounds) are "
        + ("charged as tuning in the claims' events." if _tuned(result.get("privacy")) else
           "not charged. Where they were tuned on private data, the true cost is higher."),
    ]  # fmt: skip
    on = (config.get("evaluation") or {}).get("on")
    on = on if isinstance(on, str | list | tuple) else ()
    if "public-test" in on:
        found.append("Metrics are computed on public test data and cost nothing.")
    if "owners" in on:
        found.append(
            "What owners measured on their own data is released under the update's noise, and is in every claim; owners whose "
            "answers are missing, or who had nothing to measure, count as one half where their number is no public one."
        )
    if result.get("spread"):
        found.append(
            "The figures owner by owner read the owners' own data. They are outside every claim: for real data, do not "
            "compute or publish them."
        )
    if _last_round(result) < int(number((config.get("rounds") or {}).get("total", 0)) or 0):
        found.append(f"The run ended after {done(result)}; every figure is that of the rounds that were run.")
    return [*found, *(str(note) for note in result.get("notes") or ())]


def _tuned(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("event") == "tuned" or any(_tuned(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_tuned(item) for item in value)


def configuration(config: Mapping[str, Any]) -> str:
    """The configuration as a TOML file that can be run again."""
    import tomli_w

    return tomli_w.dumps(_toml(config)).strip()


def _toml(value: Any) -> Any:
    """What TOML can hold: no null, and infinities as numbers, which result.json writes as text."""
    if isinstance(value, Mapping):
        return {str(key): _toml(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_toml(item) for item in value]
    return number(value) if value in ("inf", "-inf") else value
