"""Losses: one number per example, equal to the library's own, with a gradient for each example."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.losses import binary_cross_entropy, cross_entropy, squared_error


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 99), st.integers(0, 6), st.integers(2, 5))
def test_they_equal_the_library_per_example(seed: int, batch: int, classes: int) -> None:
    logits = 5 * torch.randn(batch, classes, generator=generator(seed))
    targets = torch.randint(classes, (batch,), generator=generator(seed + 1))
    assert torch.allclose(cross_entropy(logits, targets), F.cross_entropy(logits, targets, reduction="none"))
    signs = targets.clamp(max=1)
    wanted = F.binary_cross_entropy_with_logits(logits[:, 0].double(), signs.double(), reduction="none").float()
    assert torch.allclose(binary_cross_entropy(logits[:, 0], signs), wanted)
    assert torch.allclose(binary_cross_entropy(logits[:, :1], signs), wanted)
    assert torch.allclose(squared_error(logits, logits.roll(1, -1)), (logits - logits.roll(1, -1)).square().mean(1))
    assert torch.equal(squared_error(logits[:, :1], targets.float()), (logits[:, 0] - targets).square())
    assert torch.equal(squared_error(logits[:, 0], targets.float()), (logits[:, 0] - targets).square())


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 5))
def test_positions_are_averaged_within_an_example(seed: int, batch: int, length: int) -> None:
    logits = torch.randn(batch, length, 7, generator=generator(seed))
    targets = torch.randint(7, (batch, length), generator=generator(seed + 1))
    wanted = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1)
    assert torch.allclose(cross_entropy(logits, targets), wanted)


def test_large_logits_overflow_nothing() -> None:
    assert cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1])).tolist() == [2e4]
    assert binary_cross_entropy(torch.tensor([1e4, -1e4]), torch.tensor([0, 1])).tolist() == [1e4, 1e4]


@pytest.mark.parametrize("target", [-100, -1, 3])
def test_a_class_that_does_not_exist_is_never_ignored(target: int) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        cross_entropy(torch.zeros(1, 3), torch.tensor([target]))
