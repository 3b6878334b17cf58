"""Discrete Gaussian shares: every owner adds a little noise in the ring, and only the sum of them protects."""

from __future__ import annotations

from dataclasses import dataclass

from ..noise import discrete_gaussian_error, discrete_gaussians
from ..pipeline import Env, Stage
from ..signal import Signal
from ..updates import Dense, Updates
from .multiplier import NoiseMultiplier, checked, first_noise, solved
from .order import in_ring
from .ring import residues
from .shares import deviation_of, share_variance, shared
from .streams import drawn


@dataclass(frozen=True, slots=True)
class DiscreteGaussian(Stage):
    """x ↦ x + z mod 2^b at every owner, z discrete Gaussian of variance (noise_multiplier · sensitivity)² / `least`.

    The sum of `least` shares has the noise that the multiplier names; it is not a discrete Gaussian itself, which the
    accountant charges (Kairouz, Liu, Steinke 2021, Proposition 14).
    """

    noise_multiplier: NoiseMultiplier

    def __post_init__(self) -> None:
        checked("discrete-gaussian", self.noise_multiplier)

    def declare(self, signal: Signal) -> Signal:
        in_ring("discrete-gaussian", signal)
        first_noise("discrete-gaussian", signal)
        variance = share_variance(signal, solved("discrete-gaussian", self.noise_multiplier))
        return shared(
            "discrete-gaussian", signal, variance, lambda each: discrete_gaussian_error(deviation_of(each), signal.dim)
        )

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        values = updates.dense()
        variance = share_variance(signal, solved("discrete-gaussian", self.noise_multiplier))
        if variance > 0:
            sigma, shape = deviation_of(variance), (len(values), signal.dim)
            noise = drawn(
                env, "discrete-gaussian", shape, lambda streams, count: discrete_gaussians(streams, sigma, count)
            )
            return Dense(noise.to(values.device).add_(values).bitwise_and_((1 << (signal.ring or 0)) - 1))
        return Dense(residues(values, signal.ring or 0))
