"""Diagram: the pipeline drawn with its Signals, the owner's half left to right, the sum, the server's half right to left.

One column a stage, because a stage's position is its depth: what it does at the owner on top, what is known of one
contribution after it in the middle, what it does at the server below. On a narrow screen columns become rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .markup import Html, tag
from .mechanism import mechanism
from .numerals import number, plain_text

_MOST = 7  # columns that fit a page; longer pipelines are drawn downwards

# What a stage does at the owner and at the server; "" where it only passes on.
_DEEDS: Mapping[str, tuple[str, str]] = {
    "clip": ("shrinks the update to the largest norm allowed", ""),
    "adaptive-clip": ("shrinks the update; adds one number: was it short enough?", "reads the noised share, adapts the norm"),
    "measure": ("adds what it found of the model on its examples", "reads the noised means"),
    "rotate": ("turns the vector by a public random rotation", "turns it back"),
    "encode": ("rounds at random to whole numbers in a ring", "turns them back into real numbers"),
    "correlated-gaussian": (
        "rounds to a fine public grid",
        "adds noise, less part of the earlier rounds'; leaves the grid",
    ),
    "central-gaussian": ("rounds to a fine public grid", "adds noise once, on the sum; leaves the grid"),
    "own-gaussian": ("adds its noise in full", "leaves the grid"),
    "discrete-gaussian": ("adds its share of the noise", ""),
    "skellam": ("adds its share of the noise", ""),
    "mask": ("hides the message under masks that cancel in the sum", "nothing is left of the masks"),
}  # fmt: skip
_LAWS = {"gaussian": "Gaussian", "discrete-gaussian": "discrete Gaussian", "skellam": "Skellam"}


def diagram(result: Mapping[str, Any]) -> Html:
    """The drawing of `result["pipeline"]`, its stages' parameters taken from `result["config"]`."""
    signals = [row for row in result.get("pipeline") or () if isinstance(row, Mapping)]
    if not signals:
        return tag("p", "This result does not say what its pipeline was.")
    config = result.get("config") or {}
    cells = [
        tag("div", "At each owner", class_="lane"),
        tag("div", "Known of one contribution", class_="lane"),
        tag("div", "At the server", class_="lane"),
    ]
    rows = _rows(config)
    known = [_known(signal) for signal in signals]
    for index, signal in enumerate(signals):
        row = _settled(rows[index] if index < len(rows) else {}, signal)
        before = known[index - 1] if index else {}
        owner, server = _halves(index, signal, row, config)
        cells += [
            owner,
            _signal(known[index], before, [key for key in _KEYS if any(key in each for each in known)]),
            server,
        ]
    cells.append(_sum(config))
    columns = len(signals)
    described = (
        "Pipeline: " + " → ".join(str(signal.get("stage", "")) for signal in signals) + " → sum, and back at the server"
    )
    return tag("div", *cells, class_="pipeline" + (" tall" if columns > _MOST else ""), role="group", aria_label=described,
               style=f"--columns: {columns}")  # fmt: skip


