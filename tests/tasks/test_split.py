"""Split: a partition into two halves, stratified, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.split import stratified_split


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=60), share=st.floats(0, 1), split=st.integers(0, 5))
def test_the_halves_share_nothing_miss_nothing_and_keep_the_labels(labels: list[int], share: float, split: int) -> None:
    test = min(max(1, int(share * len(labels))), len(labels) - 1)
    first, second = stratified_split(labels, test, "x", split)
    assert len(second) == test
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label in set(labels):
        exact = labels.count(label) * test / len(labels)
        assert abs(sum(labels[index] == label for index in second) - exact) < 1


def test_another_name_or_number_is_another_split() -> None:
    labels = np.arange(100) % 2
    splits = [tuple(stratified_split(labels, 20, name, k)[1]) for name in ("a", "b") for k in range(3)]
    assert len(set(splits)) == 6


def test_the_split_never_changes() -> None:
    # Written down when it was first made: published accuracies rest on it.
    assert stratified_split([0, 1] * 10, 6, "digits", 0)[1].tolist() == [0, 1, 6, 10, 13, 19]


def test_impossible_splits_are_refused() -> None:
    for test in (0, 5, -1):
        with pytest.raises(ValueError, match=rf"test = {test} of 5"):
            stratified_split([0] * 5, test, "x", 0)
    with pytest.raises(ValueError, match="split = -1"):
        stratified_split([0] * 5, 2, "x", -1)
