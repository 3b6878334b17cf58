"""Updates: a batch of k contributions of d numbers, dense or as what they were made of.

The fast engines carry factors (see `factors.py`) through clipping and summing without ever forming the vectors; everything
else is `Dense`. A stage that needs the numbers asks for `dense()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, Protocol

import torch
from torch import Tensor


class UpdatesError(TypeError):
    """Single contributions were asked of what holds their sum alone."""


class Updates(Protocol):
    """k contributions that are clipped, scaled and summed."""

    def __len__(self) -> int:
        """k."""
        ...

    def norms(self) -> Tensor:
        """L2 norms, `[k]` float64; NaN or infinite where a contribution is."""
        ...

    def scaled(self, factors: Tensor) -> Updates:
        """Contribution i times `factors[i]`; a factor 0 gives the zero vector, whatever it held."""
        ...

    def total(self) -> Tensor:
        """The sum, `[d]`."""
        ...

    def dense(self) -> Tensor:
        """The vectors, `[k, d]`."""
        ...


@dataclass(frozen=True, slots=True)
class Dense:
    """Contributions as one tensor `[k, d]`: float32 reals or int64 integers."""

    values: Tensor

    def __post_init__(self) -> None:
        if self.values.dim() != 2:
            raise ValueError(f"updates are [k, d]; found shape {tuple(self.values.shape)}; add the batch dimension")

    def __len__(self) -> int:
        return self.values.shape[0]

    def norms(self) -> Tensor:
        values = self.values if self.values.is_floating_point() else self.values.to(torch.float64)
        norms: Tensor = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64)
        return norms

    def scaled(self, factors: Tensor) -> Dense:
        values = self.values * factors.to(self.values.dtype)[:, None]
        values[factors == 0] = 0
        return Dense(values)

    def total(self) -> Tensor:
        return self.values.sum(dim=0)

    def dense(self) -> Tensor:
        return self.values


@dataclass(frozen=True, slots=True)
class Total:
    """The sum `[d]` of `count` contributions that exist no more: nothing but `total()` can be asked of it.

    Raises `UpdatesError` for whatever concerns a single contribution.
    """

    values: Tensor
    count: int

    def __len__(self) -> int:
        return self.count

    def norms(self) -> Tensor:
        self._refuse()

    def scaled(self, factors: Tensor) -> Total:
        self._refuse()

    def total(self) -> Tensor:
        return self.values

    def dense(self) -> Tensor:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UpdatesError(
            f"only the sum of these {self.count} contributions is held; form them before the stage that sums them "
            "(Dense(updates.dense()))"
        )
