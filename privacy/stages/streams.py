"""Streams: the randomness of k owners, each from its own, so that a batch draws what the owners would draw alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import Stream
from ..pipeline import Env, PipelineError


def owner_streams(env: Env, purpose: str, count: int) -> list[Stream]:
    """One stream for each of the `count` contributions of a batch; raises `PipelineError` where owners are not named."""
    if len(env.owner_ids) != count:
        raise PipelineError(
            f"{purpose}: {count} contributions of {len(env.owner_ids)} owners; give Env one owner_id per contribution"
        )
    return [env.entropy.stream(purpose, env.round, owner=owner, attempt=env.attempt) for owner in env.owner_ids]


def drawn(env: Env, purpose: str, count: int, draw: Callable[[Stream], NDArray[np.int64]]) -> Tensor:
    """`draw` of every owner's stream, stacked `[count, d]`."""
    rows = [torch.from_numpy(draw(stream)) for stream in owner_streams(env, purpose, count)]
    return torch.stack(rows) if rows else torch.zeros((0, 0), dtype=torch.int64)
