"""Central Gaussian: noise once, by the server, on the sum."""

import pytest
import torch
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, PipelineError, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.lattice import STEPS
from tacit.privacy.updates import Dense


def env(round: int = 1, attempt: int = 0) -> Env:
    return Env(SeededEntropy(4), round, attempt, owner_ids=(0, 1))


def test_the_multiplier_is_relative_to_the_clip() -> None:
    line = pipeline(Signal(50_000, "owner", most=2), [Clip(0.7), CentralGaussian(2.0)])
    noise = line.receive(line.empty(), env()).total
    assert float(noise.std()) == pytest.approx(2.0 * 0.7, rel=0.02)


def test_every_released_value_is_on_the_public_grid() -> None:
    line = pipeline(Signal(100, "owner", most=2), [Clip(float(2.0**-4)), CentralGaussian(0.01)])
    total = line.receive(line.send(Dense(torch.randn(2, 100)), env()).total(), env()).total
    steps = total.to(torch.float64) / line.final.scale
    assert line.final.scale == 2.0**-4 / STEPS
    assert torch.equal(steps, steps.round())


def test_rounds_and_attempts_draw_fresh_noise() -> None:
    line = pipeline(Signal(8, "owner"), [Clip(1.0), CentralGaussian(1.0)])
    drawn = [line.receive(line.empty(), env(round, attempt)).total for round in (1, 2) for attempt in (0, 1)]
    assert len({tuple(each.tolist()) for each in drawn}) == 4


def test_a_ring_does_not_change_what_is_released() -> None:
    plain = pipeline(Signal(16, "owner", most=2), [Clip(1.0), CentralGaussian(1.0)])
    ring = pipeline(Signal(16, "owner", most=2), [Clip(1.0), CentralGaussian(1.0), Encode(bits=34)])
    values = Dense(torch.randn(2, 16))
    opened = [line.receive(line.send(values, env()).total(), env()).total for line in (plain, ring)]
    assert torch.equal(*opened)


def test_calibrate_has_to_be_solved_first() -> None:
    with pytest.raises(PipelineError, match="not solved yet; give a budget"):
        pipeline(Signal(4, "owner"), [Clip(1.0), CentralGaussian("calibrate")])
