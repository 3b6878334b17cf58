"""Shares: noise of which every owner adds a part, sized so that the fewest honest owners of a round suffice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from ..gaussian import NoiseError
from ..pipeline import PipelineError
from ..signal import Law, Noise, Signal
from .ring import fits


def share_variance(signal: Signal, noise_multiplier: float) -> float:
    """Variance of one share: the sum of `least` of them has noise_multiplier · sensitivity (PRIVACY.md 14)."""
    return (noise_multiplier * signal.sensitivity) ** 2 / signal.least


def deviation_of(variance: float) -> float:
    """A standard deviation whose square is at least `variance`: rounding never takes noise away."""
    return math.nextafter(math.sqrt(variance), math.inf)


def shared(law: Law, signal: Signal, variance: float, error: Callable[[float], float]) -> Signal:
    """`signal` with shares of this variance; `error(variance)` is the sampler's distance for one owner's vector.

    Raises `PipelineError` where the sampler does not reach the variance or the ring does not hold the noise.
    """
    if variance == 0:
        return signal
    try:
        distance = error(variance)
    except NoiseError as problem:
        raise PipelineError(str(problem)) from problem
    noisy = dataclasses.replace(
        signal, noise=(Noise(law, "shared", variance),), delta_extra=signal.delta_extra + signal.most * distance
    )
    fits(law, noisy, f"raise encode's max_noise_multiplier, or with step = {signal.scale:.6g} give it")
    return noisy
