"""The laws of the pipeline, over every stage: square, sound declaration, batch, and the order of stages."""

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, Pipeline, PipelineError, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.table import STAGES, from_row
from tacit.privacy.updates import Dense

NORM = 0.3
CLIP = {"stage": "clip", "norm": NORM}
ROWS = {
    "clip": CLIP,
    "adaptive-clip": {"stage": "adaptive-clip", "norm": NORM},
    "measure": {"stage": "measure", "weight": 0.5},
    "rotate": {"stage": "rotate", "seed": 5},
    "central-gaussian": {"stage": "central-gaussian", "noise_multiplier": 1.5},
    # One band: a round's noise then has the declared variance by itself; more are under test_correlated.py.
    "correlated-gaussian": {"stage": "correlated-gaussian", "noise_multiplier": 1.5, "bands": 1},
    "own-gaussian": {"stage": "own-gaussian", "noise_multiplier": 1.5},
    "encode": {"stage": "encode", "bits": 48},
    "discrete-gaussian": {"stage": "discrete-gaussian", "noise_multiplier": 1.5},
    "skellam": {"stage": "skellam", "noise_multiplier": 1.5},
    "mask": {"stage": "mask"},
}
COARSE = {"stage": "encode", "bits": 20}
JOURNEYS = {
    "clip": [CLIP],
    "adaptive-clip": [ROWS["adaptive-clip"]],
    "measure": [CLIP, ROWS["measure"]],
    "rotate": [CLIP, ROWS["rotate"]],
    "central-gaussian": [CLIP, ROWS["central-gaussian"]],
    "correlated-gaussian": [CLIP, ROWS["correlated-gaussian"]],
    "own-gaussian": [CLIP, ROWS["own-gaussian"]],
    "encode": [CLIP, COARSE],
    "encode a lattice": [CLIP, ROWS["central-gaussian"], ROWS["encode"]],
    "discrete-gaussian": [CLIP, COARSE, ROWS["discrete-gaussian"]],
    "skellam": [CLIP, COARSE, ROWS["skellam"]],
    "measure, then noise": [CLIP, ROWS["measure"], ROWS["central-gaussian"]],
    "everything": [ROWS["adaptive-clip"], ROWS["measure"], ROWS["rotate"], COARSE, ROWS["skellam"]],
}
# What the owners measured, by number: whatever an owner may say of itself.
MEASURES = torch.tensor([[0.5, -0.5], [0.31, 0.07], [math.nan, math.inf], [9.0, -1e30], [-0.0, 0.2], [-0.5, 1e-12]])


def source(dim: int = 24, unit: str = "owner", most: int = 6) -> Signal:
    sensitivity = math.inf if unit == "owner" else NORM / 4
    examples = None if unit == "owner" else 5.0
    return Signal(dim, unit, sensitivity, least=most, most=most, expected=float(most), examples=examples)


def env(owners: int, seed: int = 0, first: int = 0) -> Env:
    ids = tuple(range(first, first + owners))
    return Env(SeededEntropy(seed), 3, owner_ids=ids, survivors=ids, measures=MEASURES[list(ids)])


def built(rows: list[dict[str, object]], start: Signal) -> Pipeline:
    return pipeline(start, [from_row(row) for row in rows])


