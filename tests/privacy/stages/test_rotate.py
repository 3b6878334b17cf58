"""Rotate: an isometry that owners and server share, and that spreads."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as hadamard_matrix
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, PipelineError
from tacit.privacy.signal import Signal
from tacit.privacy.stages.rotate import Rotate, hadamard
from tacit.privacy.updates import Dense


def env(round: int = 1, seed: int = 0) -> Env:
    return Env(SeededEntropy(seed), round, owner_ids=(0,))


def owner(dim: int) -> Signal:
    return Signal(dim, "owner", sensitivity=1.0, bound=1.0, peak=1.0)


@pytest.mark.parametrize("size", [2**n for n in range(10)])
def test_the_fast_transform_is_the_hadamard_matrix(size: int) -> None:
    values = torch.randn(3, size, dtype=torch.float64)
    matrix = torch.from_numpy(hadamard_matrix(size).astype(np.float64)) / math.sqrt(size)
    assert torch.allclose(hadamard(values), values @ matrix, atol=1e-12)


@given(st.integers(1, 70), st.integers(0, 9), st.integers(0, 2**63))
def test_there_and_back(dim: int, round: int, seed: int) -> None:
    values = torch.randn(1, dim, generator=torch.Generator().manual_seed(dim))
    stage, signal = Rotate(seed), owner(dim)
    sent = stage.send(Dense(values), signal, env(round)).dense()
    assert sent.shape[1] == stage.declare(signal).dim == 1 << (dim - 1).bit_length()
    assert float(sent.norm()) == pytest.approx(float(values.norm()), rel=1e-5)
    assert torch.allclose(stage.receive(sent[0], signal, env(round, seed=99)), values[0], atol=1e-5)


def test_the_signs_are_public_and_new_in_every_round() -> None:
    values, signal = torch.ones(1, 64), owner(64)

    def sent(seed: int, round: int, private: int) -> list[float]:
        return Rotate(seed).send(Dense(values), signal, env(round, private)).dense()[0].tolist()

    assert sent(1, 1, 0) == sent(1, 1, 5)
    assert sent(1, 1, 0) != sent(1, 2, 0)
    assert sent(1, 1, 0) != sent(2, 1, 0)


def test_a_spike_is_spread_within_the_declared_peak() -> None:
    values, signal = torch.zeros(1, 5000), owner(5000)
    values[0, 17] = 1.0
    declared = Rotate().declare(signal)
    assert declared.peak == pytest.approx(10 / math.sqrt(8192), rel=1e-5)
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(1, 5000, generator=generator)
    for each in (values, dense / dense.norm()):
        assert float(Rotate().send(Dense(each), signal, env()).dense().abs().max()) <= declared.peak


def test_float32_rounding_is_declared() -> None:
    found = Rotate().declare(owner(1000))
    assert 1 + 10 * 2.0**-24 <= found.bound <= 1 + 2.0**-19
    assert found.sensitivity == found.bound
    example = Rotate().declare(Signal(1000, "example", sensitivity=0.01, bound=1.0, peak=1.0))
    assert example.sensitivity - 0.01 == pytest.approx(2 * (found.bound - 1))


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(PipelineError, match=r"seed = 0.5; give a whole number"):
        Rotate(seed=0.5)
