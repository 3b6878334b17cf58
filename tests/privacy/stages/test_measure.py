"""Measure: what owners find of the model rides in the vector of the update, and nothing else is told."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.event import Gaussian
from tacit.privacy.pipeline import Env, Pipeline, PipelineError, Stage, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.adaptive import AdaptiveClip
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.measure import Measure, estimates, forecast, measure_in
from tacit.privacy.stages.own import OwnGaussian
from tacit.privacy.stages.rotate import Rotate
from tacit.privacy.stages.skellam import Skellam
from tacit.privacy.updates import Dense

OWNERS = 40
OWNER = Signal(6, "owner", least=OWNERS, most=OWNERS, expected=float(OWNERS))
EXAMPLE = Signal(6, "example", 0.1, 2.0, least=OWNERS, most=OWNERS, expected=float(OWNERS), examples=20.0)


def env(measures: torch.Tensor | None, round: int = 1) -> Env:
    ids = tuple(range(0 if measures is None else len(measures)))
    return Env(SeededEntropy(2), round, owner_ids=ids, survivors=ids, measures=measures)


def opened(line: Pipeline, measures: torch.Tensor, round: int = 1) -> dict[str, float]:
    """What the server reads, as values."""
    surroundings = env(measures, round)
    sent = line.send(Dense(torch.randn(len(measures), 6)), surroundings)
    found = line.receive(sent.total(), surroundings)
    assert found.total.shape == (6,)
    return {name: each.value for name, each in estimates(line, found, len(measures)).items()}


@given(
    st.floats(0.01, 10), st.floats(1e-3, 1e3), st.sampled_from([("accuracy",), ("loss",), ("accuracy", "loss")]),
    st.sampled_from(["owner", "example"]),
)  # fmt: skip
def test_the_price_is_one_factor_on_the_sensitivity(weight: float, norm: float, of: tuple[str, ...], unit: str) -> None:
    """√(1 + m·weight²/4): an update of length Δ₂ beside m numbers that move by ½·weight·Δ₂ each."""
    line = pipeline(OWNER if unit == "owner" else EXAMPLE, [Clip(norm), Measure(weight, of=of)])
    before, after = line.signals[1:]
    factor = math.sqrt(1 + len(of) * weight**2 / 4)
    assert after.sensitivity == pytest.approx(before.sensitivity * factor)
    assert forecast(line, 10)[0] == pytest.approx(factor)
    assert (after.dim, after.side, after.measured) == (6 + len(of), len(of), len(of))
    assert after.bound >= after.sensitivity * (1 - 1e-12) if unit == "owner" else True
    assert after.peak <= after.bound


@pytest.mark.parametrize("noise", [CentralGaussian(2.0), OwnGaussian(2.0)])
def test_the_event_is_that_of_the_same_noise_without_measures(noise: Stage) -> None:
    """Nothing is charged beside the round's release: its noise grows instead."""
    from tacit.privacy.claim import Observer, event_of

    bare = pipeline(OWNER, [Clip(0.3), noise]).final
    measured = pipeline(OWNER, [Clip(0.3), Measure(0.5), noise]).final
    for signal in (bare, measured):
        event = event_of(signal, Observer("analyst"))
        assert isinstance(event, Gaussian)
        assert event.noise_multiplier == pytest.approx(2.0)
    widened = math.sqrt(measured.noise[0].variance) * (measured.scale or 0)
    assert widened == pytest.approx(0.3 * 2.0 * math.sqrt(1 + 0.5**2 / 2))


@pytest.mark.parametrize(
    "behind", [[], [Rotate()], [CentralGaussian(0.0), Encode(48)], [Rotate(), Encode(40)]], ids=lambda s: str(len(s))
)
@pytest.mark.parametrize(
    "first", [[Clip(0.3)], [AdaptiveClip(0.3)], [Clip(0.3), Rotate(3)]], ids=lambda s: str(s[0])[:8]
)
def test_without_noise_the_server_reads_the_mean(first: list[Stage], behind: list[Stage]) -> None:
    line = pipeline(OWNER, [*first, Measure(0.5, largest_loss=8.0), *behind])
    measures = torch.rand(OWNERS, 2, dtype=torch.float64) - 0.5
    accuracy, loss = (measures.mean(dim=0) + 0.5).tolist()
    assert opened(line, measures) == pytest.approx({"accuracy": accuracy, "loss": 8.0 * loss}, abs=1e-4)


