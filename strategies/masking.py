"""Masking: what both sides of a masked round derive from its request, so that they can only mean the same.

The context of secure aggregation binds everything that decides what is summed: run, round and attempt, the recipe with its
task and the version of its code, the model that is trained, the cohort and the keys of its members (PRIVACY.md 16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor

from ..privacy.pipeline import Pipeline
from ..privacy.secagg.messages import context
from ..privacy.secagg.parameters import ParameterError, Parameters, choose
from .messages import Request

_TASK = b"tacit masked task 1\0"


def parameters_of(line: Pipeline, members: int) -> Parameters:
    """The numbers of secure aggregation for a round of `line` with so many members.

    Raises `ParameterError` where none are sound: too few members or survivors, too many colluders, or no mask at all.
    """
    final = line.final
    if final.masked is None or final.ring is None:
        raise ParameterError("the pipeline has no mask; put mask last")
    masks = final.masked
    return choose(members, final.least, masks.colluders, final.ring, final.dim, masks.adversary)


def context_of(request: Request, keys: Mapping[int, bytes], parameters: Parameters) -> bytes:
    """The context of a request's attempt, 32 bytes; `keys` are the signing keys of its cohort, by wire number.

    Raises `ParameterError` for a request without a cohort.
    """
    if request.cohort is None:
        raise ParameterError("the request names no cohort, and the pipeline has a mask; ask with one")
    return context(
        run=request.run, round=request.round, attempt=request.attempt, task=_task(request),
        roster=bytes.fromhex(request.cohort.roster), cohort=keys, parameters=parameters,
    )  # fmt: skip


def _task(request: Request) -> bytes:
    """SHA-256 over everything in a request that decides what an owner computes."""
    parts = (bytes.fromhex(request.recipe.digest()), _digest(request.weights), _digest(request.broadcast))
    return hashlib.sha256(_TASK + b"".join(parts)).digest()


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(tensor.detach().contiguous().cpu().numpy().tobytes()).digest()
