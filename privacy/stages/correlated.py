"""Correlated Gaussian: the server's noise of one round takes back part of the earlier rounds' (matrix factorisation)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..correlation import MOST_TERMS, Correlation, Memory, noise, square_root
from ..factors import Factors
from ..noise import discrete_gaussian
from ..pipeline import Env, PipelineError, Stage, require
from ..signal import Signal
from ..updates import Dense, Total, Updates
from .lattice import noised, onto, real_values, rounded, rounded_sum
from .multiplier import NoiseMultiplier, checked, first_noise, solved

_NAME = "correlated-gaussian"


@dataclass(frozen=True, slots=True)
class CorrelatedGaussian(Stage):
    """Σxₜ ↦ Σxₜ + (C⁻¹z)ₜ, zₜ discrete Gaussian of σ = noise_multiplier · sensitivity on the fine lattice, over all rounds t.

    C is lower-triangular Toeplitz with c₀ = 1: with `bands` b, the first b coefficients of (1 − x)^(−½) (Kalinin and Lampert
    2024, arXiv 2405.13763); or with `decay` and `scale` a BLT, cₜ = Σ scale·decay^(t−1) (McMahan et al. 2024, arXiv
    2408.08868). One event for the whole schedule, charged before its first round, whether or not all rounds are run;
    owners take part in turn (`everyone`, `cyclic`), so that how far apart one's rounds lie is known. Central: trusts the
    server. Halves are as in `central-gaussian`. Where nothing can be drawn again, `env.memory` has to hold what was drawn up
    to the round before: lost, it ends the schedule (PRIVACY.md 7).
    """

    noise_multiplier: NoiseMultiplier
    bands: int | None = None
    decay: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        checked(_NAME, self.noise_multiplier)
        decay, scale = self.decay or (), self.scale or ()
        require(
            (self.bands is None) != (not decay), _NAME, f"bands = {self.bands!r}, decay = {list(decay)}",
            "give bands, or decay and scale",
        )  # fmt: skip
        if self.bands is not None:
            require(1 <= self.bands <= MOST_TERMS, _NAME, f"bands = {self.bands}", f"give 1 to {MOST_TERMS}")
        require(
            len(decay) == len(scale), _NAME, f"{len(decay)} decays and {len(scale)} scales",
            "give one scale for each decay",
        )  # fmt: skip
        require(
            all(0 <= d < 1 for d in decay) and all(math.isfinite(s) and abs(s) <= 1 for s in scale),
            _NAME, f"decay = {list(decay)}, scale = {list(scale)}",
            "give decays from 0 to below 1, and scales from -1 to 1",
        )  # fmt: skip

    @property
    def correlation(self) -> Correlation:
        """The matrix."""
        if self.bands is not None:
            return Correlation(coefficients=square_root(self.bands))
        return Correlation(decay=self.decay or (), scale=self.scale or ())

    def declare(self, signal: Signal) -> Signal:
        first_noise(_NAME, signal)
        found = noised(_NAME, onto(_NAME, signal), solved(_NAME, self.noise_multiplier), "server")
        return dataclasses.replace(found, correlation=self.correlation) if found.noise else found

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        if isinstance(updates, Factors) and signal.unit == "owner":
            return Total(rounded_sum(updates.total(), signal), len(updates))
        return Dense(rounded(updates.dense(), signal))

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        lattice = onto(_NAME, signal)
        sigma = solved(_NAME, self.noise_multiplier) * lattice.sensitivity
        if sigma > 0:
            memory = Memory() if env.memory is None else env.memory
            if not env.entropy.seeded and memory.round != env.round - 1:
                raise PipelineError(
                    f"{_NAME}: round {env.round} needs the noise of the rounds before, of which {memory.round} are known; "
                    f"without it this schedule ends: start a new run"
                )
            found = noise(
                self.correlation,
                lambda t: discrete_gaussian(env.entropy.stream(_NAME, t), sigma, len(total)),
                env.round,
                memory,
            )
            total = total + torch.from_numpy(found).to(total.device)
        return real_values(total, lattice)
