"""Examples: what is refused, and that neither a subset nor a message gives data away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.examples import DataError, Examples, validated


@given(st.lists(st.integers(0, 4), max_size=9))
def test_a_subset_is_the_rows_at_its_indices(indices: list[int]) -> None:
    examples = Examples.of(np.arange(10.0).reshape(5, 2), np.arange(5), np.arange(5) * 10)
    part = examples.subset(indices)
    assert len(part) == len(indices)
    assert part.targets.tolist() == indices
    assert part.inputs[:, 0].tolist() == [2.0 * index for index in indices]
    assert part.groups is not None
    assert part.groups.tolist() == [10 * index for index in indices]


def test_a_subset_shares_no_memory() -> None:
    examples = Examples.of([[1.0], [2.0]], [0, 1])
    part = examples.subset(torch.tensor([0, 1]))
    part.inputs.zero_()
    assert examples.inputs.tolist() == [[1.0], [2.0]]


def test_of_shares_no_memory_with_an_array() -> None:
    array = np.ones((2, 1), dtype=np.float32)
    examples = Examples.of(array, [0, 1])
    array[:] = 7
    assert examples.inputs.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.ones(2), torch.float32),
        (np.ones(2, dtype=np.float16), torch.float32),
        (np.ones(2, dtype=np.uint16), torch.int64),
        (np.array([True, False]), torch.int64),
        (torch.ones(2, dtype=torch.float64), torch.float32),
        (torch.ones(2, dtype=torch.uint8), torch.int64),
        ([1, 2], torch.int64),
    ],
)
def test_numbers_become_float32_or_int64(values: object, dtype: torch.dtype) -> None:
    assert Examples.of(values, [0, 1]).inputs.dtype == dtype


@pytest.mark.parametrize("values", [["a", "b"], np.array([1j, 2j]), torch.ones(2, dtype=torch.complex64)])
def test_what_is_not_a_number_is_refused(values: object) -> None:
    with pytest.raises(DataError, match="inputs hold"):
        Examples.of(values, [0, 1])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 inputs but 3 targets"):
        Examples.of([1.0, 2.0], [0, 1, 2])


def test_wrong_dtypes_shapes_and_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"torch.float64.*Examples.of"):
        Examples(torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match="a single number"):
        Examples.of(1.0, 2)
    with pytest.raises(DataError, match="one int64 per example"):
        Examples.of([1.0, 2.0], [0, 1], [0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_value_that_is_not_finite_is_named_by_row_and_column(value: float) -> None:
    inputs = np.ones((4, 3))
    inputs[2, 1] = value
    with pytest.raises(DataError, match=r"ward: inputs, example 2, column \[1\]"):
        validated(Examples.of(inputs, np.zeros(4)), "ward")


def test_no_examples_may_be_held_but_not_loaded() -> None:
    empty = Examples.of(np.zeros((3, 2)), [0, 1, 2]).subset([])
    assert len(empty) == 0
    with pytest.raises(DataError, match="no examples"):
        validated(empty, "ward")


def test_a_repr_shows_shapes_and_no_data() -> None:
    assert repr(Examples.of([[123.5]], [77])) == "Examples(inputs=[1, 1], targets=[1])"
