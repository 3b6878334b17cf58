"""Findings: what the trials of a study say, as plain values: points, frontier, answers, steps, and the cost of the search."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...privacy.accounting.figures import HEADLINE_DELTA
from ...privacy.accounting.tuning import tuning
from ...privacy.event import Event, from_json
from ...privacy.participation import repeated
from ..numerals import better
from ..plots import leading_metric
from .frontier import Band, Measured, band, best_within, cheapest_reaching, frontier_of, steps


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: its sketch, its price, and an answer by seed, each None or missing while it is not known."""

    number: int
    values: Mapping[str, Any]
    sketch: Mapping[str, Any] | None
    priced: Mapping[str, Any] | None
    trained: Mapping[int, Mapping[str, Any]]

    @property
    def reason(self) -> str:
        """Why the setting cannot be run; empty where nothing is wrong."""
        for found in (self.sketch, self.priced, *self.trained.values()):
            if found is not None and "reason" in found:
                return str(found["reason"])
        return ""

    @property
    def metrics(self) -> dict[int, Mapping[str, float]]:
        """Final metrics by seed."""
        return {seed: found["metrics"] for seed, found in self.trained.items() if "metrics" in found}

    def figure(self, name: str) -> float:
        """A number of the price; NaN before it is known."""
        return math.nan if self.priced is None or "reason" in self.priced else float(self.priced[name])

    def mean(self, metric: str) -> float:
        """The mean of a metric over seeds."""
        values = [found[metric] for found in self.metrics.values()]
        return math.fsum(values) / len(values)

    def score(self, metric: str) -> float:
        """The mean, the larger the better."""
        return self.mean(metric) if better(metric, 1, 0) else -self.mean(metric)


def metric_of(points: Sequence[Point]) -> str | None:
    """The metric that a study is about: accuracy where there is one, else what leads a run's metrics."""
    for point in points:
        for found in point.metrics.values():
            return leading_metric({"final": found})
    return None


def score_of(metric: str, metrics: Mapping[str, float]) -> float:
    """A metric's value, the larger the better."""
    return metrics[metric] if better(metric, 1, 0) else -metrics[metric]


def findings(
    points: Sequence[Point],
    header: Mapping[str, Any],
    comparable: str,
    target_epsilon: float | None,
    target_accuracy: float | None,
) -> dict[str, Any]:
    """The content of `frontier.json` but for the curves. `comparable`: the ε by which settings are held against one another.

    Only settings that were tried under every seed can stand on the frontier: one lucky seed is no finding.
    """
    metric = metric_of(points) or "accuracy"
    seeds = len(header["seeds"])
    whole = [point for point in points if not point.reason and len(point.metrics) == seeds]
    pairs = [(point.figure(comparable), point.score(metric)) for point in whole]
    on = [whole[index].number for index in frontier_of(pairs)]
    config = header["config"]
    first = next((point.sketch for point in points if point.sketch is not None and "reason" not in point.sketch), {})
    result: dict[str, Any] = {
        "kind": "study", "name": config["name"], "metric": metric, "comparable": comparable,
        "study": {key: header[key] for key in ("search", "points", "seeds", "axes")},
        "config": config, "budget": config["budget"]["epsilon"], "extrapolated": None,
        "claim": {key: first.get(key) for key in ("unit", "relation", "observer", "adversary", "colluders")},
        "points": [_row(point, metric, comparable, seeds, point.number in on) for point in points if not point.reason],
        "refused": [{"id": p.number, "values": dict(p.values), "reason": p.reason} for p in points if p.reason],
        "frontier": on,
        "answers": _answers(whole, pairs, metric, target_epsilon, target_accuracy),
        "steps": _steps(whole, header, metric, comparable),
        "tuning": _tuning(points, header, comparable),
        "cpu_seconds": math.fsum(float(f.get("seconds", 0)) for point in points for f in point.trained.values()),
    }  # fmt: skip
    if header["predict"] is not None:
        from ...config import from_mapping
        from .extrapolation import told

        held = sum(point["noise_held"] for point in result["points"])
        result["extrapolated"] = told(from_mapping(config), int(header["predict"]), held)
    return result


