"""Adaptive clip: a clipping norm that follows a quantile of the owners' norms, its cost inside the same noise."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..pipeline import Env, PipelineError, Stage, StageState, require
from ..signal import Signal
from ..updates import Dense, Updates
from .clip import SLACK, factors, usable
from .order import real

_SHORTEST, _LONGEST = 2.0**-40, 2.0**40


@dataclass(frozen=True, slots=True)
class AdaptiveClip(Stage):
    """x ↦ (x clipped to C, w·(b − ½)), b = 1 where ‖x‖ ≤ C, `[k, d] -> [k, d + 1]`; w = bit_weight · C.

    The bit is one more coordinate of the same vector, so one noise stage covers both and nobody's bit is readable alone.
    Centred, it moves by ½ where an owner comes or goes: joint sensitivity √(C² + w²/4), which with σ = z·√(C² + w²/4) is the
    z_Δ = (z⁻² − (2σ_b)⁻²)^(−½), σ_b = σ/w, of Andrew et al. 2021 (Theorem 1). After a round

        fraction = ½ + (noised Σ(b − ½)) / expected        cut to [0, 1]
        C ← C · exp(−learning_rate · (fraction − quantile))

    `norm` is C in the first round. The denominator is public; C stays within 2^±40. An empty round is pure noise around
    fraction = ½. A non-finite contribution becomes the zero vector and counts as longer than C. State: (C,).
    unit = owner only.
    """

    norm: float
    quantile: float = 0.5
    learning_rate: float = 0.2
    bit_weight: float = 0.2

    def __post_init__(self) -> None:
        usable(self.norm, "adaptive-clip", "norm")
        for field, low, high in (("quantile", 0.0, 1.0), ("learning_rate", 0.0, 5.0), ("bit_weight", 0.0, 10.0)):
            found = getattr(self, field)
            number = isinstance(found, int | float) and not isinstance(found, bool)
            require(
                number and low < found <= high, "adaptive-clip", f"{field} = {found!r}",
                f"give a number above {low:g} and up to {high:g}",
            )  # fmt: skip

    def declare(self, signal: Signal) -> Signal:
        real("adaptive-clip", signal)
        require(
            signal.unit == "owner", "adaptive-clip", "the unit is an example, but the bit is an owner's",
            'use clip, or unit = "owner"',
        )  # fmt: skip
        require(
            signal.side == 0, "adaptive-clip", "another adaptive-clip or a measure stands before it",
            "keep one, and put it first",
        )  # fmt: skip
        require(
            signal.prior is None, "adaptive-clip", "the solver's own noise does not cover the bit", "use clip instead"
        )
        joint = self.norm * math.hypot(1, self.bit_weight / 2)
        return dataclasses.replace(signal, dim=signal.dim + 1, sensitivity=joint, bound=joint, peak=joint, side=1)

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        norms = updates.norms()
        vectors = updates.scaled(factors(norms, self.norm)).dense()
        half = self.bit_weight * self.norm * (1 - SLACK) / 2  # the float32 bit stays below w/2
        bits = torch.where(norms <= self.norm, half, -half).to(vectors)
        return Dense(torch.cat((vectors, bits[:, None]), dim=1))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        return total[:-1]

    def initial(self) -> StageState:
        return (self.norm,)

    def at(self, state: StageState) -> AdaptiveClip:
        return dataclasses.replace(self, norm=state[0])

    def learn(self, state: StageState, total: Tensor, signal: Signal) -> StageState:
        if not signal.expected:
            raise PipelineError(
                "adaptive-clip: nobody says how many contributions a round expects; "
                "give the source Signal `expected`, a public number above 0"
            )
        (norm,) = state
        centred = float(total[-1]) / (self.bit_weight * norm * (1 - SLACK))
        fraction = min(max(0.5 + centred / signal.expected, 0.0), 1.0)
        norm *= math.exp(-self.learning_rate * (fraction - self.quantile))
        return (min(max(norm, _SHORTEST), _LONGEST),)
