"""Skellam shares: every owner adds the difference of two Poisson variables; their sum is again of that law."""

from __future__ import annotations

from dataclasses import dataclass

from ..noise import skellam_error, skellams
from ..pipeline import Env, Stage
from ..signal import Signal
from ..updates import Dense, Updates
from .multiplier import NoiseMultiplier, checked, first_noise, solved
from .order import in_ring
from .ring import residues
from .shares import share_variance, shared
from .streams import drawn


@dataclass(frozen=True, slots=True)
class Skellam(Stage):
    """x ↦ x + z mod 2^b at every owner, z Skellam of variance (noise_multiplier · sensitivity)² / `least`.

    Closed under sums, so the cohort's noise is exactly Skellam (Agarwal, Kairouz, Liu 2021).
    """

    noise_multiplier: NoiseMultiplier

    def __post_init__(self) -> None:
        checked("skellam", self.noise_multiplier)

    def declare(self, signal: Signal) -> Signal:
        in_ring("skellam", signal)
        first_noise("skellam", signal)
        variance = share_variance(signal, solved("skellam", self.noise_multiplier))
        return shared("skellam", signal, variance, lambda each: skellam_error(each, signal.dim))

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        values = updates.dense()
        variance = share_variance(signal, solved("skellam", self.noise_multiplier))
        if variance > 0:
            shape = (len(values), signal.dim)
            noise = drawn(env, "skellam", shape, lambda streams, count: skellams(streams, variance, count))
            return Dense(noise.to(values.device).add_(values).bitwise_and_((1 << (signal.ring or 0)) - 1))
        return Dense(residues(values, signal.ring or 0))
