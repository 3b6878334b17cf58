"""Noise multiplier: the noise's standard deviation over the Signal's sensitivity, or "calibrate" until a budget solves it."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, TypeAlias

from ..pipeline import PipelineError, Stage, require
from ..signal import Signal

NoiseMultiplier: TypeAlias = float | Literal["calibrate"]


def checked(stage: str, found: NoiseMultiplier) -> None:
    """Raise `PipelineError` unless `found` is a finite number of at least 0 or "calibrate"."""
    number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found) and found >= 0
    require(
        number or found == "calibrate",
        stage,
        f"noise_multiplier = {found!r}",
        'give a finite number of at least 0, or "calibrate" to have it solved from the budget',
    )


def solved(stage: str, found: NoiseMultiplier) -> float:
    """The number; raises `PipelineError` while it is still "calibrate"."""
    if isinstance(found, str):
        raise PipelineError(
            f'{stage}: noise_multiplier = "calibrate" is not solved yet; give a budget (epsilon, delta) or a number'
        )
    return float(found)


def with_noise(stage: Stage, noise_multiplier: float) -> Stage:
    """The same noise stage with a concrete multiplier; raises `PipelineError` for a stage that adds no noise."""
    if not dataclasses.is_dataclass(stage) or not hasattr(stage, "noise_multiplier"):
        raise PipelineError(f"{type(stage).__name__}: it adds no noise; calibrate a noise stage")
    return dataclasses.replace(stage, noise_multiplier=noise_multiplier)


def first_noise(stage: str, signal: Signal) -> None:
    """Raise `PipelineError` unless this is the only noise and the unit's contribution is bounded."""
    require(
        signal.prior is None,
        stage,
        "the solver already adds noise of its own",
        "use a solver without noise (clipped-gradient, sgd), or leave this stage out",
    )
    require(
        not signal.noise,
        stage,
        "noise was added before, and no joint bound is proven for two noises",
        "keep one noise stage",
    )
    require(
        math.isfinite(signal.sensitivity),
        stage,
        f"nothing bounds what one {signal.unit} contributes",
        "put a clip before it",
    )