def quiet(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same journey without noise."""
    return [row | {"noise_multiplier": 0.0} if "noise_multiplier" in row else row for row in rows]


def integer_norm(row: torch.Tensor, ring: int | None) -> float:
    """Exact L2 norm of a message, ring elements read as signed."""
    values = [int(value) for value in row.tolist()]
    if ring is not None:
        values = [value - (1 << ring) if value >= 1 << (ring - 1) else value for value in values]
    return math.sqrt(sum(value * value for value in values))


def test_every_stage_of_the_table_is_under_the_laws() -> None:
    assert set(ROWS) == set(STAGES)
    assert set(STAGES) - {"mask"} == {row["stage"] for rows in JOURNEYS.values() for row in rows}


@pytest.mark.parametrize("journey", JOURNEYS)
@pytest.mark.parametrize("unit", ["owner", "example"])
def test_square_law(journey: str, unit: str) -> None:
    """Without noise, inputs inside the bounds come back as their sum, up to the declared rounding."""
    if unit == "example" and journey in ("adaptive-clip", "everything"):
        pytest.skip("adaptive-clip is for unit = owner only")
    line = built(quiet(JOURNEYS[journey]), source(unit=unit))
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(6, 24, generator=generator)
    values *= 0.9 * NORM / values.norm(dim=1, keepdim=True)
    opened = line.receive(line.send(Dense(values), env(6)).total(), env(6))
    variance = 6 * line.final.rounding_variance * (line.final.scale or 0.0) ** 2
    assert opened.total.dtype == torch.float32
    assert opened.total.shape == (24,)
    assert (opened.total - values.sum(dim=0)).abs().max() <= 6 * math.sqrt(variance) + 3e-6 * NORM


@pytest.mark.parametrize("journey", [name for name in JOURNEYS if any("noise_multiplier" in r for r in JOURNEYS[name])])
def test_noise_has_the_declared_variance(journey: str) -> None:
    """What the server half gives differs from the sum by noise of the declared variance and no bias."""
    line = built(JOURNEYS[journey], source(dim=4000))
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(6, 4000, generator=generator)
    values *= 0.9 * NORM / values.norm(dim=1, keepdim=True)
    opened = line.receive(line.send(Dense(values), env(6)).total(), env(6))
    error = (opened.total - values.sum(dim=0)).to(torch.float64)
    (noise,) = line.final.noise
    shares = 1 if noise.place == "server" else 6
    variance = (shares * noise.variance + 6 * line.final.rounding_variance) * line.final.scale**2
    assert error.var() == pytest.approx(variance, rel=5.5 * math.sqrt(2 / 4000))
    assert abs(error.mean()) < 5.5 * math.sqrt(variance / 4000)
    if noise.place == "shared":  # the multiplier names the noise of the floor
        assert shares * noise.variance == pytest.approx((1.5 * line.final.sensitivity) ** 2)


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e38, -3.4e38, 1e-45, -1e-40, 1e19, NORM, -NORM]),
    st.floats(width=32),
    st.floats(-1, 1, width=32),
)


@pytest.mark.parametrize("journey", JOURNEYS)
@settings(max_examples=30)
@given(rows=st.lists(st.lists(NUMBERS, min_size=8, max_size=8), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_declarations_are_sound(journey: str, rows: list[list[float]], seed: int) -> None:
    """No input whatever makes a noiseless message longer than what was declared of it."""
    line = built(quiet(JOURNEYS[journey]), source(dim=6))
    stages = zip(line.stages, line.signals[:-1], line.signals[1:], strict=True)
    given = torch.tensor(rows, dtype=torch.float32)
    updates = Dense(given[:, :6])
    surroundings = dataclasses.replace(env(len(rows), seed), measures=given[:, 6:])
    for stage, before, after in stages:
        updates = stage.send(updates, before, surroundings)
        sent = updates.dense()
        assert sent.shape == (len(rows), after.dim)
        assert bool(torch.isfinite(sent).all())
        for row in sent:
            if after.scale is None:
                norm = math.sqrt(math.fsum(value * value for value in row.tolist()))
            else:
                norm = integer_norm(row, after.ring)
            assert norm <= after.bound
            assert norm <= after.sensitivity


@pytest.mark.parametrize("journey", ["own-gaussian", "encode"])
@settings(max_examples=30)
@given(data=st.data())
def test_one_example_moves_a_message_by_the_declared_sensitivity(journey: str, data: st.DataObject) -> None:
    """Two sums that differ by one clipped example, the same rounding: their integers are Δ₂ apart at most."""
    rows = [{"stage": "clip", "norm": 4 * NORM}, {"stage": "rotate"}, *quiet(JOURNEYS[journey])[1:]]
    line = built(rows, source(dim=8, unit="example"))
    finite = st.floats(-2, 2, width=32)
    here = torch.tensor([data.draw(st.lists(finite, min_size=8, max_size=8))])
    example = torch.tensor([data.draw(st.lists(finite, min_size=8, max_size=8))])
    example *= (NORM / 4 * (1 - 2e-6)) / max(float(example.norm()), 1e-20)
    example = torch.where(torch.isfinite(example), example, 0.0)
    sent = [line.send(Dense(values), env(1)).dense()[0] for values in (here, here + example)]
    ring = line.final.ring
    residue = sent[0] - sent[1] if ring is None else (sent[0] - sent[1]) & ((1 << ring) - 1)
    assert integer_norm(residue, ring) <= line.final.sensitivity


@pytest.mark.parametrize("journey", JOURNEYS)
@pytest.mark.parametrize("unit", ["owner", "example"])
def test_batch_law(journey: str, unit: str) -> None:
    """Sending [k, d] equals k single sends, given per-owner streams: to the bit for every stage on its own."""
    if unit == "example" and journey in ("adaptive-clip", "everything"):
        pytest.skip("adaptive-clip is for unit = owner only")
    line = built(JOURNEYS[journey], source(unit=unit))
    generator = torch.Generator().manual_seed(3)
    updates = Dense(torch.randn(6, 24, generator=generator))
    for stage, signal in zip(line.stages, line.signals, strict=False):
        together = stage.send(updates, signal, env(6)).dense()
        alone = [
            stage.send(Dense(updates.dense()[row : row + 1]), signal, env(1, first=row)).dense() for row in range(6)
        ]
        assert torch.equal(together, torch.cat(alone))
        updates = Dense(together)


@pytest.mark.parametrize("journey", JOURNEYS)
def test_an_empty_round_works(journey: str) -> None:
    """No contributions: the sum of nothing is decoded, noised, and learned from (PRIVACY.md 13)."""
    line = built(JOURNEYS[journey], source())
    nobody = env(0)
    assert line.send(Dense(torch.zeros(0, 24)), nobody).dense().shape == (0, line.final.dim)
    opened = line.receive(line.empty(), nobody)
    assert bool(torch.isfinite(opened.total).all())
    assert (opened.total.abs().sum() > 0) == (
        journey in ("central-gaussian", "correlated-gaussian", "encode a lattice", "measure, then noise")
    )
    line.at(line.learn(line.initial(), opened))


LEGAL_BEFORE = {
    "clip": [],
    "adaptive-clip": [],
    "measure": ["clip"],
    "rotate": ["clip"],
    "central-gaussian": ["clip"],
    "correlated-gaussian": ["clip"],
    "own-gaussian": ["clip"],
    "encode": ["clip"],
    "discrete-gaussian": ["clip", "encode"],
    "skellam": ["clip", "encode"],
    "mask": ["clip", "encode"],
}
LEGAL_AFTER = {
    "clip": {
        "clip",
        "adaptive-clip",
        "measure",
        "rotate",
        "central-gaussian",
        "correlated-gaussian",
        "own-gaussian",
        "encode",
    },
    "adaptive-clip": {"measure", "rotate", "central-gaussian", "correlated-gaussian", "own-gaussian", "encode"},
    "measure": {"rotate", "central-gaussian", "correlated-gaussian", "own-gaussian", "encode"},
    "rotate": {
        "clip",
        "adaptive-clip",
        "measure",
        "rotate",
        "central-gaussian",
        "correlated-gaussian",
        "own-gaussian",
        "encode",
    },
    "central-gaussian": {"encode"},
    "correlated-gaussian": {"encode"},
    "own-gaussian": {"encode"},
    "encode": {"discrete-gaussian", "skellam", "mask"},
    "discrete-gaussian": {"mask"},
    "skellam": {"mask"},
    "mask": set(),
}


@pytest.mark.parametrize(("first", "second"), list(product(STAGES, STAGES)))
def test_every_wrong_order_is_refused(first: str, second: str) -> None:
    def row(name: str) -> dict[str, object]:
        return (
            COARSE
            if name == "encode" and first not in ("central-gaussian", "correlated-gaussian", "own-gaussian")
            else ROWS[name]
        )

    rows = [row(name) for name in (*LEGAL_BEFORE[first], first, second)]
    if second in LEGAL_AFTER[first]:
        built(rows, source())
    else:
        with pytest.raises(PipelineError, match=f"(?i){second}|{STAGES[second].__name__}"):
            built(rows, source())


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("clip", "adaptive-clip", "measure")])
def test_an_unbounded_contribution_is_refused(name: str) -> None:
    with pytest.raises(PipelineError, match="put"):
        built([ROWS[name]], source())


@settings(max_examples=20)
@given(
    st.lists(st.sampled_from(sorted(ROWS)), min_size=1, max_size=5),
    st.sampled_from(["owner", "example"]),
)
def test_what_is_accepted_carries_at_most_one_noise_over_a_bounded_unit(names: list[str], unit: str) -> None:
    refused = None
    try:
        line = built([ROWS[name] for name in names], source(unit=unit))
    except PipelineError as error:
        refused = str(error)
    if refused is not None:
        assert ";" in refused  # what is wrong; the remedy
        return
    assert len(line.final.noise) <= 1
    assert not line.final.noise or math.isfinite(line.final.sensitivity)
    assert all(not signal.masked for signal in line.signals[:-1])
    assert np.isfinite(line.final.delta_extra)
