"""Canaries: what an audit inserts, as conspicuous as a contribution or an example can be.

Crafted updates are for owners: mutually orthogonal, so that no canary stands in another's way, and a hundred times as long as
a clip allows, so that one that is not clipped shows. Strange examples are for both units: noise with a label of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...privacy.entropy import Entropy
from ...tasks.examples import Examples

TOO_LONG = 100.0  # times the clipping norm
_LOUD = 4.0  # times the spread of the inputs


class AuditError(RuntimeError):
    """An audit that would say nothing, or that cannot be made; names the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class Crafted:
    """m orthogonal directions of `dim` numbers: canary i is ±1/√w on w = ⌊dim/m⌋ coordinates that are its own."""

    dim: int
    places: NDArray[np.int64] = field(repr=False)  # [m, w]
    signs: NDArray[np.float32] = field(repr=False)  # [m, w]

    @property
    def count(self) -> int:
        """m."""
        return len(self.places)

    def vectors(self, canaries: NDArray[np.int64], length: NDArray[np.float64]) -> Tensor:
        """The updates of these canaries, each so long `[k]`: `[k, dim]` float32."""
        rows = torch.zeros(len(canaries), self.dim)
        values = self.signs[canaries] * (length[:, None] / math.sqrt(self.places.shape[1]))
        rows.scatter_(1, torch.from_numpy(self.places[canaries]), torch.from_numpy(values.astype(np.float32)))
        return rows

    def along(self, total: Tensor) -> NDArray[np.float64]:
        """The products of a sum `[dim]` with all directions, `[m]`."""
        held = total.to(torch.float64).numpy()[self.places] * self.signs
        found: NDArray[np.float64] = held.sum(axis=1) / math.sqrt(self.places.shape[1])
        return found


def crafted(count: int, dim: int, entropy: Entropy) -> Crafted:
    """`count` directions in random places; raises `AuditError` where a model has fewer numbers."""
    if not 2 <= count <= dim:
        raise AuditError(f"{count} canaries for updates of {dim} numbers; give --canaries from 2 to {dim}")
    rng = entropy.stream("audit directions").generator()
    width = dim // count
    places = rng.permutation(dim)[: count * width].reshape(count, width).astype(np.int64)
    signs = (2.0 * rng.integers(2, size=(count, width)) - 1).astype(np.float32)
    return Crafted(dim, places, signs)


def strange(like: Examples, count: int, entropy: Entropy) -> Examples:
    """`count` examples of the kind of `like` that nobody would expect: loud noise as inputs, targets at random.

    Real inputs are Gaussian at four times the spread of all inputs; symbols are uniform over the range that occurs. Targets are
    those of random examples.
    """
    rng = entropy.stream("audit examples").generator()
    shape = (count, *like.inputs.shape[1:])
    if like.inputs.dtype == torch.int64:
        low, high = int(like.inputs.min()), int(like.inputs.max())
        inputs = torch.from_numpy(rng.integers(low, high + 1, size=shape))
    else:
        spread = float(like.inputs.to(torch.float64).square().mean().sqrt()) or 1.0
        inputs = torch.from_numpy(rng.normal(scale=_LOUD * spread, size=shape).astype(np.float32))
    targets = like.targets[torch.from_numpy(rng.integers(len(like), size=count))]
    return Examples(inputs, targets)


def coins(count: int, entropy: Entropy) -> NDArray[np.bool_]:
    """A fair coin for each canary: whether it is in."""
    return (entropy.stream("audit coins").words(count) & np.uint64(1)).astype(np.bool_)


def joined(first: Examples, second: Examples) -> Examples:
    """The examples of both, without groups."""
    inputs, targets = torch.cat((first.inputs, second.inputs)), torch.cat((first.targets, second.targets))
    return Examples(inputs, targets)
