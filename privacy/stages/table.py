"""The table of stages: kebab-case names in files, on the wire and in reports; closed, nothing is imported by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from ..pipeline import PipelineError, Stage
from .adaptive import AdaptiveClip
from .central import CentralGaussian
from .clip import Clip
from .discrete import DiscreteGaussian
from .encode import Encode
from .mask import Mask
from .own import OwnGaussian
from .rotate import Rotate
from .skellam import Skellam

STAGES: Mapping[str, type[Stage]] = {
    "clip": Clip,
    "adaptive-clip": AdaptiveClip,
    "rotate": Rotate,
    "central-gaussian": CentralGaussian,
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


def to_row(stage: Stage) -> dict[str, Any]:
    """A stage as plain data: `{"stage": name, field: value, …}`; fields that are None are left out (TOML has no null)."""
    row: dict[str, Any] = {"stage": stage_name(stage)}
    for field in dataclasses.fields(stage):  # type: ignore[arg-type]  # every stage in the table is a dataclass
        value = getattr(stage, field.name)
        if value is not None:
            row[field.name] = value
    return row


def from_row(row: Mapping[str, Any]) -> Stage:
    """The stage that a row describes.

    Raises `PipelineError` for an unknown stage, an unknown or missing key, or a value of the wrong type or range.
    """
    name = row.get("stage") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or name not in STAGES:
        raise PipelineError(f"pipeline: stage = {name!r} is unknown; choose one of {', '.join(STAGES)}")
    kind = STAGES[name]
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # as above
    given = {key: value for key, value in row.items() if key != "stage"}
    unknown = sorted(str(key) for key in given if key not in fields)
    if unknown:
        known = ", ".join(fields) or "no keys"
        raise PipelineError(f"{name}: unknown key {', '.join(unknown)}; this stage has {known}")
    missing = [key for key, field in fields.items() if key not in given and field.default is dataclasses.MISSING]
    if missing:
        raise PipelineError(f"{name}: {', '.join(missing)} is missing; give a value")
    hints = get_type_hints(kind)
    values = {key: _value(name, key, hints[key], value) for key, value in given.items()}
    return kind(**values)


def _value(stage: str, key: str, hint: Any, value: Any) -> Any:
    """`value` where it is of the type `hint` (an integer is a number, nothing else converts)."""
    from pydantic import TypeAdapter, ValidationError  # 0.1 s that --help need not pay

    try:
        return TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        wanted = "; ".join(problem["msg"].lower() for problem in error.errors())
        raise PipelineError(f"{stage}: {key} = {value!r}: {wanted}; give such a value") from error
