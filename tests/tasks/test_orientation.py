"""Orientation features: laws of invariance, and each direction in its own bin."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.orientation import orientation_features


def images(seed: int, count: int = 3) -> torch.Tensor:
    return torch.rand(count, 8, 8, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 999))
def test_features_have_zero_mean_and_unit_norm(seed: int) -> None:
    features = orientation_features(images(seed))
    assert features.shape == (3, 128)
    assert features.dtype == torch.float32
    assert torch.allclose(features.mean(dim=1), torch.zeros(3), atol=1e-6)
    assert torch.allclose(features.norm(dim=1), torch.ones(3), atol=1e-6)


@given(st.integers(0, 999), st.floats(0.01, 100))
def test_contrast_does_not_matter(seed: int, factor: float) -> None:
    assert torch.allclose(orientation_features(images(seed) * factor), orientation_features(images(seed)), atol=1e-5)


@given(st.integers(0, 999))
def test_an_image_is_treated_alone(seed: int) -> None:
    several = images(seed, 5)
    alone = torch.cat([orientation_features(image.unsqueeze(0)) for image in several])
    assert torch.equal(orientation_features(several), alone)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_moves_cells_and_shifts_directions_by_two_bins(turns: int) -> None:
    image = images(4, 1)
    grid = orientation_features(image).reshape(4, 4, 8)
    turned = orientation_features(image.rot90(turns, dims=(1, 2))).reshape(4, 4, 8)
    # A turn counterclockwise on a screen, where y points down, takes 45° times two from each direction.
    assert torch.allclose(turned, grid.rot90(turns, dims=(0, 1)).roll(-2 * turns, dims=2), atol=1e-6)


def test_edges_are_signed() -> None:
    rising = torch.zeros(1, 8, 8)
    rising[:, :, 4:] = 1
    inner = orientation_features(rising).reshape(4, 4, 8)[1, 1:3]
    falling = orientation_features(1 - rising).reshape(4, 4, 8)[1, 1:3]
    assert inner[:, 0].min() > 0.1  # 0°: brighter to the right
    assert falling[:, 4].min() > 0.1  # 180°
    assert inner[:, 4].max() < 0


def test_a_blank_image_gives_zeros() -> None:
    assert not orientation_features(torch.zeros(2, 8, 8)).any()
