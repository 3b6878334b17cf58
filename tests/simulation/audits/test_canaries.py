"""Canaries: orthogonal directions, examples of the right kind, fair coins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.audits.canaries import AuditError, coins, crafted, strange
from tacit.tasks.examples import Examples


@given(st.integers(2, 40), st.integers(0, 60), st.integers(0, 5))
@settings(max_examples=25)
def test_directions_are_orthonormal(count: int, more: int, seed: int) -> None:
    found = crafted(count, count + more, SeededEntropy(seed))
    rows = found.vectors(np.arange(count), np.ones(count)).to(torch.float64)
    assert torch.allclose(rows @ rows.t(), torch.eye(count, dtype=torch.float64), atol=1e-6)
    weights = torch.arange(1.0, count + 1)
    assert found.along((weights[:, None] * rows).sum(dim=0)) == pytest.approx(weights.numpy(), abs=1e-4)


def test_more_directions_than_numbers_are_refused() -> None:
    with pytest.raises(AuditError, match="from 2 to 5"):
        crafted(6, 5, SeededEntropy(0))


def test_strange_examples_fit_the_model_that_takes_the_usual_ones() -> None:
    real = Examples.of(np.random.default_rng(0).normal(size=(50, 3, 2)), np.arange(50) % 7)
    found = strange(real, 9, SeededEntropy(0))
    assert found.inputs.shape == (9, 3, 2)
    assert found.inputs.dtype == torch.float32
    assert set(found.targets.tolist()) <= set(range(7))
    symbols = Examples.of(np.arange(40).reshape(20, 2), np.arange(20))
    found = strange(symbols, 200, SeededEntropy(0))
    assert found.inputs.dtype == torch.int64
    assert 0 <= int(found.inputs.min()) <= int(found.inputs.max()) <= 39


def test_coins_are_fair() -> None:
    found = coins(20000, SeededEntropy(1))
    assert abs(found.mean() - 0.5) < 6 * 0.5 / np.sqrt(20000)
    assert not np.array_equal(found, coins(20000, SeededEntropy(2)))
