"""Words of a study: its settings, answers and warnings in sentences, for the page and for the terminal alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..numerals import better, epsilon_text, metric_name, metric_text, number, plain_text, small_text
from .plots import letters


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, with as much before it as tells it from the others."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            short = ".".join(parts[-count:])
            if sum(other.endswith(f".{short}") or other == short for other in keys) == 1:
                break
        found[key] = ".".join(parts[-count:])
    return found


def value_text(value: Any) -> str:
    """A value of a setting."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(
            f"{value_text(item)}" if key == "use" else f"{key} {value_text(item)}" for key, item in value.items()
        )
    return str(value)


def setting_text(result: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    """A setting in one line: `noise_multiplier 2, total 40`."""
    short = short_keys([axis["key"] for axis in result["study"]["axes"]])
    return ", ".join(f"{short[key]} {value_text(value)}" for key, value in point["values"].items())


def mean_text(metric: str, point: Mapping[str, Any]) -> str:
    """Mean and half-width of its band: `94.1 % ± 0.6 %`; the mean alone under one seed."""
    half = number(point["high"]) - number(point["mean"])
    text = metric_text(metric, point["mean"])
    return f"{text} ± {metric_text(metric, half)}" if math.isfinite(half) else text


def extrapolated_text(result: Mapping[str, Any]) -> str:
    """What an extrapolation is, in a sentence; empty where nothing was extrapolated."""
    found = result.get("extrapolated")
    return "" if found is None else f"Extrapolated to {found['population']:,} owners, not simulated: {found['how']}"


def marked(result: Mapping[str, Any]) -> str:
    """The mark of every number of an extrapolated study."""
    return " (extrapolated)" if result.get("extrapolated") is not None else ""


def claim_text(result: Mapping[str, Any]) -> str:
    """Whom the ε protects, from whom, at which δ."""
    claim = result["claim"]
    deltas = {number(point["delta"]) for point in result["points"]}
    delta = "δ = 10⁻⁵" if result["comparable"] != "epsilon" else f"δ = {small_text(max(deltas, default=math.nan))}"
    return f"for one {claim['unit']}, {claim['relation']}, against the {claim['observer']}, at {delta}"


def answers(result: Mapping[str, Any]) -> list[str]:
    """A sentence for each target, and one for the best of all."""
    metric, by_id = str(result["metric"]), {point["id"]: point for point in result["points"]}
    name, mark, found = metric_name(metric), marked(result), []
    asked = result["answers"].get("target_epsilon")
    if asked is not None:
        point = by_id.get(asked["id"])
        found.append(
            f"At ε ≤ {plain_text(asked['target'])} no setting that was tried is on the frontier; the cheapest costs more."
            if point is None
            else f"Best {name} at ε ≤ {plain_text(asked['target'])}: {mean_text(metric, point)} at "
            f"ε = {epsilon_text(point['compared'])}{mark}, with {setting_text(result, point)}."
        )
    asked = result["answers"].get("target_accuracy")
    if asked is not None:
        target, point = metric_text(metric, asked["target"]), by_id.get(asked["id"])
        if point is None:
            found.append(f"No setting that was tried reaches {name} {target}{mark}.")
        else:
            found.append(
                f"Cheapest setting for {name} {target}: ε = {epsilon_text(point['compared'])}{mark}, "
                f"{mean_text(metric, point)}, with {setting_text(result, point)}. {_surely(result, asked, by_id)}"
            )
    if not found and result["frontier"]:
        point = by_id[result["frontier"][-1]]
        found.append(
            f"Best {name} of all: {mean_text(metric, point)} at ε = {epsilon_text(point['compared'])}{mark}, with "
            f"{setting_text(result, point)}."
        )
    return found


def _surely(result: Mapping[str, Any], asked: Mapping[str, Any], by_id: Mapping[int, Mapping[str, Any]]) -> str:
    sure = by_id.get(asked["surely"])
    if sure is None:
        return "With 95 % confidence over seeds none does."
    if sure["id"] == asked["id"]:
        return "Its whole 95 % band lies above."
    return f"With 95 % confidence over seeds: ε = {epsilon_text(sure['compared'])}, with {setting_text(result, sure)}."


def step_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """What each key buys: key, from, to, change of the metric, change of ε, both for one more, and from how many pairs."""
    metric = str(result["metric"])
    sign, short = (1 if better(metric, 1, 0) else -1), short_keys([axis["key"] for axis in result["study"]["axes"]])
    rows = []
    for step in result["steps"]:
        wide = step["high"] - step["low"]
        whole = float(step["low"]).is_integer() and float(step["high"]).is_integer()
        gain, error, cost = sign * step["gain"], number(step["error"]), number(step["cost"])
        rows.append(
            [
                short[step["key"]],
                f"{value_text(_whole(step['low']))} → {value_text(_whole(step['high']))}",
                f"{change_text(metric, gain)}{f' ± {metric_text(metric, error)}' if math.isfinite(error) else ''}",
                _signed(cost),
                change_text(metric, gain / wide) if whole else "–",
                _signed(cost / wide) if whole else "–",
                str(step["pairs"]),
            ]
        )
    return rows


def step_head(result: Mapping[str, Any]) -> list[str]:
    """The head of `step_rows`."""
    name = metric_name(str(result["metric"]))
    return ["key", "raised", name, "ε", f"{name}, per one more", "ε, per one more", "pairs"]


def change_text(metric: str, value: float) -> str:
    """A change of a metric with its sign; in points of a percent for shares."""
    text = metric_text(metric, abs(value))
    if text.startswith("0.0") and value != 0 and text.endswith("%"):
        text = f"{plain_text(100 * abs(value))}\u00a0%"
    return f"{'+' if value >= 0 else '−'}{text}"


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{plain_text(abs(value))}"


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def tuning_text(result: Mapping[str, Any]) -> list[str]:
    """What the search would cost on real data, both ways, and which of them applies to it."""
    found = result.get("tuning")
    if found is None:
        return []
    trials, mark = int(found["trials"]), marked(result)
    delta = f"δ = {small_text(found['delta'])}"
    composed = (
        f"Composed: whoever ran these {trials:,} trials on real data and looked at all of them would have spent "
        f"ε = {epsilon_text(found['composed'])}{mark} at {delta}, in all. This holds for every search."
    )
    selected = (
        f"Selected: had the number of trials been drawn at random beforehand ({found['law']} law, mean "
        f"{plain_text(found['mean'])}) and kept secret, each setting drawn at random, and only the best trial been published, "
        f"ε = {epsilon_text(found['selected'])}{mark} at {delta} (Papernot and Steinke 2022), the published model included."
    )
    search = result["study"]["search"]
    applies = (
        "This search drew its settings at random, so the second number applies where the other two conditions are kept too: "
        "a secret, random number of trials, and nothing but the best published. The table on this page breaks that: with it, "
        "the first number applies."
        if found["applies"] == "selected"
        else f"This search is {'a grid' if search == 'grid' else 'adaptive: it follows its results'}, so only the first number "
        "applies to it."
    )
    return [
        composed,
        selected,
        applies,
        "On public or synthetic data the search costs nothing, and that is what it is for.",
    ]


def letter_of(result: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    """The letter of a setting on the frontier; empty for the others."""
    return letters(result["frontier"]).get(point["id"], "")
