"""Region: anonymous memory that several processes see, and the tensors in it.

It has no name: whoever holds its descriptor has it, and it is gone with the last process that does, however that ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

_LINE = 64  # bytes: tensors begin where torch's own do, so that products take the same route and give the same bits


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: its first byte, its shape, and the name that NumPy has for its type."""

    first: int
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * np.dtype(self.kind).itemsize


@dataclass(frozen=True, slots=True)
class Region:
    """`size` bytes behind `descriptor`; every tensor taken from it is a view."""

    descriptor: int
    size: int
    _held: mmap.mmap = field(repr=False)

    @classmethod
    def new(cls, size: int) -> Region:
        """Fresh zeros; raises `OSError` (ENOSPC, ENOMEM) where there is no room."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("tacit")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, max(1, size))
        return cls.at(descriptor, max(1, size))

    @classmethod
    def at(cls, descriptor: int, size: int) -> Region:
        """The region that another process made."""
        return cls(descriptor, size, mmap.mmap(descriptor, size))

    def tensor(self, place: Place) -> Tensor:
        """The tensor at `place`, to be read and written."""
        count = prod(place.shape)
        if count == 0:
            return torch.from_numpy(np.empty(place.shape, dtype=place.kind))
        flat = np.frombuffer(self._held, dtype=place.kind, count=count, offset=place.first)
        return torch.from_numpy(flat.reshape(place.shape))

    def close(self) -> None:
        """Give the descriptor back; the memory itself goes with its last tensor."""
        os.close(self.descriptor)


def laid_out(kinds: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> tuple[list[Place], int]:
    """Places for tensors of these shapes and types one behind the other, and the bytes that they take together."""
    places: list[Place] = []
    end = 0
    for shape, dtype in kinds:
        place = Place(-(-end // _LINE) * _LINE, tuple(shape), str(torch.empty(0, dtype=dtype).numpy().dtype))
        places.append(place)
        end = place.first + place.size
    return places, end
