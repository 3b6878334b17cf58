"""Digits: the public split and an owner's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tacit.tasks.digits import PIXELS, contrast, digits
from tacit.tasks.examples import DataError
from tacit.tasks.task import TaskError


def test_the_public_split_is_1438_and_359_of_all_labels() -> None:
    task = digits()
    assert (task.unit_count, len(task.testing())) == (1438, 359)
    assert torch.bincount(task.testing().targets).tolist() == pytest.approx([35.9] * 10, abs=1.5)


def test_no_image_is_in_both_halves() -> None:
    task = digits(model="mlp")
    rows = torch.cat([task.training().inputs, task.testing().inputs])
    bundle = contrast(torch.from_numpy(load_digits().images).float() / 16).flatten(1)
    assert sorted(row.tolist() for row in rows) == sorted(row.tolist() for row in bundle)


@pytest.mark.parametrize(("model", "shape"), [("softmax", (128,)), ("mlp", (64,)), ("cnn", (1, 8, 8))])
def test_an_owners_files_give_what_the_bundle_gives(tmp_path: Path, model: str, shape: tuple[int, ...]) -> None:
    task = digits(model=model)
    bundle = load_digits()
    rows = np.c_[bundle.data, bundle.target][:20].astype(int)
    header = ",".join([*PIXELS, "target"])
    np.savetxt(tmp_path / "a.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    np.savez(tmp_path / "a.npz", inputs=bundle.images[:20], targets=bundle.target[:20])
    table, archive = (task.load(f"{kind}:{tmp_path / 'a'}.{kind}") for kind in ("csv", "npz"))
    assert tuple(table.inputs.shape[1:]) == shape
    assert torch.equal(table.inputs, archive.inputs)
    assert torch.equal(table.targets, archive.targets)
    whole = torch.cat([task.training().inputs, task.testing().inputs])
    assert all(bool((whole == row).flatten(1).all(dim=1).any()) for row in table.inputs)


def test_another_scale_shape_or_class_is_refused(tmp_path: Path) -> None:
    def load(inputs: np.ndarray, targets: np.ndarray) -> None:
        np.savez(tmp_path / "a.npz", inputs=inputs, targets=targets)
        digits().load(f"npz:{tmp_path / 'a.npz'}")

    with pytest.raises(DataError, match=r"image 0 .* outside 0\.\.16"):
        load(np.full((1, 64), 255.0), np.zeros(1))
    with pytest.raises(DataError, match="give 64 pixels or 8×8"):
        load(np.ones((1, 28, 28)), np.zeros(1))
    with pytest.raises(DataError, match=r"a\.npz: the target of example 1 .* no class of 0\.\.9"):
        load(np.ones((2, 64)), np.array([9, 10]))
    with pytest.raises(DataError, match=r"no class of 0\.\.9"):
        load(np.ones((2, 64)), np.array([9, -100]))


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(TaskError, match="model = 'resnet' is unknown; give one of softmax, mlp, cnn"):
        digits(model="resnet")