def test_at_example_level_the_sums_are_over_a_public_number_of_examples() -> None:
    """An owner with all of its 20 examples right, one with 10 of 20, one with none at all."""
    line = pipeline(EXAMPLE, [Measure(of=("accuracy",))])
    sums = torch.tensor([[10.0], [0.0], [0.0]])
    (value,) = opened(line, sums).values()
    assert value == pytest.approx((20 + 10 + 10) / 60, abs=1e-4)  # whoever has none counts as ½


@pytest.mark.parametrize("noise", [[CentralGaussian(3.0)], [OwnGaussian(1.0)], [Encode(20), Skellam(3.0)]])
def test_the_stated_error_is_that_of_the_noise_and_nothing_is_biased(noise: list[Stage]) -> None:
    line = pipeline(OWNER, [Clip(0.3), Measure(0.5, largest_loss=2.0), *noise])
    measures = torch.full((OWNERS, 2), 0.25, dtype=torch.float64)
    found = [opened(line, measures, round) for round in range(400)]
    _, errors = forecast(line, OWNERS)
    for name, truth in (("accuracy", 0.75), ("loss", 1.5)):
        values = torch.tensor([each[name] for each in found], dtype=torch.float64)
        assert float(values.std()) == pytest.approx(errors[name], rel=5 * math.sqrt(1 / 800))
        assert float(values.mean()) == pytest.approx(truth, abs=5 * errors[name] / 20)
    assert errors["loss"] == pytest.approx(2 * errors["accuracy"])


def test_the_error_of_the_usual_case_in_numbers() -> None:
    """σ·√(1 + weight²/2)/(weight·n): 3.74, 0.25 and 240 owners give 6.3 points of accuracy."""
    line = pipeline(OWNER, [Clip(0.3), Measure(), CentralGaussian(3.74)])
    factor, errors = forecast(line, 240)
    assert factor == pytest.approx(1.0155, abs=1e-4)
    assert errors == pytest.approx({"accuracy": 0.0633, "loss": 0.2532}, abs=1e-4)
    assert forecast(pipeline(OWNER, [Clip(0.3)]), 240) == (1.0, {})


def test_measures_that_are_not_finite_or_too_large_are_cut() -> None:
    measures = torch.tensor([[math.nan, math.inf], [7.0, -7.0], [0.1, -math.inf]])
    sent = Measure(1.0).send(Dense(torch.zeros(3, 6)), pipeline(OWNER, [Clip(2.0)]).final, env(measures)).dense()
    assert sent[:, 6:].tolist() == [
        [0.0, 0.0], pytest.approx([1.0, -1.0], rel=2e-6), pytest.approx([0.2, 0.0], rel=2e-6),
    ]  # fmt: skip
    assert float(sent.abs().max()) < 1.0
    many = Measure(1.0).send(Dense(torch.zeros(1, 6)), EXAMPLE, env(torch.tensor([[1e9, 3.0]]))).dense()
    assert many[0, 6:].tolist() == pytest.approx([40 * 0.1, 3 * 0.1], rel=2e-5)  # twice the public 20 examples


@given(st.lists(st.floats(-60, 60), min_size=2, max_size=2), st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=2))
def test_one_example_moves_the_block_by_its_share_however_float32_rounds(here: list[float], one: list[float]) -> None:
    """Beside it an update that moves by its own sensitivity: together the declared one, cut or not."""
    measures = torch.tensor([here, [a + b for a, b in zip(here, one, strict=True)]], dtype=torch.float64)
    stage = Measure(2.0)
    sent = stage.send(Dense(torch.zeros(2, 6)), EXAMPLE, env(measures)).dense().to(torch.float64)
    moved = float((sent[1] - sent[0]).norm())
    assert math.hypot(moved, EXAMPLE.sensitivity) <= stage.declare(EXAMPLE).sensitivity


