"""Encode: unbiased rounding, a norm that is never exceeded, and a ring that is large enough or refused."""

import contextlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, PipelineError, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages import encode
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.ring import centred
from tacit.privacy.updates import Dense


def owner(dim: int, bound: float = 1.0, most: int = 4) -> Signal:
    return Signal(dim, "owner", sensitivity=bound, bound=bound, peak=bound, least=most, most=most)


def env(count: int, seed: int = 0) -> Env:
    return Env(SeededEntropy(seed), 1, owner_ids=tuple(range(count)))


@pytest.mark.parametrize("value", [0.3, -0.3, 2.5, -7.01, 4.0])
def test_rounding_is_unbiased_with_the_declared_variance(value: float) -> None:
    stage, signal = Encode(bits=40, step=1.0), owner(40_000, bound=1e5)
    sent = centred(stage.send(Dense(torch.full((1, 40_000), value)), signal, env(1)).dense(), 40).to(torch.float64)
    assert set(sent.flatten().tolist()) <= {math.floor(value), math.ceil(value)}
    assert float(sent.mean()) == pytest.approx(value, abs=5.5 * 0.5 / 200)
    assert float((sent - value).square().mean()) <= stage.declare(signal).rounding_variance + 0.01


@given(st.integers(1, 10**7), st.integers(3, 40))
def test_the_inflated_norm_is_the_papers(dim: int, power: int) -> None:
    """Kairouz, Liu, Steinke 2021: Δ₂² = min{(c+√d)², c²+d/4+√(2 ln 1/β)(c+√d/2)} at β = e^(−½), whole numbers below it."""
    step = 2.0**-power if power <= 28 else 2.0**-28
    signal, c, root = owner(dim, most=1), 1 / step, math.sqrt(dim)
    found = Encode(bits=62, step=step).declare(signal)
    squared = min((c + root) ** 2, c**2 + dim / 4 + math.sqrt(2 * math.log(math.e**0.5)) * (c + root / 2))
    assert found.sensitivity**2 == pytest.approx(math.floor(squared), rel=1e-12)
    assert found.bound == found.sensitivity
    assert found.inflation == pytest.approx(found.sensitivity * step)


@settings(max_examples=50)
@given(st.integers(1, 64), st.floats(0.02, 1.0), st.integers(0, 20))
def test_a_vector_on_its_bound_is_rounded_within_the_norm(dim: int, step: float, seed: int) -> None:
    """Coarse steps, where rounding up everything would be far too long: re-rounded, in the end towards zero."""
    stage, signal = Encode(bits=40, step=step), owner(dim)
    values = torch.full((1, dim), (1 - 1e-6) / math.sqrt(dim))
    sent = centred(stage.send(Dense(values), signal, env(1, seed)).dense(), 40)
    assert int(sent.square().sum()) <= round(stage.declare(signal).sensitivity ** 2)
    assert bool((sent >= 0).all())


def test_truncation_is_the_last_resort() -> None:
    """d = 1, c = 1.5 allows a norm of 2 only below 1.5²+¼+1.5+½ = 4.5; at 1.9 steps in c = 1.9 it allows 2, at c = 1.2 not."""
    stage = Encode(bits=20, step=1.0)
    rounded = {
        bound: {
            int(stage.send(Dense(torch.tensor([[bound * 0.999]])), owner(1, bound), env(1, seed)).dense())
            for seed in range(40)
        }
        for bound in (1.9, 1.2)
    }
    assert rounded == {1.9: {1, 2}, 1.2: {1}}


class Unlucky:
    """Always rounds away from the floor."""

    def fill(self, view: memoryview, count: int) -> None:
        view[:count] = b"\xff" * count


def test_rounding_that_never_fits_ends_towards_zero() -> None:
    scaled = torch.tensor([[1.5, -1.5], [0.2, 0.0]], dtype=torch.float64)
    found = encode._shortened(torch.tensor([[2.0, -2.0], [0.0, 0.0]], dtype=torch.float64), scaled, [Unlucky()] * 2, 4)
    assert found.tolist() == [[1, -1], [0, 0]]


@pytest.mark.parametrize("unit", ["owner", "example"])
def test_what_broke_its_bound_becomes_the_zero_vector(unit: str) -> None:
    """As clip would have it, also where an engine forgot the clip: only the vector that broke it, in any unit."""
    signal = Signal(2, unit, sensitivity=1.0, bound=1.0, peak=1.0, least=4, most=4)
    values = torch.tensor([[math.nan, 0.1], [0.1, math.inf], [3e38, 0.1], [0.25, 0.25]])
    sent = centred(Encode(bits=24, step=2.0**-10).send(Dense(values), signal, env(4)).dense(), 24)
    assert sent.tolist() == [[0, 0], [0, 0], [0, 0], [256, 256]]


