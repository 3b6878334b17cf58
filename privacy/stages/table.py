"""The table of stages: kebab-case names in files, on the wire and in reports; closed, nothing is imported by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config import ConfigError, Row, chosen, described
from ..pipeline import PipelineError, Stage
from .adaptive import AdaptiveClip
from .central import CentralGaussian
from .clip import Clip
from .correlated import CorrelatedGaussian
from .discrete import DiscreteGaussian
from .encode import Encode
from .mask import Mask
from .measure import Measure
from .own import OwnGaussian
from .rotate import Rotate
from .skellam import Skellam

STAGES: Mapping[str, type[Stage]] = {
    "clip": Clip,
    "adaptive-clip": AdaptiveClip,
    "measure": Measure,
    "rotate": Rotate,
    "central-gaussian": CentralGaussian,
    "correlated-gaussian": CorrelatedGaussian,
    "own-gaussian": OwnGaussian,
    "encode": Encode,
    "discrete-gaussian": DiscreteGaussian,
    "skellam": Skellam,
    "mask": Mask,
}


def stage_name(stage: Stage) -> str:
    """The kebab-case name of a stage; raises `PipelineError` for one that is not in the table."""
    for name, kind in STAGES.items():
        if type(stage) is kind:
            return name
    raise PipelineError(f"{type(stage).__name__} is not in the table of stages; add it to STAGES")


def to_row(stage: Stage) -> Row:
    """A stage as plain data: `{"stage": name, field: value, …}`; fields that are None are left out (TOML has no null)."""
    stage_name(stage)
    return described(stage, "stage", STAGES)


def from_row(row: Mapping[str, Any]) -> Stage:
    """The stage that a row describes.

    Raises `PipelineError` for an unknown stage, an unknown or missing key, or a value of the wrong type or range.
    """
    try:
        return chosen(row, "stage", STAGES, "pipeline")
    except ConfigError as error:
        raise PipelineError(str(error)) from error
