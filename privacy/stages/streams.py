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
    return env.entropy.streams(purpose, env.round, owners=env.owner_ids, attempt=env.attempt)


def drawn(
    env: Env, purpose: str, shape: tuple[int, int], draw: Callable[[list[Stream], int], NDArray[np.int64]]
) -> Tensor:
    """`draw(streams, d)` of all owners' streams: `shape` is (k, d)."""
    return torch.from_numpy(draw(owner_streams(env, purpose, shape[0]), shape[1]))
