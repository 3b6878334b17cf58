"""Solvers at example level: what one example can move is bounded, whoever its owner is.

Both clip every example's own gradient (privacy/local.py) and divide by a public number, never by the true number of
examples, which is private (PRIVACY.md 5 and 6).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..privacy.ball import Ball, ball_for
from ..privacy.entropy import Stream
from ..privacy.event import Event, Gaussian, NonPrivate, Poisson
from ..privacy.local import LocalError, check_layers, noised, noised_pieces
from ..privacy.participation import repeated
from ..privacy.signal import Signal
from ..privacy.stages import lattice
from .local import SolverError, Streams, demand

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner

NoiseMultiplier: TypeAlias = float | Literal["calibrate"]

_HEADROOM = 4.0
_MOST_EXAMPLES = 1 << 17


@dataclass(frozen=True, slots=True)
class ClippedGradient:
    """One clipped gradient sum, −Σᵢ clip(∇ℓᵢ, norm)/denominator over all of the owner's examples: one step of descent.

    `denominator` is a public number of examples per owner. One example moves the update by at most norm/denominator. The noise
    comes from a later stage: each owner's own, or shares of one noise under masks (PRIVACY.md 5).

    The whole update is kept within 4·norm, which takes an owner with more than four times `denominator` examples to reach;
    a projection moves no two sums further apart. So it has a bound for the ring, and its rounding to float32, at most
    2⁻²⁴·4·norm on either side, is made room for by clipping to norm·(1 − denominator·2⁻²¹).
    """

    norm: float
    denominator: float

    def __post_init__(self) -> None:
        _check_clip("clipped-gradient", self.norm, self.denominator)

    def declare(self, dim: int, least: int, most: int) -> Signal:
        return Signal(
            dim,
            "example",
            sensitivity=self.norm / self.denominator,
            bound=_HEADROOM * self.norm,
            least=least,
            most=most,
            examples=self.denominator,
        )

    def check(self, module: nn.Module) -> None:
        _check_layers("clipped-gradient", module)

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        _refuse_correction("clipped-gradient", correction)
        return self.update_of(learner.clipped_sum(start, examples, self.ball))

    @property
    def ball(self) -> Ball:
        """What every example's gradient is clipped to; on the finest grid, as no noise covers the rounding yet."""
        return Ball(self.norm * (1 - self.denominator * 2.0**-21))

    def update_of(self, total: Tensor) -> Tensor:
        """The update `[d]` of a sum of clipped gradients, int64 `[d]` in steps of `ball`."""
        total = total.to(torch.float64)
        length = float(total.square().sum().sqrt())
        longest = _HEADROOM * self.denominator * self.ball.radius
        factor = min(1.0, longest / length) if length > 0 else 1.0
        return (total * (-factor * self.ball.step / self.denominator)).to(torch.float32)


