"""Ring: integers mod 2^b, in which sums wrap without harm as long as the true sum fits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..pipeline import require
from ..signal import Signal

WIDEST = 62
_TAIL = 10.0  # standard deviations: a coordinate wraps with probability below 2⁻⁷⁰


def residues(values: Tensor, bits: int) -> Tensor:
    """int64 -> [0, 2^bits)."""
    return values & ((1 << bits) - 1)


def centred(values: Tensor, bits: int) -> Tensor:
    """int64, any representative -> the one in [−2^(bits−1), 2^(bits−1)).

    >>> centred(torch.tensor([5, 7, 8, 15, -9]), bits=4).tolist()
    [5, 7, -8, -1, 7]
    """
    lowest = residues(values, bits)
    return torch.where(lowest >= 1 << (bits - 1), lowest - (1 << bits), lowest)


def tail(deviation: float) -> float:
    """What |noise| of this standard deviation stays below, save with probability 2⁻⁷⁰.

    34 more than ten deviations also cover the Skellam law: exp(−t²/(2(σ² + t/3))) (Bennett).
    """
    return 0.0 if deviation == 0 else _TAIL * deviation + 34


def span(signal: Signal) -> float:
    """Largest magnitude of a coordinate of the sum of `most` contributions with the noise that owners added."""
    variance = sum(noise.variance for noise in signal.noise if noise.place != "server")
    return signal.most * signal.reach + tail(math.sqrt(signal.most * variance))


def bits_for(largest: float) -> float:
    """Fewest bits of a ring that holds the integers up to ±`largest`; infinite where nothing bounds them."""
    return math.ceil(math.log2(2 * largest + 2)) if math.isfinite(largest) else math.inf


def fits(stage: str, signal: Signal, remedy: str) -> None:
    """Raise `PipelineError` with the fewest bits that would do unless the sum of a round fits the ring.

    Wrapping is no loss of privacy (it is post-processing) but ruins the sum.
    """
    needed = bits_for(span(signal))
    wide = (
        f"bits = {needed}"
        if needed <= WIDEST
        else "a shorter clip or a larger step (no ring of up to 62 bits holds it)"
    )
    require(
        signal.ring is not None and needed <= signal.ring,
        stage,
        f"the ring of {signal.ring} bits is too small for {signal.most} contributions of up to {signal.reach:.4g} steps"
        + (" with their noise" if signal.noise else ""),
        f"{remedy} {wide}",
    )
