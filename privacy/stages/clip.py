"""Clip: every contribution projected onto the ball of radius `norm`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..pipeline import Env, Stage, require
from ..signal import Signal
from ..updates import Updates
from .order import real

SLACK = 2.0**-20  # room for float32 rounding: norms stay below `norm` exactly
_ROUNDING = 2.0**-21  # two float32 roundings of a projected vector, relative to the norm, twice over
_ABSURD = 2.0**64  # times the norm: beyond, a float32 factor loses its precision


@dataclass(frozen=True, slots=True)
class Clip(Stage):
    """x ↦ x · min(1, norm·(1 − 2⁻²⁰) / ‖x‖₂), `[k, d] -> [k, d]` float32.

    | contribution                              | becomes                              |
    |-------------------------------------------|--------------------------------------|
    | norm at most norm·(1 − 2⁻²⁰)              | itself                               |
    | longer, up to 2⁶⁴ · norm                  | the same direction, that norm        |
    | longer still, infinite or NaN anywhere    | the zero vector (PRIVACY.md 12)      |

    For unit = owner the sensitivity is `norm`. For unit = example it stays the solver's C: a projection onto a convex set
    moves two points no further apart, whatever the relation; two float32 roundings add norm·2⁻²¹. It is also at most
    2·norm, the ball's diameter (not norm: one example can turn a contribution to the opposite side).
    """

    norm: float

    def __post_init__(self) -> None:
        usable(self.norm, "clip", "norm")

    def declare(self, signal: Signal) -> Signal:
        real("clip", signal)
        require(
            signal.side == 0,
            "clip",
            "it would clip numbers that are not the update with it: those of adaptive-clip or measure",
            "put clip first",
        )
        return clipped(signal, self.norm)

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        return updates.scaled(factors(updates.norms(), self.norm))


def clipped(signal: Signal, norm: float) -> Signal:
    """What a projection onto the ball of radius `norm` leaves known."""
    bound = min(norm, signal.bound)
    if signal.unit == "owner":
        sensitivity = min(norm, signal.sensitivity)
    else:
        sensitivity = min(signal.sensitivity + norm * _ROUNDING, 2 * norm)
    return dataclasses.replace(signal, sensitivity=sensitivity, bound=bound, peak=min(signal.peak, bound))


def factors(norms: Tensor, norm: float) -> Tensor:
    """What to multiply contributions of these `norms` by `[k]` float64."""
    target = norm * (1 - SLACK)
    readable = torch.isfinite(norms) & (norms <= norm * _ABSURD)
    shrunk = (target / norms.clamp(min=target)).clamp(max=1.0)
    return torch.where(readable, shrunk, torch.zeros_like(norms))


def usable(norm: float, stage: str, field: str) -> None:
    """Raise `PipelineError` unless float32 holds vectors of this norm with room to spare."""
    number = isinstance(norm, int | float) and not isinstance(norm, bool) and math.isfinite(norm)
    require(
        number and 2.0**-60 <= norm <= 2.0**60,
        stage,
        f"{field} = {norm!r}",
        "give a number between 2^-60 and 2^60",
    )
