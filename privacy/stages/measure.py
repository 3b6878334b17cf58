"""Measure: how good the received model is on the owners' own examples, in the vector of the update, under its noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..pipeline import Env, Opened, Pipeline, PipelineError, Stage, require
from ..signal import Signal
from ..updates import Dense, Updates
from .clip import SLACK
from .order import real

Quantity: TypeAlias = Literal["accuracy", "loss"]

_HEADROOM = 4.0  # times the public number of examples: what an owner with more of them contributes is cut to
_ROUNDING = (
    2.0**-21
)  # of a sum of so many examples to float32, on either side of a comparison, over one example's share


@dataclass(frozen=True, slots=True)
class Measure(Stage):
    """x ↦ (x, w·v), v what the owner measured of the model that it received, before it trained, `[k, d] -> [k, d + m]`.

    `of` names the m measures. Each is a number in [0, 1] for every example: the share that is right, and the loss cut to
    [0, largest_loss], over largest_loss. v holds, for each of them,

    | unit    | v                                                                   | one unit moves it by at most |
    |---------|---------------------------------------------------------------------|------------------------------|
    | owner   | the mean over the owner's examples, less ½; 0 without examples       | ½                            |
    | example | Σ(the example's number − ½), cut to ±2·(public number of examples)   | ½                            |

    w = weight · Δ₂, with Δ₂ the sensitivity of what enters, so that the joint sensitivity is Δ₂·√(1 + m·weight²/4): that
    factor, on the noise of the whole vector, is the entire price. There is no other release, phase or charge; masks, shares of
    noise and quorum hold for the measures as for the update. A cut is a projection and moves no two sums further apart;
    w is lowered by what rounding to float32 may add. A measure that is not finite counts as ½ (PRIVACY.md 12).

    Stands behind the clip, which it must not be clipped by, and before the noise. Where nothing is clipped, and so no noise can
    follow, w = weight: a baseline without privacy is measured plainly. See `estimates` for what the server reads.
    """

    weight: float = 0.25
    largest_loss: float = 4.0
    of: tuple[Quantity, ...] = ("accuracy", "loss")

    def __post_init__(self) -> None:
        for field, high in (("weight", 10.0), ("largest_loss", 2.0**40)):
            found = getattr(self, field)
            number = isinstance(found, int | float) and not isinstance(found, bool)
            require(
                number and 2.0**-20 <= found <= high, "measure", f"{field} = {found!r}",
                f"give a number from 2^-20 up to {high:g}",
            )  # fmt: skip
        known = ("accuracy", "loss")
        require(
            bool(self.of) and list(self.of) == [name for name in known if name in self.of], "measure",
            f"of = {list(self.of)!r}", f"give some of {', '.join(known)}, in this order",
        )  # fmt: skip

    def declare(self, signal: Signal) -> Signal:
        real("measure", signal)
        require(
            signal.prior is None, "measure", "the solver's own noise does not cover what is measured",
            "measure on public test data, or use a solver without noise and a noise stage",
        )  # fmt: skip
        require(signal.measured == 0, "measure", "another measure stands before it", "keep one, and name all in `of`")
        if signal.unit == "example":
            require(
                signal.examples is not None, "measure", "nobody says how many examples an owner usually has",
                "use a solver with a public denominator (clipped-gradient)",
            )  # fmt: skip
        count = len(self.of)
        widest = math.sqrt(count) * self._limit(signal) * self._weight(signal)
        return dataclasses.replace(
            signal,
            dim=signal.dim + count,
            sensitivity=signal.sensitivity * math.hypot(1, math.sqrt(count) * self.weight / 2),
            bound=math.hypot(signal.bound, widest),
            peak=max(signal.peak, self._limit(signal) * self._weight(signal)),
            side=signal.side + count,
            measured=count,
        )

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        vectors = updates.dense()
        found = env.measures
        if found is None or found.shape != (len(vectors), len(self.of)):
            shape = None if found is None else list(found.shape)
            raise PipelineError(
                f"measure: {len(vectors)} contributions came with measures of shape {shape}; whoever sends gives "
                f"[{len(vectors)}, {len(self.of)}] of them in env, zeros for who has none"
            )
        limit = self._limit(signal)
        values = found.to(torch.float64).nan_to_num(0.0, 0.0, 0.0).clamp(-limit, limit) * self._unit(signal)
        return Dense(torch.cat((vectors, values.to(vectors)), dim=1))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        return total[: -len(self.of)]

    def read(self, total: Tensor, signal: Signal) -> Mapping[str, float]:
        """Σv by name, noise included."""
        return {
            name: float(value) / self._unit(signal)
            for name, value in zip(self.of, total[-len(self.of) :].tolist(), strict=True)
        }

    def _weight(self, signal: Signal) -> float:
        """w."""
        return self.weight * (signal.sensitivity if math.isfinite(signal.sensitivity) else 1.0)

    def _unit(self, signal: Signal) -> float:
        """w, less the room for rounding to float32."""
        rounding = SLACK if signal.examples is None else SLACK + signal.examples * _ROUNDING
        return self._weight(signal) * (1 - rounding)

    def _limit(self, signal: Signal) -> float:
        """The largest magnitude of an entry of v."""
        return 0.5 if signal.unit == "owner" or signal.examples is None else _HEADROOM * signal.examples / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure of all owners together as the noise lets it be seen: unbiased, so it may lie outside its range.

    `error` is the standard deviation of the noise in it, a public number; who took part comes on top.
    """

    value: float
    error: float

    def to_json(self) -> dict[str, float]:
        """The estimate as rows of a run hold it."""
        return {"value": self.value, "error": self.error}


def measure_in(line: Pipeline) -> tuple[Measure, Signal] | None:
    """The measure of a pipeline with the Signal that enters it; None where nothing is measured."""
    pairs = zip(line.stages, line.signals, strict=False)
    return next(((stage, signal) for stage, signal in pairs if isinstance(stage, Measure)), None)


def estimates(line: Pipeline, opened: Opened, contributions: float) -> dict[str, Estimate]:
    """What the owners of one round measured, by name: ½ + Σv/n in the measure's own units.

    n is `contributions`, times the public number of examples of each where the unit is an example. It must be a number that may
    be known: the expected one, or the true one where that is public. An owner with nothing to measure counts as ½; where
    examples are counted, n that is too large or too small pulls towards ½ or away from it.
    """
    found = measure_in(line)
    if found is None or not contributions > 0:
        return {}
    stage, signal = found
    count = contributions * (1.0 if signal.examples is None else signal.examples)
    told: dict[str, Estimate] = {}
    for name in stage.of:
        span = stage.largest_loss if name == "loss" else 1.0
        error = span * _deviation(line, stage, signal, contributions) / count
        told[name] = Estimate(span * (0.5 + opened.measures[name] / count), error)
    return told


def forecast(line: Pipeline, contributions: float) -> tuple[float, dict[str, float]]:
    """What measuring costs and gives: the factor on the noise of the update, and the standard error of each measure."""
    found = measure_in(line)
    if found is None or not contributions > 0:
        return 1.0, {}
    stage, _ = found
    none = Opened(torch.zeros(0), (), dict.fromkeys(stage.of, 0.0))
    errors = {name: each.error for name, each in estimates(line, none, contributions).items()}
    return math.hypot(1, math.sqrt(len(stage.of)) * stage.weight / 2), errors


def _deviation(line: Pipeline, stage: Measure, signal: Signal, contributions: float) -> float:
    """Standard deviation of the noise and the rounding in an entry of Σv."""
    final = line.final
    noise = sum(each.variance * (1.0 if each.place == "server" else contributions) for each in final.noise)
    variance = noise + contributions * final.rounding_variance
    return math.sqrt(variance) * (final.scale or 1.0) / stage._unit(signal)