def _row(point: Point, metric: str, comparable: str, seeds: int, on: bool) -> dict[str, Any]:
    sketch, priced = point.sketch or {}, point.priced or {}
    spread = (
        band([found[metric] for found in point.metrics.values()])
        if point.metrics
        else Band(math.nan, math.nan, math.nan, 0)
    )
    return {
        "id": point.number, "values": dict(point.values), "frontier": on, "whole": len(point.metrics) == seeds,
        **{key: priced.get(key) for key in ("epsilon", "epsilon_lower", "epsilon_unamplified", "epsilon_at_1e-5")},
        "delta": sketch.get("mechanism", {}).get("delta"), "accountant": priced.get("accountant"),
        "compared": point.figure(comparable), "noise": sketch.get("noise"),
        "noise_held": bool(sketch.get("noise_held")), "cohort": sketch.get("cohort"),
        "mean": spread.mean, "low": spread.low, "high": spread.high,
        "trials": [{"seed": seed, "metrics": dict(found)} for seed, found in sorted(point.metrics.items())],
        "mechanism": sketch.get("mechanism"),
        "seconds": math.fsum(float(found.get("seconds", 0)) for found in point.trained.values()),
    }  # fmt: skip


def _answers(
    whole: Sequence[Point],
    pairs: Sequence[tuple[float, float]],
    metric: str,
    epsilon: float | None,
    accuracy: float | None,
) -> dict[str, Any]:
    """The setting for a target ε and for a target accuracy; `id` is None where no setting meets the target."""
    found: dict[str, Any] = {}
    if epsilon is not None:
        best = best_within(pairs, epsilon)
        found["target_epsilon"] = {"target": epsilon, "id": None if best is None else whole[best].number}
    if accuracy is not None:
        score = accuracy if better(metric, 1, 0) else -accuracy
        cheapest = cheapest_reaching(pairs, score)
        lows = []
        for (spent, _), point in zip(pairs, whole, strict=True):
            lows.append((spent, band([score_of(metric, each) for each in point.metrics.values()]).low))
        surely = cheapest_reaching(lows, score)
        found["target_accuracy"] = {
            "target": accuracy,
            "id": None if cheapest is None else whole[cheapest].number,
            "surely": None if surely is None else whole[surely].number,
        }
    return found


def _steps(whole: Sequence[Point], header: Mapping[str, Any], metric: str, comparable: str) -> list[dict[str, Any]]:
    measured = [
        Measured(
            point.values,
            point.figure(comparable),
            {seed: score_of(metric, found) for seed, found in point.metrics.items()},
        )
        for point in whole
    ]
    return [asdict(step) for step in steps(measured, [axis["key"] for axis in header["axes"]])]


def _tuning(points: Sequence[Point], header: Mapping[str, Any], comparable: str) -> dict[str, Any] | None:
    """What the search would cost on real data, counting every trial; None where nothing was trained."""
    events: dict[Event, int] = {}
    deltas, extras, trials = [], [0.0], 0
    for point in points:
        if point.sketch is None or "mechanism" not in point.sketch or not point.trained:
            continue
        mechanism = point.sketch["mechanism"]
        event = repeated(from_json(mechanism["once"]), int(mechanism["times"]))
        events[event] = events.get(event, 0) + len(point.trained)
        deltas.append(float(mechanism["delta"]))
        extras.append(float(mechanism["delta_extra"]) * int(mechanism["times"]))
        trials += len(point.trained)
    if not events:
        return None
    delta = HEADLINE_DELTA if comparable != "epsilon" else min(deltas)
    found = tuning(events, header["config"]["privacy"]["relation"], delta, max(extras) * trials)
    return {**asdict(found), "applies": "selected" if header["search"] == "random" else "composed"}


def to_csv(result: Mapping[str, Any]) -> str:
    """A row per setting, those that cannot be run included, with the reason."""
    keys = [axis["key"] for axis in result["study"]["axes"]]
    extrapolated = result["extrapolated"]
    numbers = ("epsilon", "epsilon_unamplified", "epsilon_at_1e-5", "delta", "mean", "low", "high")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*keys, *numbers[:4], f"{result['metric']}_mean", f"{result['metric']}_low",
                     f"{result['metric']}_high", "seeds", "frontier", "extrapolated_to_owners", "reason"])  # fmt: skip
    population = "" if extrapolated is None else extrapolated["population"]
    for point in result["points"]:
        values = [point["values"].get(key, "") for key in keys]
        writer.writerow([*values, *(point[name] for name in numbers), len(point["trials"]), int(point["frontier"]),
                         population, ""])  # fmt: skip
    for point in result["refused"]:
        values = [point["values"].get(key, "") for key in keys]
        writer.writerow([*values, *[""] * len(numbers), 0, 0, population, point["reason"]])
    return file.getvalue()