def test_a_batch_without_its_measures_is_not_sent() -> None:
    line = pipeline(OWNER, [Clip(0.3), Measure()])
    for given_ in (None, torch.zeros(2, 1), torch.zeros(3, 2)):
        with pytest.raises(PipelineError, match=r"came with measures of shape .*; whoever sends gives"):
            line.send(Dense(torch.zeros(2, 6)), dataclasses.replace(env(None), measures=given_))


def test_nobody_there_measures_nothing() -> None:
    line = pipeline(OWNER, [Clip(0.3), Measure(), CentralGaussian(1.0)])
    assert estimates(line, line.receive(line.empty(), env(None)), 0) == {}
    bare = pipeline(OWNER, [Clip(0.3)])
    assert measure_in(bare) is None
    assert estimates(bare, bare.receive(bare.empty(), env(None)), 5) == {}


def test_the_norm_of_an_adaptive_clip_is_followed() -> None:
    """The noise in units of the measure stays as it was, so every round costs and tells the same."""
    line = pipeline(OWNER, [AdaptiveClip(1.0), Measure(0.5), CentralGaussian(2.0)])
    now = line.at(((0.25,), (), ()))
    assert now.final.scale == pytest.approx((line.final.scale or 0) / 4)
    assert now.final.noise == line.final.noise
    assert forecast(now, 10)[1] == pytest.approx(forecast(line, 10)[1])
    measures = torch.full((OWNERS, 2), 0.1)
    norms = []
    for round in range(1, 65):
        surroundings = env(measures, round)
        seen = now.receive(now.send(Dense(torch.full((OWNERS, 6), 9.0)), surroundings).total(), surroundings)
        ((norm,), *_) = line.learn(line.at(((0.25,), (), ())).initial(), seen)
        norms.append(norm)
    # The bit is read, not a measure: all were longer than the norm. One round alone may say otherwise: it is noised.
    assert sum(norms) / len(norms) > 0.26


@pytest.mark.parametrize(
    ("signal", "why"),
    [
        (Signal(6, "example", 0.1, prior=Gaussian(1.0)), "the solver's own noise does not cover"),
        (Signal(6, "example", 0.1, 2.0), "use a solver with a public denominator"),
        (Measure().declare(EXAMPLE), "another measure stands before it"),
    ],
)
def test_where_it_cannot_stand(signal: Signal, why: str) -> None:
    with pytest.raises(PipelineError, match=why):
        Measure().declare(signal)


def test_without_a_clip_means_are_read_plainly_and_no_noise_can_follow() -> None:
    line = pipeline(OWNER, [Measure()])
    measures = torch.tensor([[0.5, -0.5], [0.25, -0.25]])
    assert opened(line, measures) == pytest.approx({"accuracy": 0.875, "loss": 0.5}, rel=1e-5)
    assert math.isinf(line.final.sensitivity)
    for stage in (CentralGaussian(1.0), OwnGaussian(1.0), Encode()):
        with pytest.raises(PipelineError, match="put a clip before it"):
            pipeline(OWNER, [Measure(), stage])
    with pytest.raises(PipelineError, match="put clip first"):
        pipeline(OWNER, [Measure(), Clip(1.0)])


@pytest.mark.parametrize(
    "field",
    [
        {"weight": 0.0}, {"weight": math.nan}, {"weight": 11.0}, {"weight": True}, {"largest_loss": -1.0},
        {"largest_loss": math.inf}, {"of": ()}, {"of": ("loss", "accuracy")}, {"of": ("loss", "loss")}, {"of": ("f1",)},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_fields_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(PipelineError, match=f"{next(iter(field))} = .*; give"):
        Measure(**field)
