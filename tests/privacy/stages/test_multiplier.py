"""Noise multiplier: a number, or "calibrate" until it is solved."""

import math

import pytest
from tacit.privacy.event import Gaussian
from tacit.privacy.pipeline import PipelineError
from tacit.privacy.signal import Noise, Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.multiplier import checked, first_noise, solved, with_noise


@pytest.mark.parametrize("found", [0, 0.0, 3.74, "calibrate"])
def test_what_is_accepted(found: object) -> None:
    checked("x", found)


@pytest.mark.parametrize("found", [-1, math.nan, math.inf, True, "2", None])
def test_what_is_refused(found: object) -> None:
    with pytest.raises(PipelineError, match=r"x: noise_multiplier = .*; give a finite number"):
        checked("x", found)


def test_a_multiplier_is_solved_once() -> None:
    waiting = CentralGaussian("calibrate")
    assert with_noise(waiting, 2.5) == CentralGaussian(2.5)
    assert solved("x", 2) == 2.0
    with pytest.raises(PipelineError, match="adds no noise"):
        with_noise(Clip(1.0), 1.0)


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        (Signal(1, "example", sensitivity=1.0, prior=Gaussian(1.0)), "solver already adds noise"),
        (Signal(1, "owner", sensitivity=1.0, noise=(Noise("gaussian", "owner", 1.0),)), "noise was added before"),
        (Signal(1, "owner"), "put a clip before"),
    ],
)
def test_noise_needs_a_bounded_and_quiet_signal(signal: Signal, reason: str) -> None:
    with pytest.raises(PipelineError, match=reason):
        first_noise("x", signal)
    first_noise("x", Signal(1, "owner", sensitivity=1.0))
