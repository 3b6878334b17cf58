"""Central Gaussian: the server adds noise once, on the sum."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..factors import Factors
from ..noise import add_discrete_gaussians
from ..pipeline import Env, Stage
from ..signal import Signal
from ..updates import Dense, Total, Updates
from .lattice import noised, onto, real_values, rounded, rounded_sum
from .multiplier import NoiseMultiplier, checked, first_noise, solved


@dataclass(frozen=True, slots=True)
class CentralGaussian(Stage):
    """Σx ↦ Σx + z, z discrete Gaussian of σ = noise_multiplier · sensitivity on the fine lattice.

    Owner half: real vectors onto the lattice, `[k, d]` float32 -> int64. Server half: the noise, then back to numbers,
    `[d]` int64 -> float32. `noise_multiplier = 0` adds none and declares none. Stands before `encode`, which then only
    takes the integers into its ring. Trusts the server; for everybody else it is the Gaussian mechanism.
    """

    noise_multiplier: NoiseMultiplier

    def __post_init__(self) -> None:
        checked("central-gaussian", self.noise_multiplier)

    def declare(self, signal: Signal) -> Signal:
        first_noise("central-gaussian", signal)
        noise_multiplier = solved("central-gaussian", self.noise_multiplier)
        return noised("central-gaussian", onto("central-gaussian", signal), noise_multiplier, "server")

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        if isinstance(updates, Factors) and signal.unit == "owner":
            # Simulated: the sum is rounded once instead of each message, at most half a step a coordinate and owner apart.
            return Total(rounded_sum(updates.total(), signal), len(updates))
        return Dense(rounded(updates.dense(), signal))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        lattice = onto("central-gaussian", signal)
        sigma = solved("central-gaussian", self.noise_multiplier) * lattice.sensitivity
        if sigma > 0:
            stream = env.entropy.stream("central-gaussian", env.round, attempt=env.attempt)
            whole = total.to("cpu", copy=True).contiguous()
            add_discrete_gaussians([stream], sigma, whole.numpy()[None])
            total = whole.to(total.device)
        return real_values(total, lattice)
