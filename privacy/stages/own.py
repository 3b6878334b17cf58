"""Own Gaussian: every owner adds noise in full, so what leaves it is already private."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..noise import discrete_gaussians
from ..pipeline import Env, Stage
from ..signal import Signal
from ..updates import Dense, Updates
from .lattice import noised, onto, real_values, rounded
from .multiplier import NoiseMultiplier, checked, first_noise, solved
from .streams import drawn


@dataclass(frozen=True, slots=True)
class OwnGaussian(Stage):
    """x ↦ x + z at every owner, z discrete Gaussian of σ = noise_multiplier · sensitivity on the fine lattice.

    `[k, d]` float32 -> int64; the server half turns the sum back into numbers. Trusts nobody. With unit = example
    (`clipped-gradient`) one institution protects its own records; with unit = owner it is local differential privacy.
    """

    noise_multiplier: NoiseMultiplier

    def __post_init__(self) -> None:
        checked("own-gaussian", self.noise_multiplier)

    def declare(self, signal: Signal) -> Signal:
        first_noise("own-gaussian", signal)
        noise_multiplier = solved("own-gaussian", self.noise_multiplier)
        return noised("own-gaussian", onto("own-gaussian", signal), noise_multiplier, "owner")

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        values = rounded(updates.dense(), signal)
        sigma = solved("own-gaussian", self.noise_multiplier) * onto("own-gaussian", signal).sensitivity
        if sigma > 0:
            shape = (len(values), signal.dim)
            noise = drawn(env, "own-gaussian", shape, lambda streams, count: discrete_gaussians(streams, sigma, count))
            values = values + noise.to(values.device)
        return Dense(values)

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        return real_values(total, onto("own-gaussian", signal))
