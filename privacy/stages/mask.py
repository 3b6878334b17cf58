"""Mask: the declared interface of secure aggregation, with which a schedule can be planned before it can be run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from ..pipeline import Env, PipelineError, Stage
from ..signal import Signal
from ..updates import Updates
from .order import in_ring

_REFUSED = (
    "mask: this transport carries messages in the clear and cannot mask them; only `tacit plan` takes a pipeline with mask; "
    "leave it out to run, which gives no claim against the server for shared noise"
)


@dataclass(frozen=True, slots=True)
class Mask(Stage):
    """x ↦ x + masks mod 2^b that cancel in the sum, so that only the sum is readable; the last stage, after `encode`.

    Masks are agreed on between owners, which takes several phases of messages: a protocol, not a function of one
    contribution. Until a transport runs it, both halves raise `PipelineError`; nothing ever runs unmasked under this name.
    """

    def declare(self, signal: Signal) -> Signal:
        in_ring("mask", signal)
        return dataclasses.replace(signal, masked=True)

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        raise PipelineError(_REFUSED)

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        raise PipelineError(_REFUSED)
