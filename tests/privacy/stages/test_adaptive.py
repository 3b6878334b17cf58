"""Adaptive clip: the quantile bit rides in the same vector and the norm follows it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, PipelineError, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.adaptive import AdaptiveClip
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.updates import Dense


def source(expected: float | None = 40.0, unit: str = "owner") -> Signal:
    return Signal(6, unit, least=1, most=100, expected=expected)


def env(count: int, round: int = 1) -> Env:
    return Env(SeededEntropy(2), round, owner_ids=tuple(range(count)))


@given(st.floats(0.1, 20), st.floats(0.01, 10), st.floats(1e-3, 1e3))
def test_the_joint_noise_is_that_of_the_paper(noise_multiplier: float, bit_weight: float, norm: float) -> None:
    """z_Δ = (z⁻² − (2σ_b)⁻²)^(−½): Andrew et al. 2021, Theorem 1, with σ_b the bit's noise in owners."""
    stage = AdaptiveClip(norm, bit_weight=bit_weight)
    sigma = noise_multiplier * stage.declare(source()).sensitivity
    sigma_bit = sigma / (bit_weight * norm)
    assert (noise_multiplier**-2 - (2 * sigma_bit) ** -2) ** -0.5 == pytest.approx(sigma / norm, rel=1e-6)


def test_the_bit_is_centred_and_of_the_declared_weight() -> None:
    stage = AdaptiveClip(1.0, bit_weight=0.5)
    rows = torch.tensor([[0.1, 0, 0, 0, 0, 0], [5.0, 0, 0, 0, 0, 0], [math.nan, 0, 0, 0, 0, 0]])
    sent = stage.send(Dense(rows), source(), env(3)).dense()
    assert sent[:, -1].tolist() == pytest.approx([0.25, -0.25, -0.25], rel=2e-6)
    assert sent[1, 0] == pytest.approx(1.0, rel=2e-6)
    assert not sent[2, :-1].any()


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_the_norm_settles_at_the_quantile(quantile: float) -> None:
    lengths = torch.linspace(0.05, 2.0, 40)
    values = torch.zeros(40, 6)
    values[:, 0] = lengths
    stages = [AdaptiveClip(20.0, quantile=quantile, learning_rate=0.3), CentralGaussian(0.05)]
    line = pipeline(source(), stages)
    state = line.initial()
    for round in range(1, 60):
        now = line.at(state)
        opened = now.receive(now.send(Dense(values), env(40, round)).total(), env(40, round))
        state = line.learn(state, opened)
    assert float((lengths <= state[0][0]).float().mean()) == pytest.approx(quantile, abs=0.15)


@pytest.mark.parametrize(
    ("bits", "factor"), [(20.0, math.exp(-0.1)), (-20.0, math.exp(0.1)), (0.0, 1.0), (1e9, math.exp(-0.1))]
)
def test_one_step_of_the_geometric_update(bits: float, factor: float) -> None:
    """All below the norm: fraction 1, the norm shrinks by e^(−η/2); all above, it grows; noise alone leaves it."""
    stage = AdaptiveClip(2.0)
    total = torch.zeros(7)
    total[-1] = bits * 0.2 * 3.0  # weight of the bit at the state's norm, not at the first one's
    ((norm,)) = stage.learn((3.0,), total, source())
    assert norm == pytest.approx(3.0 * factor, rel=1e-5)


def test_the_norm_stays_in_the_range_that_clip_accepts() -> None:
    stage, state = AdaptiveClip(1.0, learning_rate=5.0), (1.0,)
    for direction in (1.0, -1.0):
        for _ in range(100):
            total = torch.zeros(7)
            total[-1] = direction * 1e30
            state = stage.learn(state, total, source())
        assert 2.0**-40 <= stage.at(state).norm <= 2.0**40


def test_the_round_carries_the_state_not_the_first_norm() -> None:
    line = pipeline(source(), [AdaptiveClip(1.0), CentralGaussian(1.0)])
    now = line.at(((0.25,), ()))
    assert now.stages[0] == AdaptiveClip(0.25)
    assert now.final.scale == pytest.approx(line.final.scale / 4)
    assert now.final.noise == line.final.noise  # the same event whatever the norm


def test_it_needs_owners_and_a_public_denominator() -> None:
    with pytest.raises(PipelineError, match="unit is an example"):
        AdaptiveClip(1.0).declare(source(unit="example"))
    with pytest.raises(PipelineError, match="expects; give the source Signal"):
        AdaptiveClip(1.0).learn((1.0,), torch.zeros(7), source(expected=None))


@pytest.mark.parametrize(
    "field",
    [{"quantile": 0.0}, {"quantile": 1.5}, {"learning_rate": math.nan}, {"bit_weight": 11.0}, {"bit_weight": True}],
)
def test_impossible_fields_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(PipelineError, match=f"{next(iter(field))} = .*; give"):
        AdaptiveClip(1.0, **field)
