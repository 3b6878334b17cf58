"""Breast cancer: scaling by public constants only, the same for every split and every owner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from tacit.tasks.breast_cancer import MEASURES, RANGES, breast_cancer, scaled
from tacit.tasks.examples import DataError


def test_the_columns_are_those_of_the_published_table() -> None:
    assert list(load_breast_cancer().feature_names) == list(MEASURES)


def test_ranges_are_the_published_ones_rounded_outwards() -> None:
    # scikit-learn prints the description that came with the data in 1995: "radius (mean):   6.981  28.11".
    lines = [line for line in load_breast_cancer().DESCR.splitlines() if "):" in line and line.split()[-1][0].isdigit()]
    published = [tuple(float(number) for number in line.split()[-2:]) for line in lines][:30]
    ours = [ranges[view] for view in range(3) for ranges in RANGES.values()]
    assert len(published) == 30
    for measure, (low, high), (least, most) in zip(MEASURES, ours, published, strict=True):
        assert low <= least, measure
        assert most <= high, measure
        assert high <= 2 * most, measure


@given(st.integers(0, 568), st.integers(0, 568))
def test_a_case_is_scaled_alone_and_within_bounds(first: int, second: int) -> None:
    data = torch.from_numpy(load_breast_cancer().data).float()
    alone, together = scaled(data[first : first + 1]), scaled(data[[first, second]])
    assert torch.equal(alone[0], together[0])
    assert together.abs().max() <= 1


def test_scaling_is_increasing_clips_and_stays_finite_at_zero() -> None:
    low, high = scaled(torch.zeros(1, 30)), scaled(torch.full((1, 30), 1e30))
    assert torch.equal(low, torch.full((1, 30), -1.0))
    assert torch.equal(high, torch.ones(1, 30))
    typical = torch.from_numpy(np.median(load_breast_cancer().data, axis=0, keepdims=True)).float()
    assert bool((scaled(typical * 1.01) > scaled(typical)).all())


def test_scaling_does_not_depend_on_the_split() -> None:
    rows = [breast_cancer(split=split) for split in (0, 1)]
    first, second = (torch.cat([task.training().inputs, task.testing().inputs]) for task in rows)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(dim=0).values, second.sort(dim=0).values)


def test_the_public_split_is_455_and_114_with_the_labels_in_their_share() -> None:
    task = breast_cancer()
    assert (task.unit_count, len(task.testing())) == (455, 114)
    assert int(task.testing().targets.sum()) == round(357 * 114 / 569)


def test_an_owners_table_may_order_its_columns_otherwise(tmp_path: Path) -> None:
    bundle = load_breast_cancer()
    order = np.random.default_rng(0).permutation(30)
    header = ",".join([*(MEASURES[column] for column in order), "target"])
    rows = np.c_[bundle.data[:, order], bundle.target][:9]
    np.savetxt(tmp_path / "w.csv", rows, fmt="%.17g", delimiter=",", header=header, comments="")
    examples = breast_cancer().load(f"csv:{tmp_path / 'w.csv'}")
    assert torch.allclose(examples.inputs, scaled(torch.from_numpy(bundle.data[:9]).float()), atol=1e-6)
    assert examples.targets.tolist() == bundle.target[:9].tolist()


def test_bad_measures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"case 1 .* 'mean texture' is negative"):
        scaled(torch.tensor([[1.0] * 30, [1.0, -1.0] + [1.0] * 28]))
    with pytest.raises(DataError, match="give the 30 measures"):
        scaled(torch.ones(2, 29))
    np.savez(tmp_path / "w.npz", inputs=np.ones((2, 30)), targets=np.array([1, 2]))
    with pytest.raises(DataError, match=r"example 1 .* no class of 0\.\.1"):
        breast_cancer().load(f"npz:{tmp_path / 'w.npz'}")
