"""Remote: what a process of a cluster does with a shard: it trains the groups and adds them up, so that one vector travels.

Everything that comes here is an array or plain data, but the craft, which is unpickled: who can reach the cluster runs code on
it anyway. This module knows nothing of Ray; `cluster.py` hands its functions over.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..client.worker import Plan, agreed
from ..privacy.compiled import compiler
from ..privacy.product import processor
from ..strategies.messages import Recipe
from ..tasks.examples import Examples
from .craft import FAULTS, Craft
from .hand import Kept, Opening, Owners
from .memory import keep_freed_memory
from .population import FlatShares, Population
from .shards import shard_total
from .work import Work

_LINE = 64  # bytes: where torch's own tensors begin, so that products take the same route and give the same bits


@dataclass(frozen=True, slots=True)
class Stamp:
    """What decides the bits of a sum, beside the processor: the code of Tacit, torch's, and Numba's where it is there."""

    version: str
    code: str
    torch: str
    python: str
    numba: str

    def __str__(self) -> str:
        numba = f"Numba {self.numba}" if self.numba else "no Numba"
        return f"Tacit {self.version} (code {self.code}), torch {self.torch}, {numba}, Python {self.python}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What all shards of a run need, put on the cluster once; `key` names it."""

    key: str
    stamp: Stamp = field(compare=False)
    folders: tuple[str, ...] = field(compare=False)
    craft: NDArray[np.uint8] = field(compare=False, repr=False)
    inputs: NDArray[np.generic] = field(compare=False, repr=False)
    targets: NDArray[np.generic] = field(compare=False, repr=False)
    rows: NDArray[np.int64] = field(compare=False, repr=False)
    firsts: NDArray[np.int64] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """What all shards of a round need, put on the cluster once a round."""

    opening: Opening
    weights: NDArray[np.float32] = field(repr=False)
    broadcast: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sum:
    """What became of a shard: its sum, or none where it failed, and what its owners remember now."""

    total: NDArray[np.generic] | None = field(repr=False)
    memories: Kept = field(default_factory=dict, repr=False)


class RemoteError(RuntimeError):
    """This process cannot do the work; says why."""


@dataclass(slots=True)
class Place:
    """A process's place of work: what it trains with, and whom."""

    craft: Craft
    population: Population
    _last: tuple[Recipe, Plan] | None = field(default=None, repr=False)

    def total(self, model: Model, owners: Owners, memories: dict[int, Tensor]) -> Tensor:
        """The sum of a shard; raises what training raises."""
        shard = model.opening.shard(owners, viewed(model.weights), viewed(model.broadcast))
        recipe = model.opening.recipe
        if self._last is None or self._last[0] != recipe:
            self._last = recipe, agreed(shard[0][0], self.craft.learner)
        work = Work(self.population, self.craft.engine, self.craft.learner, self.craft.entropy)
        return shard_total(work, self._last[1], shard, memories)


def reduced(bundle: Bundle, model: Model, owners: Owners, memories: Kept) -> Sum:
    """Train one shard and add it up. A fault of training is not described: who asked meets the same one when it tries itself.

    A function of its arguments alone, so that a shard that is asked for again, after a machine was lost, has the same bits.
    Raises `RemoteError`.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    place = placed(bundle)
    kept = {owner: torch.from_numpy(each.copy()) for owner, each in memories.items()}
    try:
        total = place.total(model, owners, kept)
    except FAULTS:
        return Sum(None)
    return Sum(total.numpy(), {owner: each.numpy() for owner, each in kept.items()})


@lru_cache(maxsize=1)
def placed(bundle: Bundle) -> Place:
    """The place of work for a run, kept for its next shard. Raises `RemoteError`."""
    mine = stamp()
    if mine != bundle.stamp:
        raise RemoteError(f"it has {mine}; this run is of {bundle.stamp}")
    sys.path += [folder for folder in bundle.folders if folder not in sys.path]
    try:
        craft: Craft = pickle.loads(bundle.craft.data)  # noqa: S301  # of the run that this cluster works for
    except FAULTS as fault:
        raise RemoteError(f"{type(fault).__name__}: {fault}") from None
    training = Examples(viewed(bundle.inputs), viewed(bundle.targets))
    return Place(craft, FlatShares(bundle.rows, bundle.firsts).population(training))


def viewed(array: NDArray[np.generic]) -> Tensor:
    """The tensor in an array that nobody writes to; a copy only where it does not begin where torch's own would."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nor does anybody write
        tensor = torch.from_numpy(array)
    return tensor if tensor.data_ptr() % _LINE == 0 else tensor.clone()


@lru_cache(maxsize=1)
def stamp() -> Stamp:
    """That of this process."""
    package = sys.modules[__name__.partition(".")[0]]
    root = Path(str(package.__file__)).resolve().parent
    versions = str(torch.__version__), platform.python_version(), compiler()
    return Stamp(str(package.__version__), code_of(root), *versions)


def code_of(root: Path) -> str:
    """Twelve digits that another line of code in the package at `root` changes."""
    digest = hashlib.sha256()
    for folder, rooms, files in os.walk(root, followlinks=True):
        rooms[:] = sorted(room for room in rooms if (Path(folder) / room / "__init__.py").is_file())
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder) / name
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def told(bundle: Bundle) -> Mapping[str, str]:
    """What a process says of itself before the first round: the kind of its processor, and why it cannot do the work, if so."""
    try:
        placed(bundle)
    except RemoteError as error:
        return {"processor": processor(), "why": str(error)}
    return {"processor": processor(), "why": ""}
