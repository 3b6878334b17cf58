"""Outer: clipped sums at example level for many owners at once, most of them without any example's gradient.

One example's gradient of a Linear layer is the outer product e xᵀ of the error at its output and its input (with e itself
for the bias), so its norm is known without it (Goodfellow 2015, arXiv 1510.01799), and so is the clipped sum:

    ‖∇ℓᵢ‖² = Σ_layers ‖eᵢ‖²(‖xᵢ‖² + 1),      Σᵢ clip(∇ℓᵢ) = (f ∘ E)ᵀX,   fᵢ = min(1, C/‖∇ℓᵢ‖)

Layers whose gradients are no outer products give them as they are (`Rows`). `local.py` cuts every example off to the grid
before it sums; here the sum is rounded once. What that may add is taken from the clipping norm first (`ball.py`), so that one
example still moves the sum of integers by at most C, exactly.

| grid | up to    | sums in | by how much they err, twice, as rounding does: it moves a sum by at most √d/2 steps          |
|------|----------|---------|----------------------------------------------------------------------------------------------|
| ≤ 24 | b = 44   | float32 | (b + 2)·2⁻²⁴·Σ‖clip(∇ℓᵢ)‖ ≤ 44·46·2⁻²⁴·C in norm, any order of addition: 2⁻¹²·C for both      |
| any  | b = 4096 | float64 | b²·2⁻²⁵ ≤ ½ step a coordinate: √d steps for both                                              |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .alias import Words
from .ball import Ball
from .compiled import Loops, loops
from .local import LocalError, longest
from .noise import gaussian_parts, in_short_parts

MOST_EXAMPLES = 1 << 12
_FEW = 44  # examples whose sum is exact enough in float32
_COMPILED = 1 << 7  # numbers from which a compiled loop takes lengths
_LONG = 64  # numbers from which their length is taken in two steps


@dataclass(frozen=True, slots=True)
class Outer:
    """What passed one Linear layer: `inputs` `[k, b, in]` and `errors` `[k, b, out]` of b examples of each of k owners.

    `weight` and `bias` are places in the vector, None for what does not train.
    """

    weight: slice | None
    bias: slice | None
    inputs: Tensor
    errors: Tensor

    @property
    def numbers(self) -> int:
        """How many coordinates it has."""
        return sum(place.stop - place.start for place in (self.weight, self.bias) if place is not None)

    def squares(self) -> Tensor:
        """‖∇ℓᵢ‖² in this layer, `[k, b]` float64."""
        reach = _squares(self.inputs) if self.weight is not None else torch.zeros_like(_squares(self.errors))
        return _squares(self.errors).mul_(reach if self.bias is None else reach.add_(1))

    def add(self, factors: Tensor, into: Tensor, kept: int) -> None:
        """Add Σᵢ factors·∇ℓᵢ to `into` `[k, d]`, in the numbers that it has; `kept` = 0 forgets what was there."""
        weighted = factors[:, :, None] * self.errors
        if self.weight is not None:
            shape = (len(into), self.errors.shape[2], self.inputs.shape[2])
            place = into[:, self.weight].view(shape)
            place.baddbmm_(weighted.transpose(1, 2), self.inputs.to(into.dtype), beta=kept)
        if self.bias is not None:
            _put(into[:, self.bias], weighted.sum(dim=1), kept)

    def without(self, rows: Tensor) -> Outer:
        """With zeros for the examples that `rows` `[k, b]` marks, whatever they held."""
        gone = rows[:, :, None]
        return Outer(self.weight, self.bias, self.inputs.masked_fill(gone, 0), self.errors.masked_fill(gone, 0))


@dataclass(frozen=True, slots=True)
class Rows:
    """Gradients of one layer as they are, `[k, b, m]` in any order; `placed(sums [k, m])` says where they belong."""

    values: Tensor
    placed: Callable[[Tensor], Iterator[tuple[slice, Tensor]]]

    @property
    def numbers(self) -> int:
        """How many coordinates it has."""
        return self.values.shape[2]

    def squares(self) -> Tensor:
        """‖∇ℓᵢ‖² in this layer, `[k, b]` float64."""
        return _squares(self.values)

    def add(self, factors: Tensor, into: Tensor, kept: int) -> None:
        """Add Σᵢ factors·∇ℓᵢ to `into` `[k, d]`, in the numbers that it has; `kept` = 0 forgets what was there."""
        sums = torch.bmm(factors[:, None], self.values.to(into.dtype)).squeeze(1)
        for place, part in self.placed(sums):
            _put(into[:, place], part, kept)

    def without(self, rows: Tensor) -> Rows:
        """With zeros for the examples that `rows` `[k, b]` marks, whatever they held."""
        return Rows(self.values.masked_fill(rows[:, :, None], 0), self.placed)


Part: TypeAlias = Outer | Rows


@dataclass(frozen=True, slots=True)
class Sums:
    """Clipped sums of k owners in steps of a grid; what can be had of them are whole numbers, or these with their noise.

    They are rounded where they are used, a piece at a time: while it is in the cache.
    """

    _values: Tensor = field(repr=False)
    whole: torch.dtype  # int64, or int32 where it holds them

    def __len__(self) -> int:
        return len(self._values)

    def piece(self, owner: int, place: slice) -> Tensor:
        """Σᵢ clip(∇ℓᵢ, C) of one owner in these coordinates."""
        return self._values[owner, place].round().to(self.whole)

    def loops(self, sigma: float) -> Loops | None:
        """What `step` runs with, where it may be taken with noise of this σ."""
        fit = self.whole == torch.int32 and self._values.device.type == "cpu" and sigma > 0 and in_short_parts(sigma)
        return loops() if fit else None

    def step(self, owner: int, sigma: float, words: Words, motion: Motion, loops: Loops) -> None:
        """A step of descent along the sum of one owner and discrete Gaussian noise of σ, both in steps of the grid: rounded,
        noised and moved along in one pass. The draws are those of `add_discrete_gaussians`.
        """
        sums, moves = self._values[owner].numpy(), motion
        for place, drawn in gaussian_parts(words, sigma, len(sums)):
            parts = sums[place], drawn.coarse[0], drawn.fine[0]
            ways = moves.start[place], moves.update[place], moves.after[place]
            loops.stepped(*parts, drawn.bits, moves.rate, moves.kept, *ways)


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a step along g goes: kept·update − rate·g into `update` `[d]`, `kept` being 0 or 1, and start + update into
    `after`, `[d]` or empty.
    """

    rate: float
    kept: int
    start: NDArray[np.float32]
    update: NDArray[np.float32]
    after: NDArray[np.float32]