def test_examples_are_charged_for_rounding_their_sum() -> None:
    signal = Signal(10_000, "example", sensitivity=0.5, bound=2.0, peak=2.0, most=4)
    found = Encode(bits=40, step=0.001).declare(signal)
    assert found.sensitivity == pytest.approx(500 + 100, rel=1e-3)
    assert found.sensitivity >= 600
    assert found.bound >= 2000 + 100


@given(st.integers(8, 40), st.integers(1, 2000), st.integers(1, 10**6), st.floats(1e-6, 1e6))
def test_the_step_that_is_chosen_fits_and_the_bits_that_a_refusal_names_do_too(
    bits: int, most: int, dim: int, norm: float
) -> None:
    signal = Clip(norm).declare(Signal(dim, "owner", least=most, most=most))
    try:
        found = Encode(bits).declare(signal)
    except PipelineError as refusal:
        needed = int(str(refusal).split("bits = ")[1].split(",")[0])
        assert needed > bits
        with contextlib.suppress(PipelineError):  # a ring that holds the sum may still be too coarse, and says so
            assert Encode(needed).declare(signal).ring == needed
        if "too small" not in str(refusal):
            assert Encode(needed).declare(signal).inflation <= 2
        return
    total = most * found.reach + 10 * 8 * found.sensitivity + 34  # ten deviations of the noise that has to fit
    assert total < 2 ** (bits - 1)


def test_the_resolution_does_not_depend_on_the_norm() -> None:
    """So that a norm that adapts leaves the event of a round as it is."""
    found = {
        Encode(20).declare(Clip(norm).declare(Signal(1000, "owner", least=3, most=9))).sensitivity
        for norm in (0.1, 0.3, 1.0, 7.77, 1e-5)
    }
    assert len(found) == 1


def test_a_ring_in_which_rounding_outweighs_the_clip_is_refused() -> None:
    signal = Signal(1000, "example", sensitivity=0.01, bound=4.0, peak=4.0, least=5, most=5)
    with pytest.raises(PipelineError, match=r"5\.\d+ times as large; give bits = 18, or a step") as refusal:
        Encode(15).declare(signal)
    assert "bits = 18" in str(refusal.value)
    assert Encode(18).declare(signal).inflation <= 2
    assert Encode(16, step=1e-3).declare(signal).inflation > 2


def test_a_step_of_ones_own_is_refused_with_the_bits_it_needs() -> None:
    with pytest.raises(PipelineError, match="give encode bits = 26"):
        Encode(16, step=1e-6).declare(owner(10, bound=0.3, most=100))
    assert Encode(26, step=1e-6).declare(owner(10, bound=0.3, most=100)).ring == 26
    with pytest.raises(PipelineError, match="below bound/2\\^28; give at least"):
        Encode(62, step=1e-12).declare(owner(10))


def test_noise_that_does_not_fit_is_refused_and_the_remedy_works() -> None:
    line = [Clip(1.0), Encode(20)]
    source = Signal(100, "owner", least=5, most=5)
    with pytest.raises(
        PipelineError, match=r"raise encode's max_noise_multiplier, or with step = .* give it bits = "
    ) as refusal:
        pipeline(source, [*line, DiscreteGaussian(20.0)])
    bits = int(str(refusal.value).rsplit("= ", 1)[1])
    step = float(str(refusal.value).split("with step = ")[1].split()[0])
    pipeline(source, [Clip(1.0), Encode(bits, step=step), DiscreteGaussian(20.0)])
    pipeline(source, [Clip(1.0), Encode(20, max_noise_multiplier=20.0), DiscreteGaussian(20.0)])


def test_a_lattice_is_not_rounded_again() -> None:
    signal = Signal(3, "owner", sensitivity=8.0, bound=8.0, peak=8.0, scale=0.5, most=2)
    stage = Encode(bits=8)
    values = torch.tensor([[1, -2, 7], [0, -3, -8]])
    sent = stage.send(Dense(values), signal, env(0)).dense()
    assert sent.tolist() == [[1, 254, 7], [0, 253, 248]]
    assert stage.receive(sent.sum(dim=0), signal, env(2)).tolist() == [1, -5, -1]
    assert stage.declare(signal).scale == 0.5
    with pytest.raises(PipelineError, match="leave step out"):
        Encode(step=0.1).declare(signal)


@pytest.mark.parametrize(
    "field",
    [{"bits": 1}, {"bits": 63}, {"bits": 20.0}, {"step": 0.0}, {"step": math.inf}, {"max_noise_multiplier": -1.0}],
)
def test_impossible_fields_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(PipelineError, match=f"{next(iter(field))} = .*; give"):
        Encode(**field)
