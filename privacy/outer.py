"""Outer: the clipped sum at example level for Linear layers, from what passed them, no example's gradient ever formed.

One example's gradient of a Linear layer is the outer product e xᵀ of the error at its output and its input (with e itself
for the bias), so its norm is known without it (Goodfellow 2015, arXiv 1510.01799), and so is the clipped sum:

    ‖∇ℓᵢ‖² = Σ_layers ‖eᵢ‖²(‖xᵢ‖² + 1),      Σᵢ clip(∇ℓᵢ) = (f ∘ E)ᵀX,   fᵢ = min(1, C/‖∇ℓᵢ‖)

Of other layers the gradients are formed (`Rows`). `local.py` cuts every example off to the grid before it sums; here the sum
is rounded once. What that may add is taken from the clipping norm first, so that one example still moves the sum of integers
by at most C, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from .local import GRID_BITS, LocalError
from .noise import PIECE

MOST_EXAMPLES = 1 << 12  # in one sum: float64 then errs by less than half a step a coordinate
_SLACK = 1 - 2.0**-20
_BLOCK = (
    8 * PIECE
)  # numbers of sums formed at once: 2 MiB, a few owners' where vectors are short, so that calls are few


class Part(Protocol):
    """What a layer has of the gradients of b examples of each of k owners, in float64."""

    @property
    def width(self) -> int:
        """How many numbers of the vector are of this part."""
        ...

    def wide(self) -> Self:
        """The same in float64."""
        ...

    def squares(self) -> Tensor:
        """Its share in every example's squared norm, `[k, b]`."""
        ...

    def without(self, gone: Tensor) -> Self:
        """The same with zeros for the examples `gone` `[k, b]`."""
        ...

    def sums(self, some: slice, factors: Tensor, columns: slice, out: Tensor) -> None:
        """Σᵢ factorsᵢ·gradientᵢ of the owners `some`, by `factors` `[m, b]`, where it has a part in `columns` of the vector.

        `out` `[m, columns]` holds these columns; the others' are left as they are.
        """
        ...


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
    def width(self) -> int:
        return sum(place.stop - place.start for place in (self.weight, self.bias) if place is not None)

    def wide(self) -> Outer:
        return replace(self, inputs=self.inputs.to(torch.float64), errors=self.errors.to(torch.float64))

    def squares(self) -> Tensor:
        errors = self.errors.square().sum(dim=2)
        reach = torch.zeros_like(errors) if self.weight is None else self.inputs.square().sum(dim=2)
        return errors * (reach if self.bias is None else reach + 1)

    def without(self, gone: Tensor) -> Outer:
        inputs, errors = (each.masked_fill(gone[:, :, None], 0) for each in (self.inputs, self.errors))
        return replace(self, inputs=inputs, errors=errors)

    def sums(self, some: slice, factors: Tensor, columns: slice, out: Tensor) -> None:
        if self.bias is not None and (both := _overlap(self.bias, columns)):
            mine, theirs = both
            errors = self.errors[some, :, mine]
            out[:, theirs] = torch.bmm(factors[:, None], errors)[:, 0]
        if self.weight is not None and (both := _overlap(self.weight, columns)):
            mine, theirs = both
            inputs = self.inputs[some]
            width = inputs.shape[2]
            rows = slice(mine.start // width, -(-mine.stop // width))  # of the weight, cut ones whole
            weighted = (self.errors[some, :, rows] * factors[:, :, None]).transpose(1, 2)
            if mine.start % width == 0 == mine.stop % width:
                torch.bmm(weighted, inputs, out=out[:, theirs].view(len(out), -1, width))
            else:
                first = mine.start - rows.start * width
                out[:, theirs] = torch.bmm(weighted, inputs).flatten(1)[:, first : first + mine.stop - mine.start]


@dataclass(frozen=True, slots=True)
class Rows:
    """Gradients that are formed, of b examples of each of k owners: columns of `values` `[k, b, m]` fill `places` in turn."""

    places: tuple[slice, ...]
    values: Tensor

    @property
    def width(self) -> int:
        return self.values.shape[2]

    def wide(self) -> Rows:
        return replace(self, values=self.values.to(torch.float64))

    def squares(self) -> Tensor:
        return self.values.square().sum(dim=2)

    def without(self, gone: Tensor) -> Rows:
        return replace(self, values=self.values.masked_fill(gone[:, :, None], 0))

    def sums(self, some: slice, factors: Tensor, columns: slice, out: Tensor) -> None:
        first = 0
        for place in self.places:
            if both := _overlap(place, columns):
                mine, theirs = both
                values = self.values[some, :, first + mine.start : first + mine.stop]
                out[:, theirs] = torch.bmm(factors[:, None], values)[:, 0]
            first += place.stop - place.start


@dataclass(frozen=True, slots=True)
class ClippedSums:
    """Σᵢ clip(∇ℓᵢ, C) of k owners, formed a few owners at a time: Σᵢ factorsᵢ·∇ℓᵢ, rounded to whole numbers of steps.

    `factors` `[k, b]` are in steps; examples that are not finite have zeros in all `parts`.
    """

    parts: tuple[Part, ...]
    factors: Tensor
    dim: int

    def __len__(self) -> int:
        return len(self.factors)

    def blocks(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Owners, columns and their sums `[m, columns]` float64, in the cache: to be written over at will until the next block.

        An owner's columns come in their order; cuts between them stand at multiples of `noise.PIECE`.
        """
        width = min(self.dim, _BLOCK)
        rows = max(1, min(len(self), _BLOCK // self.dim))
        room = torch.zeros(rows, width, dtype=torch.float64, device=self.factors.device)
        filled = sum(part.width for part in self.parts) == self.dim
        for first in range(0, len(self), rows):
            some = slice(first, min(first + rows, len(self)))
            for start in range(0, self.dim, width):
                columns = slice(start, min(start + width, self.dim))
                out = room[: some.stop - first, : columns.stop - start]
                if not filled:
                    out.zero_()
                for part in self.parts:
                    part.sums(some, self.factors[some], columns, out)
                yield some, columns, out.round_()


def clipped_sums(parts: Sequence[Part], dim: int, norm: float) -> ClippedSums:
    """Σᵢ clip(∇ℓᵢ, C) of each owner in steps of `local.step(norm)`; rows with zero errors add nothing.

    Sensitivity: with s = C·2⁻²⁸ every summand is at most C·(1 − 2⁻²⁰) − 2s√d long. Rounding the exact sums with and without
    it to whole steps parts them by at most s√d more, and float64 sums of up to `MOST_EXAMPLES` such numbers err by less
    than b²·2⁻²⁵ ≤ ½ step a coordinate on either side: s√d again. An example that is not finite counts as zero. Raises
    `LocalError` for more examples, or a vector too long for its grid.
    """
    whole = 2.0**GRID_BITS
    longest = whole * _SLACK - 2 * math.sqrt(dim)
    if longest < whole / 2:
        raise LocalError(f"a vector of {dim} numbers is too long for a grid of {GRID_BITS} bits")
    wide = [part.wide() for part in parts]
    squares = torch.stack([part.squares() for part in wide]).sum(dim=0)
    examples = squares.shape[1]
    if examples > MOST_EXAMPLES:
        raise LocalError(f"{examples} examples in one clipped sum; up to {MOST_EXAMPLES} are added exactly enough")
    factors = torch.clamp(longest / squares.sqrt(), max=whole / norm)  # to numbers of steps
    gone = ~torch.isfinite(squares)
    if gone.any():  # zero times what is not finite would not be zero
        factors[gone] = 0
        wide = [part.without(gone) for part in wide]
    return ClippedSums(tuple(wide), factors, dim)


def no_sums(count: int, dim: int) -> ClippedSums:
    """The sums of owners without examples: zeros."""
    return ClippedSums((), torch.zeros(count, 0, dtype=torch.float64), dim)


def _overlap(place: slice, columns: slice) -> tuple[slice, slice] | None:
    """What of `place` lies in `columns`, counted from the start of either; None where nothing does."""
    first, last = max(place.start, columns.start), min(place.stop, columns.stop)
    if first >= last:
        return None
    return slice(first - place.start, last - place.start), slice(first - columns.start, last - columns.start)