@dataclass(frozen=True, slots=True)
class DpSgd:
    """DP-SGD inside the owner (Abadi et al. 2016, arXiv 1607.00133, Algorithm 1): its update is private when it is made.

    Each of `steps` steps draws every example with probability `rate`, in secret and independently (an empty draw still adds
    noise), and moves by −lr·(Σ clip(∇ℓᵢ, norm) + N(0, (noise_multiplier·norm)² I))/denominator, with heavy-ball `momentum`.
    `denominator` is a public number: the expected batch, `rate` times the usual number of examples per owner.
    """

    norm: float
    noise_multiplier: NoiseMultiplier
    rate: float
    denominator: float
    steps: int = 1
    lr: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_clip("dp-sgd", self.norm, self.denominator)
        z = self.noise_multiplier
        demand(
            z == "calibrate" if isinstance(z, str) else 0 <= z < math.inf, "dp-sgd", "noise_multiplier", z,
            'give a finite number of at least 0, or "calibrate"',
        )  # fmt: skip
        demand(0 < self.rate <= 1, "dp-sgd", "rate", self.rate, "give a probability above 0 and up to 1")
        demand(self.steps >= 1, "dp-sgd", "steps", self.steps, "give at least 1")
        demand(0 < self.lr < math.inf, "dp-sgd", "lr", self.lr, "give a finite number above 0")
        demand(0 <= self.momentum < 1, "dp-sgd", "momentum", self.momentum, "give a number from 0 to below 1")

    def declare(self, dim: int, least: int, most: int) -> Signal:
        """A Signal that carries its event: `steps` times a Poisson-sampled Gaussian, whatever comes after.

        Noise on the grid is accounted as continuous; the total variation between them, over all steps, is `delta_extra`.
        Raises `SolverError` while the noise is still to be calibrated.
        """
        z = self._noise()
        signal = Signal(dim, "example", least=least, most=most)
        if z == 0:
            return dataclasses.replace(signal, prior=NonPrivate("dp-sgd with noise_multiplier = 0"))
        event: Event = Gaussian(z) if self.rate == 1 else Poisson(self.rate, Gaussian(z))
        ball = self.ball(dim)
        steps = float(ball.radius)
        grid = Signal(dim, "example", sensitivity=steps, bound=steps, scale=ball.step)
        distance = lattice.noised("dp-sgd", grid, z, "owner").delta_extra
        return dataclasses.replace(signal, prior=repeated(event, self.steps), delta_extra=self.steps * distance)

    def check(self, module: nn.Module) -> None:
        _check_layers("dp-sgd", module)

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        _refuse_correction("dp-sgd", correction)
        update, velocity, ball = torch.zeros_like(start), torch.zeros_like(start), self.ball(len(start))
        for t in range(self.steps):
            batch = examples.subset(self.sampled(len(examples), streams, t))
            gradient = self.gradient(learner.clipped_sum(start + update, batch, ball), streams, t)
            velocity.mul_(self.momentum).add_(gradient)
            update.sub_(velocity, alpha=self.lr)
        return update

    def sampled(self, count: int, streams: Streams, t: int) -> NDArray[np.int64]:
        """Which of `count` examples step t draws."""
        # Words of 53 bits below ⌊rate·2⁵³⌋: drawn with a probability of at most `rate`, by less than 2⁻⁵³.
        words = streams(f"sample/{t}").words(count) >> np.uint64(11)
        return np.flatnonzero(words < np.uint64(math.floor(math.ldexp(self.rate, 53)))).astype(np.int64)

    def ball(self, dim: int) -> Ball:
        """What every example's gradient is clipped to, and the grid of sums and noise."""
        return ball_for(self.norm, self._noise(), dim)

    def gradient(self, total: Tensor, streams: Streams, t: int) -> Tensor:
        """What step t descends along, `[d]`: a sum of clipped gradients, in steps of `ball(d)`, and its noise, over
        `denominator`.
        """
        return noised(total, self.ball(len(total)), self._noise(), self.noise(streams, t), 1 / self.denominator)

    def gradient_pieces(
        self, total: Callable[[slice], Tensor], dim: int, streams: Streams, t: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """`gradient` in whole numbers of `unit(dim)`, one place in the vector after the other, of the sum whose coordinates
        `total` gives.
        """
        return noised_pieces(total, dim, self.ball(dim), self._noise(), self.noise(streams, t))

    def noise(self, streams: Streams, t: int) -> Stream:
        """Where step t draws its noise from."""
        return streams(f"noise/{t}")

    def sigma(self, dim: int) -> float:
        """The noise's σ in steps of the grid."""
        return self.ball(dim).sigma(self._noise())

    def unit(self, dim: int) -> float:
        """What a step of the grid is in a gradient."""
        return self.ball(dim).step / self.denominator

    def _noise(self) -> float:
        if isinstance(self.noise_multiplier, str):
            raise SolverError(
                'noise_multiplier = "calibrate" (dp-sgd): it is not solved yet; give a budget (epsilon, delta) or a number'
            )
        return float(self.noise_multiplier)


def _check_clip(solver: str, norm: float, denominator: float) -> None:
    demand(1e-12 <= norm <= 1e12, solver, "norm", norm, "give a number from 1e-12 to 1e12")
    demand(
        0 < denominator <= _MOST_EXAMPLES, solver, "denominator", denominator,
        f"give a public number of examples, above 0 and up to {_MOST_EXAMPLES}",
    )  # fmt: skip


def _check_layers(solver: str, module: nn.Module) -> None:
    try:
        check_layers(module)
    except LocalError as error:
        raise SolverError(f'local.use = "{solver}": {error}') from error


def _refuse_correction(solver: str, correction: Tensor | None) -> None:
    if correction is not None:
        raise SolverError(
            f"{solver} takes no control variates: they carry examples from round to round outside the bound; use fedavg"
        )
