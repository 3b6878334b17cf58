"""Correlated Gaussian: one event for the schedule, the same bits after a restart, refused where its proof does not reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tacit.privacy.claim import ClaimError, Observer, event_of
from tacit.privacy.correlation import Memory
from tacit.privacy.entropy import SeededEntropy, SystemEntropy
from tacit.privacy.event import BandedMatrix, BufferedLinearToeplitz, Gaussian, NonPrivate
from tacit.privacy.participation import Cyclic, Everyone, FixedOwners, PoissonOwners
from tacit.privacy.pipeline import Env, Pipeline, PipelineError, pipeline
from tacit.privacy.schedule import Schedule
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.correlated import CorrelatedGaussian

DIM = 2000
ANALYST = Observer("analyst")


def line(*, stage: Any = None, **fields: Any) -> Pipeline:
    made = stage if stage is not None else CorrelatedGaussian(**{"noise_multiplier": 2.0, "bands": 4} | fields)
    return pipeline(Signal(DIM, "owner", least=4, most=4, expected=4.0), [Clip(0.5), made])


def opened(of: Pipeline, rounds: int, seed: int = 1) -> np.ndarray:
    """What rounds 1 … `rounds` give on sums of nothing, `[rounds, DIM]`."""
    zero = torch.zeros(DIM, dtype=torch.int64)
    return np.array([of.receive(zero, Env(SeededEntropy(seed), t)).total.numpy() for t in range(1, rounds + 1)])


def test_a_schedule_is_one_event() -> None:
    schedule = Schedule(line(), Cyclic(cohort=2, separation=3), 6, 10)
    for rounds in (1, 5, 10):
        event, plain = schedule.events(ANALYST, "add-remove", rounds)
        assert event == plain
        assert isinstance(event, BandedMatrix)
        assert (event.rounds, event.separation, event.participations) == (10, 3, 4)
        assert event.noise_multiplier < 2.0
        assert event.noise_multiplier == pytest.approx(2.0, rel=1e-5)
        assert schedule.delta_extra(rounds) == pytest.approx(10 * schedule.pipeline.final.delta_extra)
    assert schedule.upfront
    blt = Schedule(line(bands=None, decay=(0.9,), scale=(0.2,)), Everyone(), 6, 10)
    event = blt.events(ANALYST, "add-remove")[0]
    assert isinstance(event, BufferedLinearToeplitz)
    assert (event.separation, event.participations) == (1, 10)


def test_whoever_adds_the_noise_sees_the_sum_without_it() -> None:
    schedule = Schedule(line(), Everyone(), 4, 10)
    assert isinstance(schedule.events(Observer("server"), "add-remove")[0], NonPrivate)


@pytest.mark.parametrize("draw", [PoissonOwners(0.5), FixedOwners(3)])
def test_a_draw_that_does_not_say_how_far_apart_rounds_are_is_refused(draw: Any) -> None:
    relation = "replace-one" if isinstance(draw, FixedOwners) else "add-remove"
    with pytest.raises(ClaimError, match="cyclic"):
        Schedule(line(), draw, 6, 10).events(ANALYST, relation)  # type: ignore[arg-type]  # of Relation


def test_one_round_alone_has_no_event() -> None:
    with pytest.raises(ClaimError, match="whole schedule"):
        event_of(line().final, ANALYST)
    assert isinstance(event_of(line(stage=CentralGaussian(2.0)).final, ANALYST), Gaussian)


def test_one_band_is_independent_noise() -> None:
    found = opened(line(bands=1), 6)
    assert np.std(found) == pytest.approx(1.0, rel=0.05)
    assert abs(np.corrcoef(found)[0, 1]) < 0.15


def test_later_rounds_take_back_what_earlier_ones_added() -> None:
    """C⁻¹ of four bands of (1 − x)^(−½): wₜ = zₜ − ½wₜ₋₁ − …, so neighbours are correlated by about −½·…, and sums shrink."""
    found = opened(line(bands=4), 16).astype(np.float64)
    c = [1.0, 0.5, 0.375, 0.3125]
    innovations = np.array([sum(c[j] * found[t - j] for j in range(min(4, t + 1))) for t in range(16)])
    assert np.std(innovations) == pytest.approx(1.0, rel=0.05)
    assert abs(np.corrcoef(innovations)[3, 4]) < 0.15
    assert np.corrcoef(found)[3, 4] < -0.3
    assert np.std(found.sum(axis=0)) < 0.7 * np.std(innovations.sum(axis=0))


def test_a_restart_draws_the_same() -> None:
    made = line()
    assert np.array_equal(opened(made, 5)[-1], opened(made, 5, seed=1)[-1])
    assert not np.array_equal(opened(made, 5)[-1], opened(made, 5, seed=2)[-1])


def test_what_nobody_can_draw_again_has_to_be_kept() -> None:
    """PRIVACY.md 7: lost state ends the schedule. No round is drawn twice, and none is left out."""
    made, nothing = line(), torch.zeros(DIM, dtype=torch.int64)
    memory = Memory()
    for round in (1, 2, 3):
        before = memory.copy()
        first = made.receive(nothing, Env(SystemEntropy(), round, memory=memory)).total
        again = made.receive(nothing, Env(SystemEntropy(), round, memory=before)).total
        assert not torch.equal(first, again)  # what was lost before it was kept is drawn afresh
        assert memory.round == round
    for held, round in ((None, 2), (Memory(), 3), (memory.copy(), 3), (memory.copy(), 5)):
        with pytest.raises(PipelineError, match="this schedule ends"):
            made.receive(nothing, Env(SystemEntropy(), round, memory=held))


@pytest.mark.parametrize(
    "fields",
    [{"bands": 0}, {"bands": None}, {"decay": (0.5,), "scale": (0.1,)}, {"bands": None, "decay": (0.5,)},
     {"bands": None, "decay": (1.0,), "scale": (0.1,)}, {"bands": None, "decay": (0.5,), "scale": (3.0,)},
     {"bands": 4096}],
)  # fmt: skip
def test_impossible_matrices_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match="give"):
        line(**fields)


def test_more_terms_than_floats_add_exactly_are_refused() -> None:
    with pytest.raises(ClaimError, match="2048"):
        Schedule(line(bands=None, decay=(0.9,), scale=(0.2,)), Everyone(), 6, 3000).events(ANALYST, "add-remove")
