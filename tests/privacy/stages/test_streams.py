"""Streams: one per owner."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tacit.privacy.entropy import SeededEntropy, Stream
from tacit.privacy.pipeline import Env, PipelineError
from tacit.privacy.stages.streams import drawn, owner_streams


def words(streams: list[Stream], count: int) -> NDArray[np.int64]:
    return np.stack([stream.words(count).astype(np.int64) for stream in streams])


def test_rows_belong_to_owners_not_to_places() -> None:
    def rows(*owners: int) -> list[list[int]]:
        env = Env(SeededEntropy(0), 2, owner_ids=owners)
        return drawn(env, "x", (len(owners), 3), words).tolist()

    assert rows(4, 9) == [*rows(4), *rows(9)]
    assert rows(9, 4) == rows(4, 9)[::-1]


def test_every_contribution_needs_an_owner() -> None:
    with pytest.raises(PipelineError, match="2 contributions of 1 owners; give Env one owner_id"):
        owner_streams(Env(SeededEntropy(0), 1, owner_ids=(3,)), "x", 2)
