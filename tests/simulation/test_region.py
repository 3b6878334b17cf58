"""Regions: tensors come back from shared memory as they went in, aligned, and apart from one another."""

from __future__ import annotations

import os
from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.simulation.region import Region, laid_out

KINDS = st.sampled_from([torch.float32, torch.int64, torch.float64])
SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(st.lists(st.tuples(SHAPES, KINDS), max_size=6))
def test_tensors_come_back_through_the_descriptor_as_they_went_in(
    kinds: list[tuple[tuple[int, ...], torch.dtype]],
) -> None:
    places, size = laid_out(kinds)
    region = Region.new(size)
    given = [torch.randint(-9, 9, shape).to(dtype) for shape, dtype in kinds]
    for each, place in zip(given, places, strict=True):
        region.tensor(place).copy_(each)
    other = Region.at(os.dup(region.descriptor), size or 1)
    for each, place in zip(given, places, strict=True):
        found = other.tensor(place)
        assert found.dtype == each.dtype
        assert torch.equal(found, each)
    region.close()
    other.close()


@given(st.lists(st.tuples(SHAPES, KINDS), min_size=1, max_size=6))
def test_tensors_begin_where_those_of_torch_do(kinds: list[tuple[tuple[int, ...], torch.dtype]]) -> None:
    places, size = laid_out(kinds)
    region = Region.new(size)
    assert all(region.tensor(place).data_ptr() % 64 == 0 for place in places if place.size)
    assert all(one.first + one.size <= two.first for one, two in pairwise(places))
    region.close()
