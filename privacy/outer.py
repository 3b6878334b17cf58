"""Outer: the clipped sum at example level for Linear layers, from what passed them, no example's gradient ever formed.

One example's gradient of a Linear layer is the outer product e xᵀ of the error at its output and its input (with e itself
for the bias), so its norm is known without it (Goodfellow 2015, arXiv 1510.01799), and so is the clipped sum:

    ‖∇ℓᵢ‖² = Σ_layers ‖eᵢ‖²(‖xᵢ‖² + 1),      Σᵢ clip(∇ℓᵢ) = (f ∘ E)ᵀX,   fᵢ = min(1, C/‖∇ℓᵢ‖)

`local.py` cuts every example off to the grid before it sums; here the sum is rounded once. What that may add is taken from
the clipping norm first, so that one example still moves the sum of integers by at most C, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .local import GRID_BITS, LocalError

MOST_EXAMPLES = 1 << 12  # in one sum: float64 then errs by less than half a step a coordinate
_SLACK = 1 - 2.0**-20


@dataclass(frozen=True, slots=True)
class Outer:
    """What passed one Linear layer: `inputs` `[k, b, in]` and `errors` `[k, b, out]` of b examples of each of k owners.

    `weight` and `bias` are places in the vector, None for what does not train.
    """

    weight: slice | None
    bias: slice | None
    inputs: Tensor
    errors: Tensor


def clipped_sums(layers: Sequence[Outer], dim: int, norm: float) -> Tensor:
    """Σᵢ clip(∇ℓᵢ, C) of each owner, int64 `[k, dim]` in steps of `local.step(norm)`; rows with zero errors add nothing.

    Sensitivity: with s = C·2⁻²⁸ every summand is at most C·(1 − 2⁻²⁰) − 2s√d long. Rounding the exact sums with and without
    it to whole steps parts them by at most s√d more, and float64 sums of up to `MOST_EXAMPLES` such numbers err by less
    than b²·2⁻²⁵ ≤ ½ step a coordinate on either side: s√d again. An example that is not finite counts as zero. Raises
    `LocalError` for more examples, or a vector too long for its grid.
    """
    count, examples = layers[0].errors.shape[:2]
    whole = 2.0**GRID_BITS
    longest = whole * _SLACK - 2 * math.sqrt(dim)
    if examples > MOST_EXAMPLES:
        raise LocalError(f"{examples} examples in one clipped sum; up to {MOST_EXAMPLES} are added exactly enough")
    if longest < whole / 2:
        raise LocalError(f"a vector of {dim} numbers is too long for a grid of {GRID_BITS} bits")
    wide = [(layer.inputs.to(torch.float64), layer.errors.to(torch.float64)) for layer in layers]
    squares = torch.zeros(count, examples, dtype=torch.float64)
    for layer, (inputs, errors) in zip(layers, wide, strict=True):
        reach = inputs.square().sum(dim=2) if layer.weight is not None else torch.zeros_like(squares)
        if layer.bias is not None:
            reach = reach + 1
        squares += errors.square().sum(dim=2) * reach
    finite = torch.isfinite(squares)
    factors = torch.clamp(longest / squares.sqrt(), max=whole / norm)  # to numbers of steps
    factors[~finite] = 0
    sums = torch.zeros(count, dim, dtype=torch.int64)
    for layer, (inputs, errors) in zip(layers, wide, strict=True):
        weighted = errors * factors[:, :, None]
        if not finite.all():  # zero times what is not finite would not be zero
            weighted[~finite] = 0
            inputs = inputs.masked_fill(~finite[:, :, None], 0)
        if layer.weight is not None:
            product = torch.bmm(weighted.transpose(1, 2), inputs)
            sums[:, layer.weight] = product.round_().flatten(1).to(torch.int64)
        if layer.bias is not None:
            sums[:, layer.bias] = weighted.sum(dim=1).round_().to(torch.int64)
    return sums
