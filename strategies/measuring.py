"""Measuring: what one owner finds of the received model on its own examples, as the numbers that `measure` sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..privacy.pipeline import Pipeline
from ..privacy.signal import Unit
from ..privacy.stages.measure import Measure, measure_in
from .local import SolverError, Streams

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner


@dataclass(frozen=True, slots=True)
class Measured:
    """`row` `[m]` float64: v of `privacy.stages.measure`. `readable`: whether every example's numbers were finite."""

    row: Tensor
    readable: bool


def measured(
    line: Pipeline, learner: Learner, weights: Tensor, examples: Examples, streams: Streams, per: int = 1024
) -> Measured:
    """What the owner of `examples` measures of the model at `weights` `[d]`, `per` examples at a time; the learner is left
    without a trace of the owner. No numbers where `line` asks for none.

    An example whose loss or correctness is not finite counts as ½ in everything; an owner's means over such an example too.
    """
    (found,) = measured_together(line, learner, weights, [examples], streams, per)
    return found


def measured_together(
    line: Pipeline, learner: Learner, weights: Tensor, owners: Sequence[Examples], streams: Streams, per: int = 1024
) -> list[Measured]:
    """`measured` of several owners who received the same model, in one pass over all of their examples.

    As one by one, up to float32, for models that look at each example by itself; `streams` are those of the first owner.
    """
    found = measure_in(line)
    if found is None:
        return [Measured(torch.zeros(0, dtype=torch.float64), True) for _ in owners]
    stage, signal = found
    inputs = torch.cat([each.inputs for each in owners]) if len(owners) > 1 else owners[0].inputs
    targets = torch.cat([each.targets for each in owners]) if len(owners) > 1 else owners[0].targets
    with learner.turn(lambda purpose: streams(f"measure/{purpose}")):
        numbers = _of_examples(stage, learner, weights, inputs, targets, per)
    return [_row(part, signal.unit) for part in torch.split(numbers, [len(each) for each in owners])]


def _row(numbers: Tensor, unit: Unit) -> Measured:
    """v of one owner whose examples measured `numbers` `[B, m]`."""
    readable = bool(torch.isfinite(numbers).all())
    if unit == "example":
        return Measured((numbers - 0.5).nan_to_num(0.0).sum(dim=0), readable)
    if len(numbers) == 0:
        return Measured(torch.zeros(numbers.shape[1], dtype=torch.float64), True)
    return Measured((numbers.mean(dim=0) - 0.5).nan_to_num(0.0), readable)


def _of_examples(
    stage: Measure, learner: Learner, weights: Tensor, inputs: Tensor, targets: Tensor, per: int
) -> Tensor:
    """The measures of every example, `[B, m]` in [0, 1]; NaN in all of them where one, or the loss, is not finite."""
    losses, rights = learner.judged(weights, inputs, targets, per)
    columns = []
    for name in stage.of:
        if name == "loss":
            columns.append(losses / stage.largest_loss)
        elif rights is None:
            raise SolverError(
                f"of = {list(stage.of)!r} (measure): this task's metrics tell no right from wrong; give of = ['loss']"
            )
        else:
            columns.append(rights)
    numbers = torch.stack(columns, dim=1)
    finite = torch.isfinite(numbers).all(dim=1) & torch.isfinite(losses)
    return torch.where(finite[:, None], numbers.clamp(0.0, 1.0), torch.nan)
