"""Report of an audit: one self-contained page, made from nothing but what `tacit audit --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import words as claims
from ..markup import Html, table, tag
from ..numerals import epsilon_text, lower_text, number, plain_text, small_text
from ..page import bullets, page, plotted, section
from ..report import configuration
from .plots import bound_plot, roc_plot
from .words import ANEW, BLIND, overall, verdict_sentence

_TITLES = {"fail": "fails", "pass": "stands", "no power": "was not tried hard enough"}
_UNDRAWN = "No finite value to draw."


def report(audit: Mapping[str, Any], reproduce: str) -> str:
    """The page; `reproduce` is the command that makes it again."""
    config = audit.get("config") or {}
    name = str(config.get("name") or (config.get("task") or {}).get("use") or "configuration")
    return page(
        f"Audit of {name}",
        _head(audit, name),
        _bounds(audit),
        _membership(audit),
        section("What this audit sees, and what not", bullets(BLIND)),
        section("How it was done", bullets(_method(audit))),
        section(
            "Make it again", tag("pre", tag("code", reproduce)),
            tag("p", "The configuration that was audited, without the canaries:"),
            tag("pre", tag("code", configuration(config))),
        ),
        tag("footer", "Made by Tacit. Lower bounds are rounded down, claims up."),
    )  # fmt: skip


def _head(audit: Mapping[str, Any], name: str) -> Html:
    claim, found = audit["claim"], overall(audit)
    tiles = [
        (_TITLES[str(audit["verdict"])], "the claim", "main" if audit["verdict"] == "pass" else "warn"),
        (f"ε = {epsilon_text(claim['epsilon'])}", f"claimed, observer {claims.observer_short(claim)}", None),
        (f"ε ≥ {lower_text(found['bound'])}", f"shown, {100 * number(audit['level']):.4g} % certain", "main"),
        (lower_text(found["reach"]), "could have been shown", None),
        (epsilon_text(found["estimate"]), "an estimate, no bound", None),
        (small_text(claim["delta"]), "δ", None),
    ]
    cells = [tag("div", tag("dt", text), tag("dd", value), class_=kind) for value, text, kind in tiles]
    cells[0] = tag("div", tag("dt", tiles[0][1]), tag("dd", tiles[0][0]), class_=f"{tiles[0][2]} text")
    return tag(
        "header",
        tag("p", "Tacit · audit", class_="kicker"),
        tag("h1", name),
        tag(
            "p",
            f"{plain_text(audit['canaries'])} canary {claim['unit']}s · {plain_text(audit['rounds'])} rounds · "
            f"seed {audit['seed']}",
            class_="sub",
        ),
        tag("p", ANEW, class_="sub"),
        tag("p", verdict_sentence(found), class_="lead"),
        tag("p", verdict_sentence(found), class_="banner", role="note") if audit["verdict"] != "pass" else "",
        tag("dl", *cells, class_="tiles"),
    )


def _bounds(audit: Mapping[str, Any]) -> Html:
    rows = [
        [
            view, str(found["verdict"]), lower_text(found["bound_simple"]), lower_text(found["bound_curve"]),
            lower_text(found["reach"]), epsilon_text(found["estimate"]),
            f"{plain_text(found['right'])} of {plain_text(found['guesses'])}",
        ]
        for view, found in audit["views"].items()
    ]  # fmt: skip
    head = [
        "view",
        "verdict",
        "ε shown, simple form",
        "ε shown, whole curve",
        "could have shown",
        "estimate",
        "right guesses",
    ]
    return section(
        "What was shown",
        tag(
            "p",
            "Each canary took part by a fair coin. Whoever saw the released sums (white box), or the final model alone (black "
            "box), guessed the coins; more right guesses than a private system permits show a larger ε.",
        ),
        tag("div", plotted("ε", "shown beside claimed", bound_plot(audit["views"], "bound"), _UNDRAWN), class_="plots"),
        table(head, rows, numeric=range(2, 7)),
    )


def _membership(audit: Mapping[str, Any]) -> Html:
    curves = [(view, found["roc"]) for view, found in audit["views"].items()]
    natural = audit.get("natural")
    if natural:
        curves.append(("the task's own\nexamples,\nby loss", natural))
    rates = list(audit["permitted"])
    rows = [
        [
            label.replace("\n", " "), f"{found['members']} and {found['others']}", f"{number(found['area']):.3f}",
            f"{100 * number(found['advantage']):.1f} %", *(f"{100 * number(found['tpr_at'][rate]):.2f} %" for rate in rates),
        ]
        for label, found in curves
    ]  # fmt: skip
    allowed = [f"{100 * number(audit['permitted'][rate]):.2f} %" for rate in rates]
    rows.append(["permitted by the claim, for one unit", "", "", "", *allowed])
    head = ["attack", "members and others", "area", "advantage", *(f"TPR at {100 * float(r):g} % FPR" for r in rates)]
    return section(
        "Membership inference",
        tag(
            "p",
            "How well an attacker tells members from others, counted by the members that it names while it rarely errs. The "
            "curves are of one sample: at few false positives they scatter, and may cross what the claim permits on average.",
        ),
        tag(
            "div",
            plotted("ROC", "both axes logarithmic", roc_plot(curves, audit["limit"], "roc"), _UNDRAWN),
            class_="plots",
        ),
        table(head, rows, numeric=range(2, len(head))),
    )


def _method(audit: Mapping[str, Any]) -> list[str]:
    found = next(iter(audit["views"].values()))
    unit = audit["claim"]["unit"]
    white = (
        "White box: canary owners send updates of their own making, orthogonal to one another, a hundred times longer than the "
        "clip allows, with a sign that changes from round to round; the score is the matched product with every opened sum."
        if unit == "owner"
        else "White box: canary examples are loud noise with a random label; the score is a linear estimate of all coins at "
        "once from every opened sum and the canaries' own clipped gradients."
    )
    return [
        f"The claim is that of the population with its canaries: δ = {small_text(audit['claim']['delta'])}.",
        white,
        "Black box: by how much the final model's loss on a canary's examples fell from the initial model's.",
        "The guesser knows all but the coins, the noise and secret draws: what the other owners contribute is taken off.",
        f"How many coins are guessed is fixed beforehand, in a few ways; each view, way and form of the bound is tested at its "
        f"share of all false alarms, {100 - 100 * number(audit['level']):.4g} % ({small_text(found['significance'])} a view).",
        "Simple form: Steinke, Nasr, Jagielski 2023 (arXiv 2305.08846). Whole curve: Mahloujifar, Melis, Chaudhuri 2024 "
        "(arXiv 2410.22235), against the claim's own trade-off curve and those with its noise scaled.",
        "The estimate fits a Gaussian to the scores. It may lie above the truth.",
        *(str(note) for note in audit.get("notes") or ()),
    ]