def clipped_sums(pieces: Iterable[Sequence[Part]], count: int, examples: int, dim: int, ball: Ball) -> Sums:
    """Σᵢ clip(∇ℓᵢ, C) of each of `count` owners, `[count, dim]`, in steps of the ball's grid.

    Each piece is every layer's part for some of the examples, of which an owner has at most `examples` in all pieces together;
    rows of zeros add nothing. An example that is not finite counts as zero. Raises `LocalError` for more examples than are
    added exactly enough, a vector too long for its grid, and a coordinate that is in no part: nothing would be known of it.
    """
    if examples > MOST_EXAMPLES:
        raise LocalError(f"{examples} examples in one clipped sum; up to {MOST_EXAMPLES} are added exactly enough")
    limit, narrow = longest(ball, dim), ball.narrow and examples <= _FEW
    real, whole = (torch.float32, torch.int32) if narrow else (torch.float64, torch.int64)
    sums: Tensor | None = None
    for parts in pieces:
        if sum(part.numbers for part in parts) != dim:
            raise LocalError(f"the layers have {sum(part.numbers for part in parts)} of a vector's {dim} numbers")
        squares = torch.stack([part.squares() for part in parts]).sum(dim=0)
        first = sums is None
        if sums is None:
            sums = torch.empty(count, dim, dtype=real, device=squares.device)
        _add(parts, squares, limit, ball, sums, 0 if first else 1)
    return Sums(torch.zeros(count, dim, dtype=real) if sums is None else sums, whole)


def _add(parts: Sequence[Part], squares: Tensor, limit: float, ball: Ball, sums: Tensor, kept: int) -> None:
    finite = torch.isfinite(squares)
    factors = torch.clamp(limit / squares.sqrt(), max=ball.radius / ball.norm)  # to numbers of steps
    if not bool(finite.all()):  # zero times what is not finite would not be zero
        factors = factors.masked_fill(~finite, 0)
        parts = [part.without(~finite) for part in parts]
    factors = factors.to(sums.dtype)
    for part in parts:
        part.add(factors, sums, kept)


def _put(place: Tensor, values: Tensor, kept: int) -> None:
    if kept:
        place.add_(values)
    else:
        place.copy_(values)


def _squares(rows: Tensor) -> Tensor:
    """Squared lengths `[k, b]` float64 of `[k, b, n]`, too short by at most 18·2⁻²⁴ of them.

    Long ones by a compiled loop, in float64. Without one sixteen numbers at a time in float32, which is ten times as fast as
    torch in float64; that where float32 is too narrow.
    """
    compiled = loops() if rows.shape[2] >= _COMPILED and rows.device.type == "cpu" else None
    if compiled is not None:
        out = torch.empty(rows.shape[:2], dtype=torch.float64)
        compiled.lengths(rows.flatten(0, 1).contiguous().numpy(), out.flatten().numpy())
        return out
    n = rows.shape[2] - rows.shape[2] % 16
    if n >= _LONG:
        short = torch.linalg.vector_norm(rows[:, :, :n].reshape(*rows.shape[:2], -1, 16), dim=3)
        found: Tensor = torch.linalg.vector_norm(short, dim=2, dtype=torch.float64).square_()
        if n < rows.shape[2]:
            found += torch.linalg.vector_norm(rows[:, :, n:], dim=2, dtype=torch.float64).square_()
        if bool(torch.isfinite(found).all()):
            return found
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=2, dtype=torch.float64)
    return lengths.square_()
