"""Signal: what is known of one contribution on its way, before any data is touched.

A local solver declares the first Signal, every stage declares how it changes it (abstract interpretation, like an
`eval_shape` for privacy), and the claim is read off the last one. `sensitivity` (privacy) and `bound` (the ring) are
different numbers: an owner's message may be large while one example moves it little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .correlation import Correlation
from .event import Event

Unit: TypeAlias = Literal["example", "owner"]
Relation: TypeAlias = Literal["add-remove", "zero-out", "replace-one"]
Law: TypeAlias = Literal["gaussian", "discrete-gaussian", "skellam"]
Place: TypeAlias = Literal["owner", "shared", "server"]
Deviation: TypeAlias = Literal["semi-honest", "malicious"]


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise on a Signal: its law, who adds it, and its variance per coordinate, in the units of the Signal.

    | place  | who adds it                                   | `variance` is that of   |
    |--------|-----------------------------------------------|-------------------------|
    | owner  | each owner, in full                           | one contribution        |
    | shared | every owner its share; only the sum suffices  | one share               |
    | server | the server, once, on the sum                  | the sum                 |
    """

    law: Law
    place: Place
    variance: float
    block: str = "vector"


@dataclass(frozen=True, slots=True)
class Masks:
    """What hides single contributions: only the sum is readable to such a server with up to so many colluding owners."""

    adversary: Deviation
    colluders: int


@dataclass(frozen=True, slots=True)
class Signal:
    """What is known of one owner's contribution: a vector of `dim` numbers.

    `unit`           whose presence the sensitivity speaks of
    `sensitivity`    largest L2 norm by which one unit can move a contribution (one unit present or absent; the
                     accountant doubles it for replace-one), in real units or, where `scale` is set, in integers
    `bound`          largest L2 norm of a whole contribution, same units
    `scale`          lattice step: real value = integer · scale; None while the vector is real
    `ring`           b: the integers are kept mod 2^b
    `rounding_variance`  variance per coordinate and contribution that stochastic rounding added, in integers squared
    `noise`          all noise so far
    `masked`         what makes only the sum over the cohort readable to whoever receives it; None where nothing does
    `least`, `most`  fewest and most contributions that a sum of one round can hold
    `expected`       mean number of contributions a round: the public denominator; None where nobody said
    `peak`           largest magnitude of one coordinate of a contribution, save with probability 2⁻⁶⁰ a coordinate over
                     public randomness (a rotation); at most `bound`, and only ever used to size the ring
    `side`           how many of the last coordinates are not the update (a quantile bit), so must not be clipped again
    `measured`       how many of these are what the owner measured of the model that it received
    `examples`       public number of examples that an owner is taken to have; None where contributions do not count examples
    `prior`          event of one participation that the solver already carries (DP-SGD); the rest is post-processing
    `delta_extra`    total variation η between the noise of one release and the law that is accounted (samplers, continuous
                     limits); an (ε, δ) claim then holds with δ + (1 + e^ε)·η
    `correlation`    how the server's noise depends on that of earlier rounds; None where rounds are independent
    `inflation`      sensitivity over its value before rounding, for the reports
    """

    dim: int
    unit: Unit
    sensitivity: float = math.inf
    bound: float = math.inf
    scale: float | None = None
    ring: int | None = None
    rounding_variance: float = 0.0
    noise: tuple[Noise, ...] = ()
    masked: Masks | None = None
    least: int = 1
    most: int = 1
    prior: Event | None = None
    delta_extra: float = 0.0
    inflation: float = 1.0
    expected: float | None = None
    peak: float = math.inf
    side: int = 0
    measured: int = 0
    examples: float | None = None
    correlation: Correlation | None = None

    @property
    def reach(self) -> float:
        """Largest magnitude of one coordinate of a contribution: what the ring must hold per contribution."""
        return min(self.bound, self.peak)

    @property
    def l1(self) -> float:
        """Largest L1 norm by which one unit moves an integer contribution: min(√d·Δ₂, Δ₂²) (PRIVACY.md 4)."""
        return min(math.sqrt(self.dim) * self.sensitivity, self.sensitivity**2)
