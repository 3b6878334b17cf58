"""Shares: the fewest honest owners carry the noise that the multiplier names."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.pipeline import PipelineError, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.shares import deviation_of, share_variance
from tacit.privacy.stages.skellam import Skellam


def test_a_share_is_sized_by_the_floor() -> None:
    signal = Signal(4, "owner", sensitivity=100.0, least=8, most=20)
    assert 8 * share_variance(signal, 1.5) == pytest.approx(150.0**2)


@given(st.floats(1e-6, 1e18))
def test_rounding_takes_no_noise_away(variance: float) -> None:
    assert Fraction(deviation_of(variance)) ** 2 >= Fraction(variance)


@pytest.mark.parametrize("kind", [DiscreteGaussian, Skellam])
def test_declaration(kind: type) -> None:
    source = Signal(50, "owner", least=4, most=6)
    final = pipeline(source, [Clip(1.0), Encode(20), kind(2.0)]).final
    (noise,) = final.noise
    assert noise.place == "shared"
    assert math.sqrt(4 * noise.variance) == pytest.approx(2.0 * final.sensitivity)
    assert 0 < final.delta_extra < 2.0**-90
    assert not pipeline(source, [Clip(1.0), Encode(20), kind(0.0)]).final.noise


def test_a_variance_beyond_the_sampler_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"skellam: variance .*; encode with fewer bits"):
        pipeline(Signal(50, "owner", least=1, most=1), [Clip(1.0), Encode(40), Skellam(2.0)])