def _rows(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    stages = (config.get("privacy") or {}).get("pipeline") or ()
    return [config.get("local") or {}, *stages]


def _settled(row: Mapping[str, Any], signal: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the configuration set for a stage, with the value that was run: `"calibrate"` becomes the noise it was solved to."""
    run = signal.get("parameters") or {}
    return {key: run.get(key, value) for key, value in row.items()}


def _halves(
    index: int, signal: Mapping[str, Any], row: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Html, Html]:
    name = str(signal.get("stage", ""))
    if index == 0:
        strategy = config.get("strategy") or {}
        return (
            _box("train", name, "owner" + (" noise" if signal.get("prior") is not None else ""), _parameters(row)),
            _box("new model", str(strategy.get("use", "")), "server last", _parameters(strategy)),
        )
    at_owner, at_server = _DEEDS.get(name, ("does its half", "undoes it"))
    parameters = _parameters(row)
    noisy = " noise" if any(noise.get("place") == "server" for noise in signal.get("noise") or ()) and at_server else ""
    drawn = " noise" if any(noise.get("place") != "server" for noise in signal.get("noise") or ()) else ""
    return (
        _box(name, at_owner, "owner" + (drawn if "noise" in at_owner else ""), parameters),
        _box(name if at_server else "", at_server or "passes on", f"server{noisy}" + ("" if at_server else " idle")),
    )


def _box(title: str, text: str, kind: str, parameters: str = "") -> Html:
    inside = [tag("strong", title)] if title else []
    inside.append(tag("span", text))
    if parameters:
        first, *others = parameters.split("_")
        # A long key breaks behind an underscore, not inside a word.
        inside.append(tag("code", first, *(part for word in others for part in ("_", tag("wbr"), word))))
    return tag("div", *inside, class_=f"box {kind}")


def _parameters(row: Mapping[str, Any]) -> str:
    """`norm = 0.3, …`, without the row's name and without what was not set."""
    given = [(key, value) for key, value in row.items() if key not in ("use", "stage") and value is not None]
    return ", ".join(f"{key} = {_value(value)}" for key, value in given)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " and ".join(map(str, value))
    return plain_text(value) if isinstance(value, float) else str(value)


_KEYS = ("numbers", "sensitivity", "bound", "grid step", "ring", "noise inside", "noise σ", "readable")


def _known(signal: Mapping[str, Any]) -> dict[str, str]:
    """The Signal as label → text, in real units; what says nothing is left out."""
    scale = number(signal.get("scale"))
    unit = scale if math.isfinite(scale) else 1.0
    rows = {"numbers": plain_text(signal.get("dim"))}
    for label, key in (("sensitivity", "sensitivity"), ("bound", "bound")):
        value = number(signal.get(key)) * unit
        rows[label] = "unlimited" if math.isinf(value) else "≤ " + plain_text(value)
    if math.isfinite(scale):
        rows["grid step"] = plain_text(scale)
    if signal.get("ring") is not None:
        rows["ring"] = f"mod 2^{signal['ring']}"
    if signal.get("prior") is not None:
        rows["noise inside"] = mechanism(signal["prior"])
    noises: Sequence[Mapping[str, Any]] = signal.get("noise") or ()
    if noises:
        rows["noise σ"] = " + ".join(_noise(noise, number(signal.get("sensitivity")) * unit) for noise in noises)
    if signal.get("masked"):
        rows["readable"] = "only the sum"
    return rows


def _noise(noise: Mapping[str, Any], sensitivity: float) -> str:
    law = _LAWS.get(str(noise.get("law")), str(noise.get("law")))
    place, std = str(noise.get("place")), number(noise.get("std"))
    where = {"server": "on the sum", "shared": "in each share", "owner": "at each owner"}.get(place, place)
    times = std / sensitivity if 0 < sensitivity < math.inf else math.nan
    # A share's ratio would be mistaken for the multiplier, which belongs to the sum of all shares.
    ratio = f" = {plain_text(times)} × sensitivity" if place != "shared" and math.isfinite(times) else ""
    return f"{plain_text(std)}{ratio} {where}, {law}"


def _signal(known: Mapping[str, str], before: Mapping[str, str], keys: Sequence[str]) -> Html:
    """The Signal after a stage; what the stage changed stands out."""
    rows = []
    for key in keys:
        changed = known.get(key) != before.get(key) and key in known
        rows.append(
            tag("div", tag("dt", key), tag("dd", known.get(key, "–")), class_="changed" if changed and before else None)
        )
    return tag("dl", *rows, class_="signal")


def _sum(config: Mapping[str, Any]) -> Html:
    participation = (config.get("rounds") or {}).get("participation") or {}
    who = ", ".join(text for text in (str(participation.get("use", "")), _parameters(participation)) if text)
    return tag(
        "div", tag("b", "Σ", aria_hidden="true"), tag("strong", "sum over the cohort"), tag("span", who),
        tag("span", "only this crosses from the owner's half to the server's"), class_="sum",
    )  # fmt: skip
