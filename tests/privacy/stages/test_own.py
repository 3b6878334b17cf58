"""Own Gaussian: every owner's full noise."""

import pytest
import torch
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.own import OwnGaussian
from tacit.privacy.updates import Dense


def test_every_owner_adds_the_noise_that_the_multiplier_names() -> None:
    line = pipeline(Signal(20_000, "example", sensitivity=0.5, least=3, most=3), [OwnGaussian(4.0)])
    surroundings = Env(SeededEntropy(1), 1, owner_ids=(7, 8, 9))
    sent = line.send(Dense(torch.zeros(3, 20_000)), surroundings).dense().to(torch.float64) * line.final.scale
    assert sent.std(dim=1).tolist() == pytest.approx([4.0 * 0.5] * 3, rel=0.03)
    assert abs(float(torch.corrcoef(sent)[0, 1])) < 0.05
    assert float(
        line.receive(line.send(Dense(torch.zeros(3, 20_000)), surroundings).total(), surroundings).total.std()
    ) == (pytest.approx(4.0 * 0.5 * 3**0.5, rel=0.03))


def test_no_multiplier_no_noise() -> None:
    line = pipeline(Signal(4, "example", sensitivity=1.0), [OwnGaussian(0.0)])
    assert not line.final.noise
    assert not line.send(Dense(torch.zeros(1, 4)), Env(SeededEntropy(1), 1, owner_ids=(0,))).dense().any()
