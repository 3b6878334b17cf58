"""Ball: what one example's gradient is clipped to, and the public grid on which clipped gradients are added.

Clipped gradients are at most `norm` = C long and are added on the grid of step s = C·2^(−bits): the sum is a sum of integers,
exact in any order, and one example moves it by at most C, rounding included (PRIVACY.md 5 and 9).

A coarser grid makes faster sums and noise. What it may not do is show: noise on it is accounted as a rounded continuous
Gaussian, and how far the two are apart (`privacy/rounding.py`) is declared and paid for. `ball_for` takes the coarsest grid on
which that is negligible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .rounding import NEGLIGIBLE, distance

FINEST, COARSEST = 28, 22
_NARROW = 24  # bits up to which sums are taken in float32
_ROOM, _NARROW_ROOM = 2.0**-20, 2.0**-12  # of C, kept free for the rounding of norms and factors, and of sums


@dataclass(frozen=True, slots=True)
class Ball:
    """Vectors of at most `norm`, on the grid of step `norm`·2^(−bits)."""

    norm: float
    bits: int = FINEST

    @property
    def step(self) -> float:
        """s, in the units of gradients."""
        return math.ldexp(self.norm, -self.bits)

    @property
    def radius(self) -> int:
        """C in steps, 2^bits."""
        return 1 << self.bits

    @property
    def narrow(self) -> bool:
        """Whether `outer.clipped_sums` may add in float32."""
        return self.bits <= _NARROW

    def sigma(self, noise_multiplier: float) -> float:
        """σ of noise of noise_multiplier·C, in steps."""
        return math.ldexp(noise_multiplier, self.bits)

    def longest(self, dim: int) -> float:
        """What a gradient of `dim` numbers is clipped to, in steps: below `radius`, to make room for rounding.

        Raises `ValueError` for a vector so long that rounding it would take half of the ball.
        """
        free = _NARROW_ROOM if self.narrow else _ROOM
        found = self.radius * (1 - free) - 2 * math.sqrt(dim)
        if found < self.radius / 2:
            raise ValueError(f"a vector of {dim} numbers is too long for a grid of {self.bits} bits")
        return found


def ball_for(norm: float, noise_multiplier: float, dim: int) -> Ball:
    """The ball of `norm` C with the coarsest grid on which discrete noise of σ = noise_multiplier·C passes for a rounded
    Gaussian in `dim` coordinates; without noise the finest.
    """
    bits = COARSEST
    while bits < FINEST and distance(math.ldexp(noise_multiplier, bits), dim) > 0.99 * NEGLIGIBLE:
        bits += 1
    return Ball(norm, bits)
