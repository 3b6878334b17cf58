"""Mask: secure aggregation, so that nobody but its owner can read one contribution, only the sum of a cohort."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..pipeline import Env, PipelineError, Stage, require
from ..signal import Deviation, Masks, Signal
from ..updates import Updates
from .order import in_ring

_FAILS = 2.0**-40  # probability with which a sparse graph is bad, that a semi-honest server may use (PRIVACY.md 18)


@dataclass(frozen=True, slots=True)
class Mask(Stage):
    """x ↦ x + masks mod 2^b that cancel in the sum, so that only the sum is readable; the last stage, after `encode`.

    `adversary`  the server that it withstands: `malicious` may do anything, `semi-honest` follows the protocol, which then is
                 cheaper for large cohorts
    `colluders`  how many owners of the roster may help the server; `budget.colluders` if left out

    Masks are agreed on between owners in several steps of messages (docs/secure-aggregation.md): a protocol, not a function
    of one contribution. Here stands what it means; `send` passes on what is masked elsewhere and raises `PipelineError` for
    a sender that has not seen to it, so nothing ever runs unmasked under this name.
    """

    adversary: Deviation = "malicious"
    colluders: int | None = None

    def __post_init__(self) -> None:
        count = self.colluders
        whole = count is None or (isinstance(count, int) and not isinstance(count, bool) and count >= 0)
        require(whole, "mask", f"colluders = {count!r}", "give a whole number from 0")

    def declare(self, signal: Signal) -> Signal:
        in_ring("mask", signal)
        colluders = self.colluders or 0
        require(
            signal.least - colluders >= 1, "mask",
            f"a sum of as few as {signal.least} contributions with {colluders} colluders leaves nobody honest in it",
            "raise rounds.quorum or the cohort, or lower colluders",
        )  # fmt: skip
        fails = _FAILS if self.adversary == "semi-honest" else 0.0
        masks = Masks(self.adversary, colluders)
        return dataclasses.replace(signal, masked=masks, delta_extra=signal.delta_extra + fails)

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        if not env.masked:
            raise PipelineError("mask: these messages would leave in the clear; nothing was sent")
        return updates
